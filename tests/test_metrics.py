"""Streaming metrics on batches of unequal size against NumPy in float64 over all rows at once."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import roc_auc_score

import htlnet_tf  # noqa: F401
from htlnet_tf.gradients.statistics import GradientStatistics
from htlnet_tf.objectives.auc import AUC
from htlnet_tf.objectives.metrics import NMAE, NRMSE, ConstantLoss, RelativeLoss, Total, Totals


def test_nrmse_and_nmae_over_unequal_batches() -> None:
    random = np.random.default_rng(0)
    y, p = random.exponential(50_000, 90), random.exponential(50_000, 90)
    nrmse, nmae = NRMSE(), NMAE()
    for part in (slice(0, 64), slice(64, 90)):
        labels, predictions = (tf.constant(v[part], tf.float32) for v in (y, p))
        nrmse.update_state(labels, predictions)
        nmae.update_state(labels, predictions)
    assert float(nrmse.result()) == pytest.approx(np.sqrt(np.mean((y - p) ** 2)) / y.std(), rel=1e-5)
    assert float(nmae.result()) == pytest.approx(np.mean(np.abs(y - p)) / np.mean(y), rel=1e-5)


def test_weights_leave_rows_out() -> None:
    y, p = tf.constant([1.0, 2.0, 4.0, 100.0]), tf.constant([1.0, 1.0, 4.0, 0.0])
    weighted, plain = NRMSE(), NRMSE()
    weighted.update_state(y, p, tf.constant([1.0, 1.0, 1.0, 0.0]))
    plain.update_state(y[:3], p[:3])
    assert float(weighted.result()) == pytest.approx(float(plain.result()), rel=1e-6)


def test_constant_labels_are_undefined() -> None:
    metric = NRMSE()
    metric.update_state(tf.ones([3]), tf.zeros([3]))
    assert np.isnan(float(metric.result()))
    metric = NRMSE()
    metric.update_state(tf.fill([1000], 0.1), tf.zeros([1000]))
    assert np.isnan(float(metric.result()))


def test_a_total_is_the_sum_of_its_parts() -> None:
    parts = [tf.keras.metrics.Mean("a"), tf.keras.metrics.Mean("b")]
    total = Total(parts, "loss")
    # By hand: a over 1 of 3 rows, then 3 rows; b over none of 1 row, then 2 rows.
    parts[0].update_state([2.0, 8.0, 8.0], sample_weight=[1.0, 0.0, 0.0])
    parts[0].update_state([4.0, 4.0, 4.0])
    parts[1].update_state([5.0], sample_weight=[0.0])
    assert float(total.result()) == 3.5
    parts[1].update_state([1.0, 2.0])
    assert float(total.result()) == 5.0
    total.reset_state()
    assert float(total.result()) == 5.0


@pytest.mark.parametrize("classes", [2, 3, None])
def test_the_best_constant_s_loss_over_unequal_batches(classes: int | None) -> None:
    random = np.random.default_rng(0)
    y = random.integers(0, classes, 90).astype(float) if classes else random.normal(3e4, 4e4, 90)
    w = random.choice([0.0, 0.5, 2.0], 90)
    constant = ConstantLoss(classes)
    for part in (slice(0, 64), slice(64, 90)):
        labels = np.where(w > 0, y, np.nan)[part]  # what a row that takes no part holds does not count
        constant.update_state(tf.constant(labels, tf.float32), tf.constant(w[part], tf.float32))
    taking_part = (w > 0).sum()
    if classes:
        # The cross entropy of the weighted shares, and no other constant's is lower.
        shares = np.array([w[y == k].sum() for k in range(classes)]) / w.sum()
        expected = -sum(w @ ((y == k) * np.log(shares[k])) for k in range(classes)) / taking_part
    else:
        expected = w @ (y - w @ y / w.sum()) ** 2 / taking_part
    assert float(constant.result()) == pytest.approx(expected, rel=1e-5)


def test_constant_labels_and_no_rows_have_a_constant_loss_of_zero() -> None:
    for classes, labels in ((2, [1.0, 1.0]), (None, [0.1, 0.1, 0.1]), (2, []), (None, [])):
        constant = ConstantLoss(classes)
        constant.update_state(tf.constant(labels, tf.float32))
        assert float(constant.result()) == 0.0


def test_the_relative_loss_counts_every_target_alike() -> None:
    losses = [tf.keras.metrics.Mean("click_loss"), tf.keras.metrics.Mean("spend_loss")]
    constants = [ConstantLoss(2), ConstantLoss(None)]
    relative = RelativeLoss(losses, constants)
    assert np.isnan(float(relative.result()))  # nothing seen yet
    # By hand: ln 2 of two labels, a quarter above it; a variance of 4 of labels 1 and 5, of which a loss of 3 is 3/4.
    constants[0].update_state(tf.constant([0.0, 1.0]))
    losses[0].update_state(1.25 * np.log(2.0))
    assert float(relative.result()) == pytest.approx(1.25, rel=1e-6)
    constants[1].update_state(tf.constant([1.0, 5.0]))
    losses[1].update_state(3.0)
    assert float(relative.result()) == pytest.approx((1.25 + 0.75) / 2, rel=1e-6)


def test_no_row_is_undefined() -> None:
    for metric in (NRMSE(), NMAE(), AUC()):
        metric.update_state(tf.constant([1.0]), tf.constant([0.0]), tf.constant([0.0]))
        assert np.isnan(float(metric.result()))


def test_gradient_statistics_are_means_over_steps() -> None:
    statistics = GradientStatistics(["click", "spend"])
    # By hand: norms (3, 5) then (1, 5); cosines 9/15 and -5/5 = -1 with the core.
    statistics.update_state(tf.constant([[9.0, 9.0], [9.0, 25.0]]), tf.constant([1.0, 1.0]))
    statistics.update_state(tf.constant([[1.0, -5.0], [-5.0, 25.0]]), tf.constant([2.0, 1.5]))
    result = {k: float(v) for k, v in statistics.result().items()}
    assert result == pytest.approx(
        {
            "click_gradient_norm": 2.0,
            "click_gradient_cosine": (0.6 - 1.0) / 2,
            "click_gradient_coefficient": 1.5,
            "spend_gradient_norm": 5.0,
            "spend_gradient_cosine": 1.0,
            "spend_gradient_coefficient": 1.25,
            "click_gradient_conflict_rate": 0.5,
        }
    )
    statistics.reset_state()
    assert float(statistics.result()["click_gradient_norm"]) == 0.0


def test_auc_of_one_class_is_undefined_and_of_two_is_near_the_exact_one() -> None:
    metric = AUC()
    metric.update_state(tf.ones([3]), tf.sigmoid([0.1, -2.0, 3.0]))
    assert np.isnan(float(metric.result()))
    metric.update_state(tf.zeros([2]), tf.sigmoid([-1.0, 0.0]))
    # By hand: of the 6 pairs, 0.1 and 3 beat both negatives, -2 beats none.
    assert float(metric.result()) == pytest.approx(4 / 6, abs=1e-3)


@pytest.mark.parametrize("base", [-1.0, -6.5, -8.5])
def test_auc_of_rare_events_is_near_the_exact_one(base: float) -> None:
    random = np.random.default_rng(0)
    logits = base + random.normal(size=400_000)
    labels = random.random(400_000) < 1 / (1 + np.exp(-logits))
    metric = AUC()
    metric.update_state(tf.constant(labels, tf.float32), tf.sigmoid(tf.constant(logits, tf.float32)))
    assert float(metric.result()) == pytest.approx(roc_auc_score(labels, logits), abs=2e-3)


def test_auc_takes_probabilities_of_0_and_1() -> None:
    metric = AUC()
    metric.update_state(tf.constant([0.0, 1.0, 0.0, 1.0]), tf.constant([0.0, 1.0, 0.5, 0.5]))
    # By hand: of the 4 pairs one is tied and none is wrong.
    assert float(metric.result()) == pytest.approx(3.5 / 4, abs=1e-6)


def test_totals_are_weighted_sums() -> None:
    totals = Totals()
    totals.update_state(tf.constant([1.0, 2.0, 4.0]), tf.constant([3.0, 1.0, 9.0]), tf.constant([2.0, 1.0, 0.0]))
    totals.update_state(tf.constant([10.0]), tf.constant([20.0]))
    assert totals.result().numpy().tolist() == [14.0, 27.0]
