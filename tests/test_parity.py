"""Online against offline: equal on every kind of file, and every way to be unequal is told with its row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf import parity
from htlnet_tf.errors import InputError, VerificationError
from htlnet_tf.export.servable import Servable
from htlnet_tf.parity import ParityReport, ScoreParity, check_parity
from htlnet_tf.runs.config import DataConfig, ModelConfig, RunConfig
from htlnet_tf.runs.folder import load_model, save_model
from htlnet_tf.serving import EmbeddedServer, RestClient, ServingError
from htlnet_tf.serving.clients import calls, replies
from htlnet_tf.serving.signatures import Signature, TensorInfo
from tests.conftest import small_frame

STD = "standard deviations of the training rows"


@pytest.fixture(scope="module")
def run(schema: htl.Schema, encoder: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `load_model` and `load_held_out` need of a run folder."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("run")
    config = RunConfig(DataConfig("generated"), model=ModelConfig("shared_bottom", {"tower_units": [16, 8]}))
    tf.keras.utils.set_random_seed(0)
    model = htl.SharedBottom(schema, encoder, tower_units=(16, 8))
    model.compile(optimizer=htl.LazyAdam(1e-2))
    random = np.random.default_rng(0)
    for weight in model.trainable_variables:  # large ones, so that every column tells in the scores
        weight.assign(random.normal(0.0, 0.3, weight.shape))
    (folder / "weights").mkdir()
    save_model(config, model, folder)
    small_frame(64, seed=1).to_parquet(folder / "held_out.parquet")
    return folder


@pytest.fixture(scope="module")
def loaded(run: Path) -> tuple[RunConfig, Any]:
    return load_model(run)


@pytest.fixture(scope="module")
def server(loaded: tuple[RunConfig, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    models = tmp_path_factory.mktemp("models")
    _, model = loaded
    # Served as it is saved: that it is the model is what these tests find out.
    Servable(model).save(models / "htlnet" / "1")
    with EmbeddedServer(models, port=0) as running:
        yield running


def test_the_held_out_rows_are_equal(server: EmbeddedServer, run: Path) -> None:
    report = check_parity(server.url, None, run)
    assert report.ok and report.rows == 64
    assert [score.name for score in report.scores] == ["click", "buy", "spend"]
    assert all(0 <= score.difference <= 1e-5 for score in report.scores)
    assert all(score.file == str(run / "held_out.parquet") and score.row in range(64) for score in report.scores)
    assert report.to_text().splitlines()[0].startswith("64 rows, online (http://127.0.0.1:")
    assert report.to_text().splitlines()[-1] == "equal"
    assert [score.unit for score in report.scores] == ["absolute", "absolute", STD]
    assert [score["unit"] for score in report.to_dict()["scores"]] == ["absolute", "absolute", STD]


@pytest.mark.parametrize("ending", ["csv", "parquet", "tfrecord"])
def test_files_without_labels_missing_and_unknown_values_included(
    server: EmbeddedServer, run: Path, schema: htl.Schema, tmp_path: Path, ending: str
) -> None:
    rows = small_frame(50, seed=2).astype({"item_id": "Int64"})
    rows.loc[3, "user_id"], rows.loc[4, "item_id"], rows.loc[5, "price"] = "NA", pd.NA, np.nan
    path = tmp_path / f"rows.{ending}"
    if ending == "tfrecord":
        htl.data.write_tfrecord(rows, path, schema)
    elif ending == "csv":
        rows[[feature.name for feature in schema.inputs]].to_csv(path, index=False)
    else:
        rows[[feature.name for feature in schema.inputs]].to_parquet(path)
    report = check_parity(server.url, path, run)
    assert report.ok and report.rows == 50


def test_limit_and_several_requests(server: EmbeddedServer, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity, "_ROWS_PER_REQUEST", 10)
    assert check_parity(server.url, None, run, limit=25).rows == 25
    assert check_parity(server.url, None, run, limit=10).rows == 10
    assert check_parity(server.url, None, run, limit=1000).rows == 64


@pytest.mark.parametrize("at", [0, 37, 63])
@pytest.mark.parametrize(("name", "shift"), [("click", 0.001), ("spend", 0.001), ("buy", np.nan)])
def test_a_difference_is_told_with_its_row(
    server: EmbeddedServer,
    run: Path,
    loaded: tuple[RunConfig, Any],
    monkeypatch: pytest.MonkeyPatch,
    at: int,
    name: str,
    shift: float,
) -> None:
    monkeypatch.setattr(parity, "_ROWS_PER_REQUEST", 10)
    _, model = loaded
    monkeypatch.setattr(parity, "load_model", lambda _: loaded)
    scale = model.encoder.statistics.labels["spend"].std if name == "spend" else 1.0
    predict, seen = RestClient.predict, [0]

    def shifted(self: RestClient, rows: Any) -> pd.DataFrame:
        scores = predict(self, rows)
        if seen[0] <= at < seen[0] + len(scores):
            scores.loc[at - seen[0], name] += shift * scale
        seen[0] += len(scores)
        return scores

    monkeypatch.setattr(RestClient, "predict", shifted)
    report = check_parity(server.url, None, run)
    assert not report.ok
    worst = {score.name: score for score in report.scores}
    assert worst[name].row == at
    assert [score.name for score in report.scores if not score.difference <= 1e-5] == [name]
    if np.isnan(shift):
        assert np.isnan(worst[name].online) and np.isfinite(worst[name].offline)
        assert json.dumps(report.to_dict(), allow_nan=False)
    else:
        assert worst[name].difference == pytest.approx(shift, rel=0.02)
        assert worst[name].online - worst[name].offline == pytest.approx(shift * scale, rel=0.02)
        seen[0] = 0
        assert check_parity(server.url, None, run, tolerance=0.01).ok
    assert f"TOO LARGE at row {at} of" in report.to_text()
    assert report.to_text().splitlines()[-1].startswith("NOT EQUAL")


def test_the_text_of_a_report() -> None:
    scores = (
        ScoreParity("click", 2e-7, "a.csv", 3, 0.5, 0.5000002),
        ScoreParity("spend", 0.25, "a.csv", 7, 2.0, 1.5, STD),
    )
    assert ParityReport("http://h", 1200, 1e-5, scores).to_text() == (
        "1,200 rows, online (http://h) against offline; tolerance 1e-05\n"
        "click  largest difference 2.00e-07 (absolute) at row 3 of a.csv: 0.5 online, 0.5000002 offline\n"
        "spend  largest difference 2.50e-01 (standard deviations of the training rows) TOO LARGE"
        " at row 7 of a.csv: 2 online, 1.5 offline\n"
        "NOT EQUAL: another model, version or encoding is served"
    )


def test_other_outputs_than_the_runs(server: EmbeddedServer, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predict = RestClient.predict
    monkeypatch.setattr(RestClient, "predict", lambda self, rows: predict(self, rows).drop(columns="buy"))
    with pytest.raises(VerificationError, match=r"outputs \['click', 'spend'\] where \['buy', 'click', 'spend'\]"):
        check_parity(server.url, None, run)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"more": TensorInfo("", "DT_FLOAT", (-1,))}, "column 'more' is missing"),
        ({"age": None}, "column 'age' is unknown to the model"),
        ({"user_id": TensorInfo("", "DT_INT64", (-1,))}, "column 'user_id' must hold int64 values"),
    ],
    ids=["more", "fewer", "other type"],
)
def test_other_columns_than_the_runs(
    server: EmbeddedServer, run: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], told: str
) -> None:
    def other(metadata: Any, url: str) -> dict[str, Signature]:
        signatures = replies.read_signatures(metadata, url)
        own = signatures["serving_default"]
        inputs = {name: info for name, info in {**own.inputs, **changes}.items() if info is not None}
        return {**signatures, "serving_default": Signature(inputs, own.outputs)}

    monkeypatch.setattr(calls, "read_signatures", other)
    start = "the server's model takes other columns than the run's: "
    with pytest.raises(VerificationError, match=f"^{start}{told}.*; is another model served[?]$"):
        check_parity(server.url, None, run)


def test_what_cannot_be_compared(server: EmbeddedServer, run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run folder"):
        check_parity(server.url, None, tmp_path)
    with pytest.raises(InputError, match="column 'user_id' is missing"):
        small_frame(5)[["age"]].to_csv(tmp_path / "few.csv", index=False)
        check_parity(server.url, tmp_path / "few.csv", run)
    small_frame(0).to_csv(tmp_path / "none.csv", index=False)
    with pytest.raises(InputError, match="no rows in"):
        check_parity(server.url, tmp_path / "none.csv", run)
    for wrong in ({"limit": 0}, {"tolerance": -1.0}, {"tolerance": float("nan")}):
        with pytest.raises(InputError):
            check_parity(server.url, None, run, **wrong)
    with pytest.raises(ServingError, match=r"Latest\(nope\)"):
        check_parity(server.url, None, run, model_name="nope")


def test_the_score_of_a_ranking_is_compared_relative_to_itself(
    ranked_model: Any, ranked_models: Path, frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "load_model", lambda _: (None, ranked_model))
    monkeypatch.setattr(parity, "load_held_out", lambda _: frame[:40])
    with EmbeddedServer(ranked_models, port=0) as server:
        report = check_parity(server.url, None, "run", model_name="m")
        assert report.ok
        assert [(s.name, s.unit) for s in report.scores][-2:] == [("spend", STD), ("score", "relative")]
        # Half a percent on every score is what other weights would do.
        own = parity.predict
        monkeypatch.setattr(parity, "predict", lambda *args: own(*args).assign(score=lambda f: f["score"] * 1.005))
        report = check_parity(server.url, None, "run", model_name="m")
    assert not report.ok and [s.name for s in report.scores if s.difference > report.tolerance] == ["score"]
