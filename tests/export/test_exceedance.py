"""Quantiles and exceedances have the trained model's values from every signature and client."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import htlnet_tf as htl
from htlnet_tf.errors import InputError
from htlnet_tf.export.signatures import signatures_of
from htlnet_tf.export.signatures.signature import Expected
from htlnet_tf.parity import check_parity
from htlnet_tf.scoring.calibration import Calibration, CalibrationSettings, Curve
from htlnet_tf.scoring.calibration.calibration import TargetCalibration
from htlnet_tf.serving import AsyncRestClient, EmbeddedServer, GrpcClient, RestClient
from htlnet_tf.serving.clients.exceedance import exceedance_frame
from htlnet_tf.serving.clients.replies import OtherOutputsError
from htlnet_tf.serving.signatures import Signature, TensorInfo

QUANTILES = (0.1, 0.5, 0.9)
NAMES = ["click", "buy", "spend", "spend_p10", "spend_p50", "spend_p90"]
THRESHOLDS = [0.5, 10, 42.25]


class World(NamedTuple):
    """A model, its version and run folder, and a server of it."""

    model: Any
    version: Any
    run: Path
    server: EmbeddedServer


@pytest.fixture(scope="module")
def world(
    schema: htl.Schema, encoder: Any, frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    core = dataclasses.replace(schema.core, objective="ziln", quantiles=QUANTILES)
    declared, members = schema.with_targets((*schema.targets[:-1], core)), []
    for seed in (0, 1):
        tf.keras.utils.set_random_seed(seed)
        members.append(htl.SharedBottom(declared, encoder, tower_units=(8,)))
        for weight in members[-1].trainable_variables:
            weight.assign(weight + tf.random.normal(weight.shape, stddev=0.2))
    model = htl.Ensemble(members)
    model.calibration = Calibration(
        CalibrationSettings(steps="none", core="level"),
        {"spend": TargetCalibration("level", (Curve.line(1.3),), is_amount=True)},
        levels={"spend": Curve((0.0, 0.5, 0.9, 1.0), (0.0, 0.6, 0.95, 1.0))},
    )
    folder = tmp_path_factory.mktemp("exceedance")
    htl.save_run(model, folder / "run")
    version = htl.export.export_model(model, folder / "models" / "m", rows=frame[:30], warmup_rows=(2,))
    with EmbeddedServer(folder / "models", port=0, grpc_port=0) as server:
        yield World(model, version, folder / "run", server)


def assert_scores(scores: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert list(scores) == list(expected)
    np.testing.assert_allclose(scores.to_numpy(float), expected.to_numpy(float), rtol=1e-3, atol=1e-4)
    assert scores.index.equals(expected.index)


def test_a_version_is_verified_with_them(world: World) -> None:
    assert world.version.largest_difference <= 1e-5
    names = ["serving_default", "candidates", "examples", "exceedance", "classify", "regress"]
    assert list(signatures_of(world.model.schema)) == names
    assert world.version.report.warmup_requests == len(names)
    assert "exceedance" not in signatures_of(world.model.encoder.schema)


def test_every_client_asks_alike(world: World, frame: pd.DataFrame) -> None:
    rows = frame[10:40]
    expected, scores = htl.exceedance(world.model, rows, THRESHOLDS), htl.predict(world.model, rows)
    assert list(expected) == ["spend_above_0.5", "spend_above_10", "spend_above_42.25", "spend_positive"]
    assert list(scores) == NAMES

    async def asked() -> pd.DataFrame:
        async with AsyncRestClient(world.server.url, "m") as client:
            return await client.exceedance(rows, THRESHOLDS)

    assert_scores(asyncio.run(asked()), expected)
    for schema in (None, world.model.schema):
        with RestClient(world.server.url, "m", schema=schema) as rest:
            assert_scores(rest.exceedance(rows, THRESHOLDS), expected)
            assert_scores(rest.exceedance(rows, 10), expected[["spend_above_10", "spend_positive"]])
            assert_scores(rest.predict(rows), scores)
            assert_scores(rest.predict(rows, row_format=True), scores)
        with GrpcClient(str(world.server.grpc_target), "m", schema=schema) as grpc:
            assert_scores(grpc.exceedance(rows, THRESHOLDS), expected)
            assert_scores(grpc.predict(rows, "examples"), scores)


def test_what_is_no_such_question_is_refused(world: World, frame: pd.DataFrame) -> None:
    with RestClient(world.server.url, "m") as client:
        with pytest.raises(InputError, match="thresholds must be finite numbers"):
            client.exceedance(frame, [float("nan")])
        with pytest.raises(InputError, match="no signature 'serving_default' that takes thresholds"):
            client.exceedance(frame, 1, "serving_default")
        with pytest.raises(InputError, match="column 'price' is missing"):
            client.exceedance(frame.drop(columns="price"), 1)


def test_an_answer_without_an_output_is_another_models() -> None:
    shapes = {"spend": (-1, -1), "spend_positive": (-1,)}
    signature = Signature({}, {name: TensorInfo("", "DT_FLOAT", shape) for name, shape in shapes.items()})
    with pytest.raises(OtherOutputsError, match="output 'spend_positive' is missing: the answer has 'spend'"):
        exceedance_frame({"spend": [[0.5]]}, signature, pd.RangeIndex(1), [10.0])


def test_parity_has_the_quantiles(world: World, frame: pd.DataFrame, tmp_path: Path) -> None:
    frame[:60].to_csv(tmp_path / "rows.csv", index=False)
    report = check_parity(world.server.url, tmp_path / "rows.csv", world.run, model_name="m")
    assert report.ok and [score.name for score in report.scores] == NAMES


def test_a_quantile_may_lie_anywhere_between_its_bounds() -> None:
    due = Expected(np.array([1.0, 2.0, 3.0]), 1.0, (np.array([0.5, 2.0, 3.0]), np.array([1.5, 2.0, 3.0])))
    found = due.differences(np.array([1.4, 2.2, np.nan]))
    np.testing.assert_allclose(found[:2], [0.0, 0.1])
    assert np.isnan(found[2])
