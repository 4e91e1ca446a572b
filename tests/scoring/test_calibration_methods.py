"""Methods of calibration on drawn rows whose right answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import roc_auc_score

from htlnet_tf.errors import InputError
from htlnet_tf.scoring.calibration import METHODS
from htlnet_tf.scoring.calibration.groups import level_factors, logit_shifts
from htlnet_tf.scoring.calibration.method import require_enough
from htlnet_tf.scoring.calibration.sample import Sample


def sample(labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray | None = None) -> Sample:
    ones = np.ones(len(labels))
    return Sample(labels.astype(np.float64), predictions, ones if weights is None else weights, ones.astype(np.int64))


def too_sure(rows: int = 40_000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, true probabilities, and predictions whose logits are twice the true ones, and 0.7 too high."""
    random = np.random.default_rng(0)
    logits = random.normal(-1.0, 1.0, rows)
    truth = 1.0 / (1.0 + np.exp(-logits))
    return (random.random(rows) < truth).astype(float), truth, 1.0 / (1.0 + np.exp(-(2.0 * logits + 0.7)))


def test_platt_finds_the_slope_and_the_shift() -> None:
    labels, truth, predictions = too_sure()
    curve = METHODS["platt"].fit(sample(labels, predictions), probability=True, non_negative=True)
    # logit = (found - 0.7) / 2: slope 0.5 and start -0.35; 40,000 labels tell them to about 0.02.
    assert curve.below == pytest.approx(0.5, abs=0.03) and curve.y[0] == pytest.approx(-0.35, abs=0.05)
    found = curve(tf.constant(predictions, tf.float32)).numpy()
    assert np.abs(found - truth).mean() < 0.01


def test_platt_on_predictions_that_say_the_contrary_only_shifts() -> None:
    labels, _, predictions = too_sure()
    curve = METHODS["platt"].fit(sample(labels, 1.0 - predictions), probability=True, non_negative=True)
    assert curve.below == 1.0
    assert curve(tf.constant(1.0 - predictions, tf.float32)).numpy().mean() == pytest.approx(labels.mean(), abs=1e-4)


def test_isotonic_comes_near_the_truth_and_keeps_the_order() -> None:
    labels, truth, predictions = too_sure()
    curve = METHODS["isotonic"].fit(sample(labels, predictions), probability=True, non_negative=True)
    found = curve(tf.constant(predictions, tf.float32)).numpy()
    assert np.abs(found - truth).mean() < 0.02
    assert np.abs(predictions - truth).mean() > 0.08
    assert roc_auc_score(labels, found) == pytest.approx(roc_auc_score(labels, predictions), abs=1e-4)
    assert found.min() > 0.0 and found.max() < 1.0  # no row is called impossible or certain
    np.testing.assert_allclose(curve(tf.constant([0.0, 1.0])), [0.0, 1.0])


def test_weights_count_as_so_many_rows() -> None:
    labels, _, predictions = too_sure(4000)
    twice = np.concatenate([np.arange(4000), np.arange(1000)])
    weights = np.where(np.arange(4000) < 1000, 2.0, 1.0)
    for name in ("platt", "level"):
        repeated = METHODS[name].fit(sample(labels[twice], predictions[twice]), probability=True, non_negative=True)
        weighted = METHODS[name].fit(sample(labels, predictions, weights), probability=True, non_negative=True)
        np.testing.assert_allclose(weighted.y, repeated.y, rtol=1e-3)
        assert weighted.below == pytest.approx(repeated.below, rel=1e-3)


def test_amounts_by_isotonic_begin_at_zero_and_go_on_in_proportion() -> None:
    random = np.random.default_rng(1)
    predictions = random.exponential(100.0, 20_000)
    labels = predictions**1.2 * random.exponential(1.0, 20_000)
    curve = METHODS["isotonic"].fit(sample(labels, predictions), probability=False, non_negative=True)
    found = curve(tf.constant([0.0, 50.0, 200.0, 1e9])).numpy()
    assert found[0] == 0.0
    np.testing.assert_allclose(found[1:3], np.array([50.0, 200.0]) ** 1.2, rtol=0.15)
    assert found[3] == pytest.approx(1e9 * curve.y[-1] / curve.x[-1], rel=1e-3)


