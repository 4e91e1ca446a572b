"""Exported versions: equal scores, atomic appearance, and what stops an export."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import htlnet_tf as htl
from htlnet_tf.export import verify as verification
from htlnet_tf.export.verify import VerificationError, probe_rows, verify
from htlnet_tf.serving import EmbeddedServer, RestClient

Build = Callable[..., Any]


@pytest.fixture
def model(make_model: Build) -> Any:
    return make_model()


def test_a_version_holds_what_it_should(model: Any, frame: pd.DataFrame, tmp_path: Path) -> None:
    exported = htl.export.export_model(model, tmp_path / "models" / "htlnet", rows=frame[:50], summary={"note": "x"})
    assert exported.path == tmp_path / "models" / "htlnet" / "1"
    assert exported.verified_rows == 114
    assert exported.largest_difference <= 1e-5
    extra = exported.path / "assets.extra"
    assert htl.Schema.from_yaml(extra / "schema.yaml") == model.schema
    summary = json.loads((extra / "training_summary.json").read_text())
    assert (summary["model"], summary["training_rows"], summary["note"]) == ("HTLNet", 400, "x")
    assert summary["core"]["mean"] == pytest.approx(frame["spend"].mean())
    assert [p.name for p in exported.path.parent.iterdir()] == ["1"]


def test_the_signature_takes_raw_columns_and_gives_one_key_per_target(model: Any, tmp_path: Path) -> None:
    path = htl.export.export_model(model, tmp_path / "m").path
    signature = tf.saved_model.load(str(path)).signatures["serving_default"]
    inputs = {
        name: (spec.dtype.name, spec.shape.as_list()) for name, spec in signature.structured_input_signature[1].items()
    }
    assert inputs == {
        "user_id": ("string", [None]),
        "item_id": ("int64", [None]),
        "tag": ("string", [None]),
        "age": ("float32", [None]),
        "price": ("float32", [None]),
        "tab": ("int64", [None]),
    }
    assert set(signature.structured_outputs) == {"click", "buy", "spend"}


def test_no_training_state_travels_along(model: Any, batch: Any, tmp_path: Path) -> None:
    model.train_step(batch)
    path = htl.export.export_model(model, tmp_path / "m").path
    names = [name for name, _ in tf.train.list_variables(str(path / "variables" / "variables"))]
    stored = sum(
        np.prod(shape) for name, shape in tf.train.list_variables(str(path / "variables" / "variables")) if shape
    )
    assert stored == sum(np.prod(w.shape) for w in model.trainable_variables)
    assert not [name for name in names if "tau" in name or "momentum" in name or "keras" in name]


def test_rest_answers_equal_predict(model: Any, frame: pd.DataFrame, tmp_path: Path) -> None:
    htl.export.export_model(model, tmp_path / "htlnet")
    rows = frame.copy()
    rows.loc[3, "user_id"] = "never seen"
    rows.loc[4, "item_id"] = 999
    rows["item_id"] = rows["item_id"].astype("Int64")
    rows.loc[5, "item_id"] = pd.NA
    expected = htl.predict(model, rows)
    with EmbeddedServer(tmp_path, port=0) as server, RestClient(server.url, "htlnet") as client:
        for sent in (rows, rows[list(client.signature().inputs)].to_dict("records")):
            scores = client.predict(sent)
            for name in ("click", "buy", "spend"):
                np.testing.assert_allclose(scores[name], expected[name], rtol=1e-5, atol=1e-5)


def test_rest_takes_every_dtype_that_training_takes(schema: htl.Schema, frame: pd.DataFrame, tmp_path: Path) -> None:
    rows = frame.assign(
        tab=frame["tab"] > 0,  # booleans as a categorical
        age=frame["age"].round(2).astype(str).where(frame["age"].notna()),  # numbers as text
        price=(frame["price"] > 10),  # booleans as a number
        item_id=frame["item_id"].astype("category"),
    )
    model = htl.HTLNet(schema, htl.FeatureEncoder.fit(schema, rows), tower_units=(8,))
    htl.export.export_model(model, tmp_path / "m", rows=rows)
    with EmbeddedServer(tmp_path, port=0) as server, RestClient(server.url, "m") as client:
        scores = client.predict(rows)
    np.testing.assert_allclose(scores["spend"], htl.predict(model, rows)["spend"], rtol=1e-5, atol=1e-5)


def test_names_with_dots_and_dashes_can_be_served(frame: pd.DataFrame, tmp_path: Path) -> None:
    schema = htl.Schema(
        features=[htl.Categorical("user.id"), htl.Categorical("item-id")],
        targets=[htl.Binary("click.2"), htl.Continuous("spend-eur")],
    )
    names = {"user_id": "user.id", "item_id": "item-id", "click": "click.2", "spend": "spend-eur"}
    rows = frame.rename(columns=names)
    model = htl.HTLNet(schema, htl.FeatureEncoder.fit(schema, rows), tower_units=(8,))
    htl.export.export_model(model, tmp_path / "m", rows=rows[:5])
    with EmbeddedServer(tmp_path, port=0) as server, RestClient(server.url, "m") as client:
        scores = client.predict(rows[:5])
    np.testing.assert_allclose(scores["spend-eur"], htl.predict(model, rows[:5])["spend-eur"], rtol=1e-5)


def test_versions_go_up_and_none_is_used_twice(model: Any, tmp_path: Path) -> None:
    (tmp_path / "m" / "00000007").mkdir(parents=True)
    (tmp_path / "m" / "notes").mkdir()
    assert [htl.export.export_model(model, tmp_path / "m").version for _ in range(2)] == [8, 9]


def test_a_difference_stops_the_export_and_leaves_nothing(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = verification._python_scores

    def shifted(directory: Path, raw: Any) -> dict[str, np.ndarray]:
        return {name: score + (name == "buy") * 1e-3 for name, score in honest(directory, raw).items()}

    monkeypatch.setattr(verification, "_python_scores", shifted)
    with pytest.raises(VerificationError, match="'buy' differs at row 0"):
        htl.export.export_model(model, tmp_path / "m")
    assert list((tmp_path / "m").iterdir()) == []


def test_nan_scores_are_a_difference(model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = verification._python_scores
    monkeypatch.setattr(
        verification, "_python_scores", lambda d, raw: {n: s * np.float32("nan") for n, s in honest(d, raw).items()}
    )
    with pytest.raises(VerificationError, match="differs at row 0"):
        htl.export.export_model(model, tmp_path / "m")


def test_a_missing_output_is_a_difference(model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = htl.export.export_model(model, tmp_path / "m").path
    monkeypatch.setattr(verification, "_python_scores", lambda directory, raw: {})
    with pytest.raises(VerificationError, match="were expected"):
        verify(model, path, probe_rows(model.encoder))


def test_probes_hold_known_unknown_and_missing_values(encoder: Any) -> None:
    rows = probe_rows(encoder)
    assert "" in rows["user_id"]
    assert -(2**63) in rows["item_id"]
    assert any("never seen" in text for text in rows["user_id"])
    assert any("," in text for text in rows["tag"])
    assert np.isnan(rows["age"]).any()


def test_a_path_that_is_a_file(model: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "htlnet"):
        with pytest.raises(htl.InputError, match="file' is a file, a directory is needed"):
            htl.export.export_model(model, path)


def test_rows_without_a_column(model: Any, frame: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(htl.InputError, match="column 'age' is missing"):
        htl.export.export_model(model, tmp_path / "m", rows=frame.drop(columns="age"))
    assert not (tmp_path / "m").exists()
