"""Conformal levels: as many labels of new rows lie below a quantile as its level says, whatever the model's form."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from scipy import stats

import htlnet_tf as htl
from htlnet_tf.encoding.encoded import encode_frame
from htlnet_tf.errors import InputError
from htlnet_tf.scoring.calibration import Calibration, CalibrationSettings
from htlnet_tf.scoring.conformal import conformal_levels, level_curve, require_rows

QUANTILES = (0.1, 0.5, 0.9)


def drawn(rows: int, seed: int) -> np.ndarray:
    """Levels, in a model's hurdle distribution, of amounts from another one.

    They are gamma, which the model takes for a narrow log-normal, with 30 % of zeros, which it takes for 50 %.
    """
    random = np.random.default_rng(seed)
    amount = random.gamma(0.8, 2.0, rows)
    is_zero = random.random(rows) < 0.3
    level = 0.5 + 0.5 * stats.lognorm(s=0.5, scale=1.5).cdf(amount)
    return np.where(is_zero, 0.5 * random.random(rows), level)  # within the jump any level is as good


def test_coverage_holds_after_and_not_before() -> None:
    curve, new = level_curve("spend", drawn(4000, 0), QUANTILES), drawn(40_000, 1)
    before = [np.mean(new <= q) for q in QUANTILES]
    after = [np.mean(new <= curve(tf.constant(q)).numpy()) for q in QUANTILES]
    assert max(abs(np.subtract(before, QUANTILES))) > 0.05
    np.testing.assert_allclose(after, QUANTILES, atol=0.02)


def test_the_levels_are_the_ranks_of_the_method() -> None:
    # Of 999 rows with the levels 0.001 .. 0.999 squared the ceil(1000 q)-th is q squared: by hand.
    levels = (np.arange(1, 1000) / 1000) ** 2
    curve = level_curve("spend", np.random.default_rng(0).permutation(levels), QUANTILES)
    asked = tf.constant([*QUANTILES, 0.305])
    np.testing.assert_allclose(curve(asked), np.square(asked), atol=1e-5)
    ends = curve(tf.constant([0.0, 1.0])).numpy()
    assert (ends == [0.0, 1.0]).all() and (np.diff(curve.y) > 0).all()


@pytest.mark.parametrize("levels", [np.zeros(600), np.ones(600), np.full(600, 0.5), np.repeat([0.0, 1.0], 300)])
def test_equal_levels_have_a_curve_with_an_inverse(levels: np.ndarray) -> None:
    curve = level_curve("spend", levels, QUANTILES)
    assert (np.diff(np.float32(curve.y)) > 0).all() and (np.diff(np.float32(curve.x)) > 0).all()


@pytest.mark.parametrize(("rows", "quantiles", "needed"), [(499, (0.5,), "500"), (900, (0.5, 0.999), "1,000")])
def test_too_few_rows_are_refused(rows: int, quantiles: tuple[float, ...], needed: str) -> None:
    with pytest.raises(InputError, match=f"'spend': conformal needs at least {needed} rows .*; there are {rows}"):
        level_curve("spend", np.linspace(0, 1, rows), quantiles)


def test_a_model_is_corrected_behind_its_calibration(
    schema: htl.Schema, encoder: Any, frame: pd.DataFrame, tmp_path: Any
) -> None:
    core = dataclasses.replace(schema.core, objective="ziln", quantiles=QUANTILES, conformal=True)
    declared = schema.with_targets((*schema.targets[:-1], core))
    tf.keras.utils.set_random_seed(0)
    model = htl.SharedBottom(declared, encoder, tower_units=(8,))  # untrained: the training rows' distribution
    rows = encode_frame(pd.concat([frame] * 3, ignore_index=True), model.encoder)
    with pytest.raises(InputError, match="at least 500 rows"):
        require_rows(declared, encode_frame(frame, model.encoder))
    with pytest.raises(InputError, match="at least 500 rows"):
        htl.calibrate(model, frame, steps="none")
    assert model.calibration is None
    found = htl.calibrate(model, rows, steps="none")
    assert list(found.levels) == ["spend"] and list(found.targets) == ["spend"]
    report = htl.evaluate(model, pd.concat([frame] * 3, ignore_index=True))
    for q in QUANTILES:
        assert report.value("spend", f"coverage_p{100 * q:g}") == pytest.approx(q, abs=0.02)
    found.save(tmp_path / "calibration.json")
    assert Calibration.load(tmp_path / "calibration.json") == found
    plain = htl.SharedBottom(schema, encoder, tower_units=(8,))
    assert conformal_levels(plain, [rows]) == {}
    assert model.calibration.settings == CalibrationSettings(steps="none")
