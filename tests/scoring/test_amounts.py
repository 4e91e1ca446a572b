"""Distributions as they leave a model: on its level, over members, calibrated."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import htlnet_tf as htl
from htlnet_tf.errors import InputError
from htlnet_tf.models import MODELS
from htlnet_tf.scoring.calibration import Calibration, CalibrationSettings, Curve
from htlnet_tf.scoring.calibration.calibration import TargetCalibration
from htlnet_tf.scoring.scores import distributions, final_scores, quantile_bounds

LEVELS = (0.1, 0.5, 0.9, 0.975)
NAMES = ["spend_p10", "spend_p50", "spend_p90", "spend_p97_5"]
OBJECTIVES = ["ziln", "gamma_hurdle", "ordinal", "quantile"]


def build(schema: htl.Schema, encoder: Any, objective: str, seed: int, model: Any = None, **changes: Any) -> Any:
    """An untrained model, whose level is not 1."""
    tf.keras.utils.set_random_seed(seed)
    core = dataclasses.replace(schema.core, objective=objective, quantiles=LEVELS, **changes)
    declared = schema.with_targets((*schema.targets[:-1], core))
    built = (model or htl.SharedBottom)(declared, encoder, tower_units=(16, 8), embedding_dim=8)
    for variable in built.trainable_variables:
        variable.assign(variable + tf.random.normal(variable.shape, stddev=0.3, seed=seed))
    if built.heads["spend"].level is not None:
        built.heads["spend"].level.factor.assign(1.0 + 0.2 * seed)
    return built


def features(encoder: Any, frame: pd.DataFrame, rows: int = 100) -> Mapping[str, tf.Tensor]:
    return {key: tf.constant(values) for key, values in encoder.encode(frame[:rows]).items()}


@pytest.fixture(params=OBJECTIVES)
def members(request: Any, schema: htl.Schema, encoder: Any) -> list[Any]:
    return [build(schema, encoder, request.param, seed) for seed in (0, 1, 2)]


def test_an_ensemble_is_an_equal_mixture(members: list[Any], encoder: Any, frame: pd.DataFrame) -> None:
    model, rows = htl.Ensemble(members), features(encoder, frame)
    found = distributions(model, rows)["spend"]
    own = [distributions(member, rows)["spend"] for member in members]
    thresholds = tf.constant([0.0, 1.0, 10.0, 60.0])
    shares = np.mean([np.asarray(each.exceedance(thresholds)) for each in own], axis=0)
    np.testing.assert_allclose(found.exceedance(thresholds), shares, atol=1e-6)
    np.testing.assert_allclose(found.positive, shares[:, 0], atol=1e-6)
    quantiles = np.asarray(found.quantiles(LEVELS), np.float64)
    each_quantiles = np.stack([np.asarray(each.quantiles(LEVELS)) for each in own])
    assert (quantiles >= each_quantiles.min(axis=0) - 1e-6).all() and (quantiles <= each_quantiles.max(axis=0)).all()
    # What is exceeded at a quantile is at most 1 - q, and just below it at least that.
    tails, step = 1.0 - np.array(LEVELS), 1e-4 * np.maximum(quantiles, 1e-2)
    assert (np.asarray(found.exceedance(tf.constant(quantiles + step, tf.float32))) <= tails + 1e-4).all()
    assert (np.asarray(found.exceedance(tf.constant(quantiles - step, tf.float32))) >= tails - 1e-4).all()
    assert (quantiles[:, 0] == 0.0).any() or "Quantile" in str(members[0].heads["spend"].objective)


def test_one_member_is_itself(members: list[Any], encoder: Any, frame: pd.DataFrame) -> None:
    alone, rows = members[1], features(encoder, frame)
    scores = final_scores(htl.Ensemble([alone]), rows)
    assert list(scores) == ["click", "buy", "spend", *NAMES]
    head = alone.heads["spend"]
    outputs = alone.tower_outputs(alone.embedding(rows["ids"]), rows)[-1]
    level = 1.2 if head.objective.scales_distribution else 1.0
    own = np.asarray(head.objective.quantile(outputs, LEVELS)) * head.objective.units.scale * level
    np.testing.assert_allclose(np.stack([scores[name] for name in NAMES], axis=1), own, rtol=1e-5)
    np.testing.assert_allclose(
        head.exceedance(outputs, tf.constant([10.0 * level])),
        head.objective.exceedance(outputs, [10.0 / head.objective.units.scale]),
        rtol=1e-4, atol=1e-6,
    )  # fmt: skip


def calibration(curve: Curve, **rest: Any) -> Calibration:
    settings = CalibrationSettings(steps="none", core="isotonic")
    return Calibration(settings, {"spend": TargetCalibration("isotonic", (curve,), is_amount=True)}, **rest)


def test_a_calibrated_expectation_scales_the_distribution(
    members: list[Any], encoder: Any, frame: pd.DataFrame
) -> None:
    model, rows = htl.Ensemble(members[:2]), features(encoder, frame)
    before, plain = final_scores(model, rows), distributions(model, rows)["spend"]
    model.calibration = calibration(Curve((0.0, 5.0, 100.0), (0.0, 8.0, 120.0)))
    after, scaled = final_scores(model, rows), distributions(model, rows)["spend"]
    factor = np.asarray(after["spend"]) / np.asarray(before["spend"])
    assert np.ptp(factor) > 0.01
    if not members[0].heads["spend"].objective.scales_distribution:
        factor = np.ones_like(factor)  # what is learned of the quantiles themselves
    for name in NAMES:
        np.testing.assert_allclose(after[name], factor * np.asarray(before[name]), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        scaled.exceedance(tf.constant(30.0 * factor[:, np.newaxis], tf.float32)),
        plain.exceedance(tf.constant([30.0])), atol=1e-5,
    )  # fmt: skip
    np.testing.assert_allclose(scaled.positive, plain.positive, atol=1e-6)


def test_own_levels_stand_for_nominal_ones(members: list[Any], encoder: Any, frame: pd.DataFrame) -> None:
    model, rows = members[0], features(encoder, frame)
    plain = distributions(model, rows)["spend"]
    levels = Curve((0.0, 0.5, 0.9, 1.0), (0.0, 0.7, 0.975, 1.0))
    model.calibration = Calibration(CalibrationSettings(steps="none", core="none"), {}, levels={"spend": levels})
    corrected = distributions(model, rows)["spend"]
    np.testing.assert_allclose(corrected.quantiles([0.5, 0.9]), plain.quantiles([0.7, 0.975]), rtol=1e-4, atol=1e-6)
    t = tf.constant([0.0, 2.0, 20.0])
    expected = 1.0 - np.interp(1.0 - np.asarray(plain.exceedance(t)), levels.y, levels.x)  # the inverse by NumPy
    np.testing.assert_allclose(corrected.exceedance(t), expected, atol=1e-5)


def test_quantiles_that_are_learned_themselves_stay(schema: htl.Schema, frame: pd.DataFrame) -> None:
    core = dataclasses.replace(schema.core, non_negative=False)
    schema = schema.with_targets((*schema.targets[:-1], core))
    encoder = htl.FeatureEncoder.fit(schema, frame)
    model, rows = build(schema, encoder, "quantile", 0, non_negative=False), features(encoder, frame)
    before = final_scores(model, rows)
    model.calibration = calibration(Curve.line(1.0, start=3.0))
    for name, values in final_scores(model, rows).items():
        np.testing.assert_allclose(values, before[name] + (3.0 if name == "spend" else 0.0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["esmm", "htlnet"])
def test_other_models_have_distributions(kind: str, schema: htl.Schema, encoder: Any, frame: pd.DataFrame) -> None:
    model, rows = build(schema, encoder, "ziln", 0, MODELS[kind]), features(encoder, frame)
    found = distributions(model, rows)["spend"]
    quantiles = np.asarray(found.quantiles(LEVELS))
    assert (np.diff(quantiles, axis=1) >= 0.0).all() and (quantiles[:, -1] > 0.0).any()
    if kind == "esmm":  # an amount is there at most as often as the step before it
        assert (np.asarray(found.positive) <= np.asarray(final_scores(model, rows)["buy"]) + 1e-6).all()


def test_bounds_hold_the_quantiles(members: list[Any], encoder: Any, frame: pd.DataFrame) -> None:
    rows = features(encoder, frame)
    scores = final_scores(members[0], rows)
    for name, (low, high) in quantile_bounds(members[0], rows, 1e-5).items():
        assert (low <= scores[name]).numpy().all() and (scores[name] <= high).numpy().all()


def test_exceedance_of_raw_rows(members: list[Any], encoder: Any, frame: pd.DataFrame) -> None:
    found = htl.exceedance(members[0], frame[:50], [0, 10, 2.5], batch_size=20)
    assert list(found) == ["spend_above_0", "spend_above_10", "spend_above_2.5", "spend_positive"]
    assert found.index.equals(frame[:50].index) and (found.dtypes == np.float32).all()
    np.testing.assert_allclose(found["spend_above_0"], found["spend_positive"])
    expected = distributions(members[0], features(encoder, frame, 50))["spend"].exceedance(
        tf.constant([0.0, 10.0, 2.5])
    )
    np.testing.assert_allclose(found.to_numpy()[:, :3], expected, atol=1e-6)


def test_a_model_without_quantiles_keeps_no_distribution(make_model: Any, frame: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="no amount of the schema has `quantiles`"):
        htl.exceedance(make_model(objective="ziln"), frame, 10)
