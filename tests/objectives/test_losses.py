"""Losses, gradients, extremes and starts of every objective of an amount; plain tensors, no model."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from htlnet_tf.objectives import OBJECTIVES, Objective, Quantile, Tweedie
from tests.objectives.references import CASES, TRAINING, Case, fitted

cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)

STARTS = {
    "usual": TRAINING,
    "all zero": np.zeros(10),
    "one positive in 10,000": np.eye(1, 10_000)[0] * 40.0,
    "tiny": TRAINING * 1e-30,
    "huge": TRAINING * 1e29,
}


def _shaped(objective: Objective, outputs: np.ndarray) -> tf.Tensor:
    """Outputs [B, K] as an objective takes them."""
    values = tf.constant(outputs, tf.float32)
    return values if objective.num_outputs > 1 else values[:, 0]


def _in_units(objective: Objective, labels: np.ndarray) -> tf.Tensor:
    shift, scale = objective.units
    return tf.constant((labels - shift) / scale, tf.float32)


def test_every_objective_has_a_reference() -> None:
    assert {case.objective.name for case in CASES.values()} == set(OBJECTIVES)


@cases
def test_loss_and_gradient_are_the_formulas(case: Case) -> None:
    # Expected: the float64 reference, and its central finite differences.
    objective = fitted(case.objective, TRAINING, non_negative=case.non_negative)
    random = np.random.default_rng(0)
    labels = np.concatenate([TRAINING, random.gamma(1.0, 9.0, 40)])
    if not case.non_negative:
        labels[::5] *= -1
    outputs = random.normal(0.0, 1.5, [len(labels), objective.num_outputs])
    given = _shaped(objective, outputs)
    with tf.GradientTape() as tape:
        tape.watch(given)
        losses = objective.loss(_in_units(objective, labels), given)
    assert losses.shape == [len(labels)]
    np.testing.assert_allclose(losses, case.loss(labels, outputs), rtol=2e-5, atol=2e-6)
    gradient = np.reshape(tape.gradient(losses, given), outputs.shape)
    for k in range(outputs.shape[1]):
        step = 1e-6 * np.eye(outputs.shape[1])[k]
        slope = (case.loss(labels, outputs + step) - case.loss(labels, outputs - step)) / 2e-6
        np.testing.assert_allclose(gradient[:, k], slope, rtol=1e-4, atol=2e-6)


@cases
@pytest.mark.parametrize("start", STARTS)
def test_extremes_are_finite(case: Case, start: str) -> None:
    objective = fitted(case.objective, STARTS[start], non_negative=case.non_negative)
    each = [-1e6, -1e3, -40.0, -1.0, 0.0, 1.0, 40.0, 1e3, 1e6]
    width = objective.num_outputs
    random = np.random.default_rng(1)
    outputs = np.array([*([o] * width for o in each), *random.choice(each, [60, width])])
    amounts = [0.0, 1e-30, 1e-10, 1.0, 1e10, 1e30]
    amounts += [] if case.non_negative else [-1.0, -1e30]
    pairs = itertools.product(amounts, outputs)
    labels, rows = (np.array(column) for column in zip(*pairs, strict=True))
    z = tf.clip_by_value(_in_units(objective, labels), -3e38, 3e38)  # infinite where the training rows are tiny
    given = _shaped(objective, rows)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(given)
        losses, predictions = objective.loss(z, given), objective.predict(given)
    terms = np.abs(tape.gradient(losses, given)) * np.abs(given) + 1.0  # what a loss is the difference of
    assert np.isfinite(losses).all()
    assert (losses.numpy() >= -1e-6 * np.reshape(terms, [len(z), -1]).max(axis=1)).all()
    assert np.isfinite(tape.gradient(losses, given)).all()
    assert np.isfinite(predictions).all() and np.isfinite(tape.gradient(predictions, given)).all()
    if case.non_negative:
        assert (predictions.numpy() >= 0.0).all()


@cases
def test_loss_of_an_objective_is_never_negative_at_its_best(case: Case) -> None:
    # Where a deviance is 0: the prediction is the label.
    objective = fitted(case.objective, TRAINING, non_negative=case.non_negative)
    around = np.linspace(-3.0, 3.0, 1201)
    outputs = np.repeat(around[:, np.newaxis], objective.num_outputs, axis=1)
    for label in np.unique(TRAINING):
        z = _in_units(objective, np.full(len(around), label))
        assert objective.loss(z, _shaped(objective, outputs)).numpy().min() >= -1e-6


@pytest.mark.parametrize(
    ("name", "standardise"),
    [(name, True) for name, case in CASES.items() if case.objective.name not in ("log_squared", "quantile")]
    # On raw amounts too, where what the objective takes from the training rows is in the amounts' unit.
    + [(name, False) for name in ("squared, not negative", "ziln", "gamma_hurdle", "ordinal")],
)
def test_an_untrained_model_predicts_the_mean(name: str, standardise: bool) -> None:
    case = CASES[name]
    objective = fitted(case.objective, TRAINING, non_negative=case.non_negative, standardise=standardise)
    predicted = objective.predict(_shaped(objective, np.zeros([1, objective.num_outputs])))
    start = float(predicted[0]) * objective.units.scale + objective.units.shift
    assert start == pytest.approx(TRAINING.mean(), rel=0.05 if name == "ziln" else 1e-5)


def test_an_untrained_quantile_model_predicts_the_quantiles() -> None:
    # By hand: of 0 0 0 0 1 1 1 2 2 5, the labels that end a share of 0.1, 0.5 and 0.8.
    objective = fitted(Quantile(levels=(0.1, 0.5, 0.8)), TRAINING)
    values = objective.quantiles(tf.zeros([1, 3])).numpy()[0] * objective.units.scale
    np.testing.assert_allclose(values, 7.3 * np.array([0.0, 1.0, 2.0]), atol=1e-5)


def test_the_mean_and_the_median_of_quantiles() -> None:
    # By hand. v(q) is constant up to 0.1, from 0 at 0.1 to 1 at 0.5, to 2 at 0.8, constant beyond, all times 7.3.
    start = tf.zeros([1, 3])
    of_mean = fitted(Quantile(levels=(0.1, 0.5, 0.8)), TRAINING)
    mean = 0.4 * 0.5 + 0.3 * 1.5 + 0.2 * 2.0
    assert float(of_mean.predict(start)[0]) * of_mean.units.scale == pytest.approx(7.3 * mean, rel=1e-5)
    of_median = fitted(Quantile(levels=(0.4, 0.7, 0.8), prediction="median"), TRAINING)
    # v(0.4) = 0 and v(0.7) = 1, of which 0.5 is a third of the way.
    assert float(of_median.predict(start)[0]) * of_median.units.scale == pytest.approx(7.3 / 3.0, rel=1e-5)


@pytest.mark.parametrize("rows", [1_000, 777])
def test_rounding_lifts_no_label_above_a_threshold(rows: int) -> None:
    # Labels that are equal to a threshold are many; a model divides them by their mean in float32. At the start an
    # ordinal model predicts the training rows' shares, so that the mean loss over these rows has no gradient.
    labels = np.random.default_rng(rows).poisson(6.0, rows).astype(np.float64) * 0.1
    objective = fitted(OBJECTIVES["ordinal"](num_bins=10, monotonicity=0.0), labels)  # type: ignore[call-arg]
    z = (tf.constant(labels, tf.float32) - objective.units.shift) / objective.units.scale
    outputs = tf.zeros([rows, objective.num_outputs])
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        loss = tf.reduce_mean(objective.loss(z, outputs))
    np.testing.assert_allclose(tf.reduce_sum(tape.gradient(loss, outputs), axis=0), 0.0, atol=1e-6)


def test_a_tweedie_of_a_power_near_1_is_poisson() -> None:
    near, exact = fitted(Tweedie(power=1.0001), TRAINING), fitted(OBJECTIVES["poisson"](), TRAINING)
    z, outputs = _in_units(near, TRAINING), tf.linspace(-1.0, 1.0, len(TRAINING))
    # The loss has terms of 1 / 0.0001, whose differences float32 does not resolve further.
    np.testing.assert_allclose(near.loss(z, outputs), exact.loss(z, outputs), atol=0.02)
