"""Minimising the mean loss of generated rows gives the parameters that they were drawn with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from scipy.optimize import minimize
from scipy.stats import norm

from htlnet_tf.objectives import (
    ZILN,
    GammaHurdle,
    LogSquared,
    Objective,
    Ordinal,
    Poisson,
    Quantile,
    Squared,
    Tweedie,
    WeightedLogistic,
)
from tests.objectives.references import fitted, sigmoid

ROWS = 20_000
SHARES, LOCATIONS, SPREADS = np.array([0.2, 0.7]), np.array([1.0, 2.5]), np.array([0.4, 0.9])


class Drawn:
    """Two groups of zeros and log-normal amounts."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self.group = random.integers(0, 2, ROWS)
        amount = np.exp(random.normal(LOCATIONS[self.group], SPREADS[self.group]))
        self.labels = np.where(random.random(ROWS) < SHARES[self.group], amount, 0.0)
        self.means = SHARES * np.exp(LOCATIONS + SPREADS**2 / 2)

    def of(self, group: int) -> np.ndarray:
        return self.labels[self.group == group]


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    return Drawn()


def _minimised(objective: Objective, drawn: Drawn, *, non_negative: bool = True) -> tuple[Any, tf.Tensor]:
    """The fitted objective, and the outputs [2, K] per group that minimise the mean loss."""
    objective = fitted(objective, drawn.labels, non_negative=non_negative)
    shift, scale = objective.units
    z = tf.constant((drawn.labels - shift) / scale, tf.float32)
    group, shape = tf.constant(drawn.group), [2, objective.num_outputs]

    def shaped(outputs: tf.Tensor) -> tf.Tensor:
        return outputs if objective.num_outputs > 1 else outputs[..., 0]

    @tf.function
    def mean_loss(outputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(outputs)
            loss = tf.reduce_mean(objective.loss(z, shaped(tf.gather(outputs, group))))
        return loss, tf.convert_to_tensor(tape.gradient(loss, outputs))

    def for_scipy(flat: np.ndarray) -> tuple[float, np.ndarray]:
        loss, gradient = mean_loss(tf.constant(flat.reshape(shape), tf.float32))
        return float(loss), np.asarray(gradient, np.float64).ravel()

    best = minimize(for_scipy, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B", options={"ftol": 1e-9})
    return objective, shaped(tf.constant(best.x.reshape(shape), tf.float32))


@pytest.mark.parametrize(
    ("objective", "non_negative"),
    [
        (Squared(), False),
        (Squared(), True),
        (Poisson(), True),
        (Tweedie(power=1.5), True),
        (Tweedie(power=1.9), True),
        (WeightedLogistic(), True),
        (GammaHurdle(), True),
    ],
    ids=str,
)
def test_the_mean(objective: Objective, non_negative: bool, drawn: Drawn) -> None:
    objective, outputs = _minimised(objective, drawn, non_negative=non_negative)
    predicted = objective.predict(outputs).numpy() * objective.units.scale + objective.units.shift
    # The minimiser is the groups' mean in the rows, which is that of the law but for chance.
    np.testing.assert_allclose(predicted, [drawn.of(0).mean(), drawn.of(1).mean()], rtol=5e-3)
    np.testing.assert_allclose(predicted, drawn.means, rtol=0.05)


def test_share_and_amount_of_a_gamma_hurdle(drawn: Drawn) -> None:
    objective, outputs = _minimised(GammaHurdle(), drawn)
    np.testing.assert_allclose(sigmoid(objective.positive_logit(outputs)), SHARES, atol=0.01)
    amounts = np.exp(objective.location(outputs)) * objective.units.scale
    np.testing.assert_allclose(amounts, drawn.means / SHARES, rtol=0.03)


def test_share_location_and_spread_of_a_log_normal(drawn: Drawn) -> None:
    objective, outputs = _minimised(ZILN(), drawn)
    np.testing.assert_allclose(sigmoid(objective.positive_logit(outputs)), SHARES, atol=0.01)
    np.testing.assert_allclose(objective.location(outputs) + np.log(objective.units.scale), LOCATIONS, atol=0.03)
    np.testing.assert_allclose(objective.spread(outputs), SPREADS, atol=0.02)
    np.testing.assert_allclose(objective.predict(outputs) * objective.units.scale, drawn.means, rtol=0.05)


def test_the_mean_of_the_logarithm(drawn: Drawn) -> None:
    objective, outputs = _minimised(LogSquared(), drawn)
    scale = objective.units.scale
    expected = [np.expm1(np.log1p(drawn.of(g) / scale).mean()) for g in (0, 1)]
    np.testing.assert_allclose(objective.predict(outputs), expected, rtol=1e-3)


def test_the_shares_above_the_thresholds(drawn: Drawn) -> None:
    objective, outputs = _minimised(Ordinal(num_bins=12, monotonicity=0.0), drawn)
    bounds = objective._bounds * objective.units.scale
    assert len(bounds) == 11 and bounds[0] == 0.0
    for g in (0, 1):
        shares = [np.mean(drawn.of(g) > bound) for bound in bounds]
        np.testing.assert_allclose(sigmoid(outputs[g] + objective._logits), shares, atol=2e-3)
        law = SHARES[g] * np.append(1.0, norm.sf((np.log(bounds[1:]) - LOCATIONS[g]) / SPREADS[g]))
        np.testing.assert_allclose(shares, law, atol=0.015)
    # Within a part the groups' amounts differ, so that its mean stands in for them.
    np.testing.assert_allclose(objective.predict(outputs) * objective.units.scale, drawn.means, rtol=0.15)


def test_the_quantiles(drawn: Drawn) -> None:
    levels = (0.35, 0.5, 0.9)
    objective, outputs = _minimised(Quantile(levels=levels), drawn)
    found = objective.quantiles(outputs).numpy() * objective.units.scale
    # By the law, with the zeros first: q = 1 - share + share * Phi((log v - mu) / sigma).
    above = (np.array(levels) - 1 + SHARES[1]) / SHARES[1]
    np.testing.assert_allclose(found[1], np.exp(LOCATIONS[1] + SPREADS[1] * norm.ppf(above)), rtol=0.06)
    highest = np.exp(LOCATIONS[0] + SPREADS[0] * norm.ppf((0.9 - 1 + SHARES[0]) / SHARES[0]))
    np.testing.assert_allclose(found[0], [0.0, 0.0, highest], rtol=0.06, atol=0.2)
