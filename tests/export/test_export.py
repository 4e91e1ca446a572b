"""Exported versions: equal scores, atomic appearance, and what stops an export."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import htlnet_tf as htl
from htlnet_tf.data.splits import Split
from htlnet_tf.export import publish
from htlnet_tf.export.probes import probe_rows
from htlnet_tf.export.publish import ExportedVersion
from htlnet_tf.export.summary import git_revision
from htlnet_tf.export.version_folders import versions
from htlnet_tf.runs.config import DataConfig, ModelConfig, RunConfig
from htlnet_tf.runs.exporting import export_run, exported_before
from htlnet_tf.runs.folder import save_model
from htlnet_tf.serving import EmbeddedServer, RestClient
from tests.conftest import small_frame

Build = Callable[..., Any]


@pytest.fixture
def model(make_model: Build) -> Any:
    return make_model()


@pytest.fixture(scope="module")
def exported(
    schema: htl.Schema, encoder: Any, frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, Path, ExportedVersion]:
    """A model, MODELS, and the version of it there."""
    models = tmp_path_factory.mktemp("models")
    tf.keras.utils.set_random_seed(0)
    model = htl.HTLNet(schema, encoder, tower_units=(16, 8))
    told: list[str] = []
    asked = {"summary": {"note": "x"}, "measure_latency": True, "write": told.append}
    version = htl.export.export_model(model, models / "htlnet", rows=frame[:50], **asked)
    (models / "told").write_text("\n".join(told))
    return model, models, version


@pytest.fixture
def saved_before(exported: tuple[Any, Path, ExportedVersion], monkeypatch: pytest.MonkeyPatch) -> Any:
    """That model, which is not traced and saved again when it is exported: for what else there is to an export."""
    model, _, version = exported

    def save(path: Path) -> None:
        shutil.copytree(version.path, path, ignore=shutil.ignore_patterns("assets.extra"), dirs_exist_ok=True)

    monkeypatch.setattr(publish, "Servable", lambda *of: SimpleNamespace(save=save))
    return model


def test_a_version_holds_what_it_should(exported: tuple[Any, Path, ExportedVersion], frame: pd.DataFrame) -> None:
    model, models, version = exported
    assert version.path == models / "htlnet" / "1"
    assert version.verified_rows == 114
    assert version.largest_difference <= 1e-5
    extra = version.path / "assets.extra"
    assert htl.Schema.from_yaml(extra / "schema.yaml") == model.schema
    summary = json.loads((extra / "training_summary.json").read_text())
    assert (summary["model"], summary["training_rows"], summary["note"]) == ("HTLNet", 400, "x")
    assert summary["core"]["mean"] == pytest.approx(frame["spend"].mean())
    assert {p.name for p in version.path.parent.iterdir()} == {"1", ".lock", ".last_version"}
    assert summary["verification"]["rows"] == 114
    assert set(summary["packages"]) >= {"htlnet-tf", "tensorflow", "tensorflow-serving-api"}
    assert set(summary["verification"]["latency_ms"]["candidates"]) == {"1", "100", "500"}


def test_every_stage_is_told_with_its_seconds(exported: tuple[Any, Path, ExportedVersion]) -> None:
    _, models, version = exported
    names = list(version.report.latency_ms)
    told = [line.rsplit(": ", 1) for line in (models / "told").read_text().splitlines()]
    assert [name for name, _ in told] == [
        *(f"trace {name}, {i + 1} of {len(names)}" for i, name in enumerate(names)),
        "write",
        "load, python",
        "load, session",
        "run the warm-up requests",
        *(f"verify {name}, {i + 1} of {len(names)}" for i, name in enumerate(names)),
        "measure the latency",
    ]
    seconds = [float(seconds.removesuffix(" s")) for _, seconds in told]
    # Rounded to a tenth; the loaders' are those of the report.
    loads = version.report.load_seconds
    assert seconds[len(names) + 1 : len(names) + 3] == pytest.approx([loads["python"], loads["session"]], abs=0.051)


def test_the_data_hash_is_that_of_the_encoder(model: Any, tmp_path: Path) -> None:
    model.encoder.save(tmp_path / "encoder.json")
    expected = hashlib.sha256((tmp_path / "encoder.json").read_bytes()).hexdigest()
    assert model.encoder.digest() == expected
    other = htl.FeatureEncoder.fit(model.schema, small_frame(seed=1))
    assert other.digest() != expected


REPORT = {
    "num_rows": 20,
    "observed_rows": {},
    "unit": "EUR",
    "metrics": {"click": {"auc": 0.75}},
    "undefined": {},
    "out_of_vocabulary": {},
}


def test_a_run_s_version_tells_what_the_run_folder_has(
    schema: htl.Schema, frame: pd.DataFrame, saved_before: Any, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    arguments = {"tower_units": (16, 8)}
    config = RunConfig(DataConfig("generic", "rows.csv"), schema=schema, model=ModelConfig("htlnet", arguments))
    save_model(config, saved_before, run)
    split = Split.fit(config.split, schema, frame)
    split.to_yaml(run / "split.yaml")
    frame[:20].to_parquet(run / "held_out.parquet")
    (run / "metrics.json").write_text(json.dumps(REPORT))
    (run / "history.csv").write_text("epoch,loss\n1,1.0\n")
    exported = export_run(run, tmp_path / "models" / "m", warmup_rows=(1, 2), warmup_signatures=("candidates",), keep=1)
    assert (exported.verified_rows, exported.report.warmup_requests) == (84, 2)
    summary = json.loads((exported.path / "assets.extra" / "training_summary.json").read_text())
    assert summary["split"] == split.to_dict()
    assert summary["source"]["path"] == str((run / "rows.csv").resolve())  # paths are relative to the configuration
    assert summary["data"]["sha256"] == hashlib.sha256((run / "encoder.json").read_bytes()).hexdigest()
    (info,) = htl.export.list_versions(tmp_path / "models")
    assert (info.training_rows, info.metrics) == (400, {"click": {"auc": 0.75}})
    # The very same run is not exported twice where it is asked to be once.
    assert export_run(run, tmp_path / "models" / "m", once=True) == exported
    assert exported_before(tmp_path / "models" / "m", summary["run_sha256"]) == exported
    assert exported_before(tmp_path / "models" / "m", "of another run") is None
    assert exported_before(tmp_path / "models" / "none", summary["run_sha256"]) is None


def test_the_git_revision_is_that_of_the_working_tree(tmp_path: Path) -> None:
    assert git_revision(tmp_path) is None
    run = functools.partial(subprocess.run, cwd=tmp_path, check=True, capture_output=True, text=True)
    run(["git", "init"])
    assert git_revision(tmp_path) is None  # no commit yet
    (tmp_path / "file").write_text("a")
    run(["git", "add", "file"])
    run(["git", "-c", "user.name=n", "-c", "user.email=e@x", "commit", "-m", "m"])
    head = run(["git", "rev-parse", "HEAD"]).stdout.strip()
    assert git_revision(tmp_path) == {"revision": head, "modified": False}
    (tmp_path / "file").write_text("b")
    assert git_revision(tmp_path) == {"revision": head, "modified": True}


def test_the_signature_takes_raw_columns_and_gives_one_key_per_target(
    exported: tuple[Any, Path, ExportedVersion],
) -> None:
    signature = tf.saved_model.load(str(exported[2].path)).signatures["serving_default"]
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
    path = tmp_path / "1"
    htl.export.Servable(model).save(path)
    names = [name for name, _ in tf.train.list_variables(str(path / "variables" / "variables"))]
    stored = sum(
        np.prod(shape) for name, shape in tf.train.list_variables(str(path / "variables" / "variables")) if shape
    )
    assert stored == sum(np.prod(w.shape) for w in model.trainable_variables)
    assert not [name for name in names if "tau" in name or "momentum" in name or "keras" in name]


def test_rest_answers_equal_predict(exported: tuple[Any, Path, ExportedVersion], frame: pd.DataFrame) -> None:
    model, models, _ = exported
    rows = frame.copy()
    rows.loc[3, "user_id"] = "never seen"
    rows.loc[4, "item_id"] = 999
    rows["item_id"] = rows["item_id"].astype("Int64")
    rows.loc[5, "item_id"] = pd.NA
    expected = htl.predict(model, rows)
    with EmbeddedServer(models, port=0) as server, RestClient(server.url, "htlnet") as client:
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


def test_the_version_is_a_new_number_and_old_ones_go_unless_a_label_names_them(
    saved_before: Any, tmp_path: Path
) -> None:
    for name in ("2", "3", "00000007", "notes"):
        (tmp_path / "m" / name).mkdir(parents=True)
    htl.export.promote(tmp_path, "m", 2)
    exported = htl.export.export_model(saved_before, tmp_path / "m", warmup_rows=(), keep=2)
    assert (exported.version, exported.removed) == (8, (3,))
    assert exported.report.warmup_requests == 0
    assert not (exported.path / "assets.extra" / "tf_serving_warmup_requests").exists()
    assert list(versions(tmp_path / "m")) == [2, 7, 8]


def test_keep_below_one(model: Any, tmp_path: Path) -> None:
    with pytest.raises(htl.InputError, match="keep must be at least 1"):
        htl.export.export_model(model, tmp_path / "m", keep=0)
    assert not (tmp_path / "m").exists()


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