def test_amounts_that_may_be_negative_go_on_in_parallel() -> None:
    random = np.random.default_rng(2)
    predictions = random.normal(0.0, 10.0, 20_000)
    curve = METHODS["isotonic"].fit(sample(predictions + 5.0, predictions), probability=False, non_negative=False)
    found = curve(tf.constant([-1e3, -5.0, 0.0, 5.0, 1e3])).numpy()
    # The last 50 rows of either side, which lie some 15 apart, are one step.
    np.testing.assert_allclose(found, [-995, 0, 5, 10, 1005], atol=15)
    np.testing.assert_allclose(found[1:4], [0, 5, 10], atol=0.2)


def test_level_is_the_ratio_of_the_totals() -> None:
    curve = METHODS["level"].fit(
        sample(np.array([3.0, 0.0, 1.0]), np.array([1.0, 0.5, 0.5])), probability=False, non_negative=True
    )
    np.testing.assert_allclose(curve(tf.constant([1.0, 10.0])), [2.0, 20.0])  # 4 / 2


def test_a_handful_of_rows_is_refused_with_what_is_missing() -> None:
    labels = np.zeros(5000)
    labels[:12] = 1.0
    with pytest.raises(InputError, match=r"'click' by 'isotonic' needs at least 1,000 .* 100 .* 5,000, 12 where"):
        require_enough("click", "isotonic", METHODS["isotonic"], labels, probability=True)
    with pytest.raises(InputError, match=r"'spend' by 'level' .* 12 with an amount"):
        require_enough("spend", "level", METHODS["level"], labels, probability=False)
    require_enough("spend", "level", METHODS["level"], np.ones(100), probability=False)


def test_shifts_of_groups_meet_their_rates_and_shrink_with_few_rows() -> None:
    random = np.random.default_rng(3)
    groups = np.repeat([0, 1, 2], [20_000, 20_000, 20])
    logits = random.normal(0.0, 1.0, len(groups))
    true = logits + np.array([0.5, -1.0, 3.0])[groups]
    labels = (random.random(len(groups)) < 1.0 / (1.0 + np.exp(-true))).astype(float)
    ones = np.ones(len(groups))
    plain = logit_shifts(logits, labels, ones, groups, prior_rows=0.0)
    for group in (0, 1):
        at = groups == group
        met = (1.0 / (1.0 + np.exp(-(logits[at] + plain[group])))).mean()
        assert met == pytest.approx(labels[at].mean(), abs=1e-9)
    shrunk = logit_shifts(logits, labels, ones, groups, prior_rows=1000.0)
    np.testing.assert_allclose(shrunk[:2], plain[:2], atol=0.07)
    assert abs(shrunk[2]) < 0.15
    assert plain[2] > 1.0


def test_factors_of_groups_by_hand() -> None:
    groups = np.array([0, 0, 1, 3])
    predictions, labels = np.array([1.0, 3.0, 2.0, 5.0]), np.array([2.0, 6.0, 3.0, 0.0])
    found = level_factors(predictions, labels, np.ones(4), groups, prior_rows=0.0)
    np.testing.assert_allclose(found, [8 / 4, 3 / 2, 1.0, 1.0])  # no rows of 2; of 3 no total
    # Two more rows of weight 1 with the mean prediction 2, as labels too: (8 + 4) / (4 + 4).
    assert level_factors(predictions, labels, np.ones(4), groups, prior_rows=2.0)[0] == pytest.approx(1.5)


def test_no_curve_magnifies_rounding() -> None:
    """Predictions in so narrow a band that labels jump from one to the next."""
    random = np.random.default_rng(4)
    predictions = 0.5 + 1e-4 * random.normal(size=20_000)
    labels = (random.random(20_000) < 1.0 / (1.0 + np.exp(-(predictions - 0.5) * 2e4))).astype(float)
    ordered = np.sort(predictions)
    for name in ("isotonic", "platt"):
        curve = METHODS[name].fit(sample(labels, predictions), probability=True, non_negative=True)
        found = curve(tf.constant(ordered, tf.float64)).numpy()
        near = curve(tf.constant(ordered + 1e-7, tf.float32)).numpy()
        assert np.abs(near - found).max() < 30 * 2.5e-7  # of a step of 1e-7 and what float32 makes of 0.5
        assert found.mean() == pytest.approx(labels.mean(), abs=0.01)
    spent = METHODS["isotonic"].fit(sample(labels * 100.0, predictions), probability=False, non_negative=True)
    near, found = (spent(tf.constant(ordered + step, tf.float32)).numpy() for step in (1e-7, 0.0))
    assert np.abs(near - found).max() < 30 * 100 * 2.5e-7
