"""A configured run of an amount with conformal quantiles: refused before training, or corrected, judged and kept."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf.data.split_config import TimeSplit
from htlnet_tf.data.synthetic import generate_funnel
from htlnet_tf.errors import InputError
from htlnet_tf.runs.config import RunConfig
from htlnet_tf.runs.folder import load_model
from htlnet_tf.runs.preparation import prepare
from htlnet_tf.runs.training import load_test_rows, train

pytestmark = pytest.mark.usefixtures("undrawn")


def config(tmp_path: Path) -> RunConfig:
    schema = generate_funnel(100).schema
    core = dataclasses.replace(schema.core, objective="ziln", quantiles=(0.1, 0.5, 0.9), conformal=True)
    path = tmp_path / "config.yaml"
    path.write_text(
        "data: {loader: generated, num_rows: 4000}\n"
        "model: {name: shared_bottom, arguments: {tower_units: [8]}}\n"
        "training: {epochs: 1, batch_size: 512}\n"
    )
    declared = schema.with_targets((*schema.targets[:-1], core))
    return dataclasses.replace(RunConfig.from_yaml(path), schema=declared)


def test_too_few_rows_to_validate_are_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"conformal needs at least 500 rows .*; there are 400"):
        prepare(config(tmp_path), write=lambda _: None)


def test_a_run_keeps_its_levels_and_its_tables(tmp_path: Path) -> None:
    chosen = dataclasses.replace(config(tmp_path), split=TimeSplit(fractions=(0.6, 0.2, 0.2)))
    run = train(chosen, tmp_path / "run", write=lambda _: None)
    calibration = run.model.calibration
    assert calibration is not None and list(calibration.levels) == ["spend"] and not calibration.targets
    _, model = load_model(tmp_path / "run")
    rows = load_test_rows(tmp_path / "run")
    assert isinstance(rows, pd.DataFrame)
    pd.testing.assert_frame_equal(htl.predict(model, rows), htl.predict(run.model, rows))
    kept = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert htl.evaluate(model, rows).to_dict() == kept
    assert "decile_error_before" not in kept["metrics"]["spend"]  # predictions are as they were
    coverage = pd.read_csv(tmp_path / "run" / "coverage.csv")
    np.testing.assert_allclose(
        coverage["actual"][:3], [kept["metrics"]["spend"][f"coverage_p{p}"] for p in (10, 50, 90)]
    )
    np.testing.assert_allclose(coverage["actual"], coverage["nominal"], atol=0.06)  # four standard errors of 800 rows
    assert len(pd.read_csv(tmp_path / "run" / "intervals.csv")) == 10
    assert pd.read_csv(tmp_path / "run" / "pit.csv")["share"].sum() == pytest.approx(1.0)
