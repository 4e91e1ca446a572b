"""Quantiles and exceedances of the objectives that have a distribution, against float64 NumPy and scipy.stats."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from htlnet_tf.objectives import OBJECTIVES, ZILN, GammaHurdle, Objective, Ordinal, Quantile
from tests.objectives.references import TRAINING, fitted, logit, sigmoid, softplus

LEVELS = np.array([0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
MEAN, STD = TRAINING.mean(), TRAINING.std()
POSITIVE = TRAINING[TRAINING > 0] / MEAN

DISTRIBUTIONS: dict[str, Objective] = {
    "ziln": fitted(ZILN(), TRAINING),
    "gamma_hurdle": fitted(GammaHurdle(), TRAINING),
    "gamma_hurdle, sharp": fitted(GammaHurdle(), TRAINING).dispersed(0.01),
    "gamma_hurdle, wide": fitted(GammaHurdle(), TRAINING).dispersed(4.0),
    "ordinal": fitted(Ordinal(num_bins=4), TRAINING),
    "ordinal, fine": fitted(Ordinal(), np.random.default_rng(0).lognormal(0.0, 1.0, 5000)),
    "quantile": fitted(Quantile(levels=(0.1, 0.5, 0.8)), TRAINING),
    "quantile, negative too": fitted(Quantile(levels=(0.1, 0.5, 0.8)), TRAINING - 20.0, non_negative=False),
}
seeds = st.integers(0, 2**32 - 1)


def outputs_of(objective: Objective, seed: int, spread: float, rows: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, spread, [rows, objective.num_outputs]).astype(np.float32)


def as_taken(objective: Objective, outputs: np.ndarray) -> tf.Tensor:
    return tf.constant(outputs if objective.num_outputs > 1 else outputs[:, 0])


def test_which_objectives_have_a_distribution() -> None:
    having = [name for name, kind in OBJECTIVES.items() if kind().has_distribution]
    assert having == ["ziln", "gamma_hurdle", "ordinal", "quantile"]
    assert [name for name, kind in OBJECTIVES.items() if kind().has_dispersion] == ["gamma_hurdle"]
    with pytest.raises(NotImplementedError, match="'poisson' has no distribution"):
        OBJECTIVES["poisson"]().quantile(tf.zeros([2]), 0.5)


def _hurdle(amount: Any, positive: np.ndarray) -> tuple[Any, Any]:
    """Quantile and exceedance of a lump at 0 beside a scipy distribution."""

    def quantile(q: np.ndarray) -> np.ndarray:
        tail = (1.0 - q) / positive[:, np.newaxis]
        return np.where(tail < 1.0, amount.isf(np.minimum(tail, 1.0)), 0.0)

    def exceedance(t: np.ndarray) -> np.ndarray:
        return np.where(t < 0.0, 1.0, positive[:, np.newaxis] * amount.sf(np.maximum(t, 0.0)))

    return quantile, exceedance


@pytest.mark.parametrize("name", ["ziln", "gamma_hurdle", "gamma_hurdle, sharp", "gamma_hurdle, wide"])
def test_hurdles_are_as_scipy_has_them(name: str) -> None:
    objective: Any = DISTRIBUTIONS[name]
    outputs = outputs_of(objective, 3, 1.0, rows=200)
    o = outputs.astype(np.float64)
    p = sigmoid(o[:, 0] + logit(np.mean(TRAINING > 0)))
    if name == "ziln":
        deviation = np.log(POSITIVE).std()
        mu = (np.log(POSITIVE).mean() + deviation * o[:, 1])[:, np.newaxis]
        sigma = 0.05 + 2.95 * sigmoid(o[:, 2:] + logit((deviation - 0.05) / 2.95))
        amount = stats.lognorm(s=sigma, scale=np.exp(mu))
    else:
        shape = 1.0 / objective._dispersion
        amount = stats.gamma(shape, scale=POSITIVE.mean() * np.exp(o[:, 1:2]) / shape)
    quantile, exceedance = _hurdle(amount, p)
    np.testing.assert_allclose(objective.quantile(outputs, LEVELS), quantile(LEVELS), rtol=2e-4, atol=1e-5)
    thresholds = np.array([-1.0, 0.0, 0.01, 0.3, 1.0, 4.0, 50.0])
    np.testing.assert_allclose(objective.exceedance(outputs, thresholds), exceedance(thresholds), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(objective.quantile(outputs, 0.9), quantile(LEVELS)[:, 5], rtol=2e-4, atol=1e-5)


def test_ordinal_is_linear_within_its_parts() -> None:
    # Parts of 0, 1, 2 and 5 (times 7.3), of which 0 is a lump and 5 the middle of (2, 8]: by hand.
    objective = DISTRIBUTIONS["ordinal"]
    above = np.array([0.6, 0.3, 0.1])
    outputs = tf.zeros([1, 3])  # the training rows' shares
    unit = 7.3 / MEAN
    thresholds = unit * np.array([-0.5, 0.0, 0.5, 1.0, 1.75, 2.0, 5.0, 8.0, 9.0])
    expected = [1.0, above[0], 0.45, above[1], 0.15, above[2], 0.05, 0.0, 0.0]
    np.testing.assert_allclose(objective.exceedance(outputs, thresholds)[0], expected, atol=1e-5)
    levels = [0.2, 0.4, 0.55, 0.7, 0.85, 0.95]
    np.testing.assert_allclose(
        objective.quantile(outputs, levels)[0], unit * np.array([0, 0, 0.5, 1, 1.75, 5]), atol=1e-4
    )


def test_ordinal_takes_the_least_share_so_far() -> None:
    objective = DISTRIBUTIONS["ordinal"]
    outputs = tf.constant(logit(np.array([[0.4, 0.7, 0.2]])) - logit(np.array([0.6, 0.3, 0.1])), tf.float32)
    unit = 7.3 / MEAN
    np.testing.assert_allclose(
        objective.exceedance(outputs, unit * np.array([0.0, 1.0, 2.0]))[0], [0.4, 0.4, 0.2], atol=1e-5
    )


def test_quantile_is_linear_between_its_levels() -> None:
    objective = DISTRIBUTIONS["quantile"]
    outputs = outputs_of(objective, 0, 1.0, rows=50)
    first, *steps = np.array([0.0, 1.0, 1.0]) * 7.3 / STD
    values = [outputs[:, 0] + first]
    for k, step in enumerate(steps, start=1):
        values.append(values[-1] + softplus(outputs[:, k] + np.log(np.expm1(step))))
    v = np.stack(values, axis=1)
    v = np.where(v > 0.5 * 7.3 / STD, v, 0.0)  # half of the least label that is not 0
    expected = np.stack([np.interp([0.05, 0.1, 0.2, 0.5, 0.7, 0.8, 0.95], [0.1, 0.5, 0.8], row) for row in v])
    np.testing.assert_allclose(objective.quantile(outputs, [0.05, 0.1, 0.2, 0.5, 0.7, 0.8, 0.95]), expected, atol=1e-5)
    beyond = np.stack([v[:, 0] - 0.01, (v[:, 0] + v[:, 1]) / 2, v[:, 2] + 0.01], axis=1)
    found = np.asarray(objective.exceedance(outputs, tf.constant(beyond, tf.float32)))
    plain = v[:, 0] > 0.02  # elsewhere the lowest is a lump at 0
    np.testing.assert_allclose(found[plain], np.broadcast_to([1.0, 0.7, 0.0], [plain.sum(), 3]), atol=1e-4)
    lump = v[:, 1] == 0.0
    np.testing.assert_allclose(
        np.asarray(objective.exceedance(outputs, 0.0))[lump], np.where(v[lump, 2] == 0, 0.0, 0.5)
    )


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@given(seed=seeds, spread=st.floats(0.01, 4.0))
@settings(max_examples=20)
def test_both_are_monotone_and_inverse_to_one_another(name: str, seed: int, spread: float) -> None:
    objective = DISTRIBUTIONS[name]
    outputs = as_taken(objective, outputs_of(objective, seed, spread))
    quantiles = np.asarray(objective.quantile(outputs, LEVELS), np.float64)
    assert np.isfinite(quantiles).all() and (np.diff(quantiles, axis=1) >= -1e-5 * np.abs(quantiles[:, 1:])).all()
    thresholds = np.linspace(-3.0, 6.0, 19)
    shares = np.asarray(objective.exceedance(outputs, thresholds), np.float64)
    assert ((shares >= 0.0) & (shares <= 1.0)).all() and (np.diff(shares, axis=1) <= 1e-6).all()
    # At a quantile at most 1 - q is exceeded, and just below it at least that: of a smooth part both are 1 - q.
    size = 1e-3 * np.maximum(np.abs(quantiles), 1e-3)
    above = np.asarray(objective.exceedance(outputs, tf.constant(quantiles + size, tf.float32)))
    below = np.asarray(objective.exceedance(outputs, tf.constant(quantiles - size, tf.float32)))
    assert (above <= 1.0 - LEVELS + 1e-4).all() and (below >= 1.0 - LEVELS - 1e-4).all()


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_extremes_are_finite(name: str) -> None:
    objective = DISTRIBUTIONS[name]
    random = np.random.default_rng(0)
    extremes = [-1e6, -90.0, -20.0, 0.0, 20.0, 90.0, 1e6]
    outputs = as_taken(objective, random.choice(extremes, [200, objective.num_outputs]).astype(np.float32))
    quantiles = np.asarray(objective.quantile(outputs, [1e-6, 0.5, 1.0 - 1e-6]))
    shares = np.asarray(objective.exceedance(outputs, [-1e30, -1.0, 0.0, 1e-30, 1.0, 1e15, 1e30]))
    assert np.isfinite(quantiles).all() and (np.diff(quantiles, axis=1) >= -1e-5 * np.abs(quantiles[:, 1:])).all()
    assert ((shares >= 0.0) & (shares <= 1.0)).all() and (np.diff(shares, axis=1) <= 1e-6).all()


@pytest.mark.parametrize("dispersion", [0.02, 0.5, 1.0, 3.0])
def test_the_dispersion_is_that_of_the_amounts(dispersion: float) -> None:
    random = np.random.default_rng(0)
    mean = random.lognormal(0.0, 0.5, 20_000)
    z = np.where(random.random(20_000) < 0.4, random.gamma(1 / dispersion, mean * dispersion), 0.0)
    objective = fitted(GammaHurdle(), z, standardise=False)
    # Predicted 20 % too low, which the level mends.
    location = np.log(mean / 1.2) - float(objective._log_mean)
    outputs = tf.constant(np.stack([np.zeros(20_000), location], axis=1), tf.float32)
    sums = np.asarray(objective.dispersion_terms(tf.constant(z, tf.float32), outputs), np.float64).sum(axis=0)
    found = objective.dispersion(list(sums), 1.2)
    # scipy's own maximum likelihood of the amounts over their means, whose scale it knows.
    shape, _, _ = stats.gamma.fit((z / mean)[z > 0], floc=0.0)
    assert found == pytest.approx(dispersion, rel=0.05)
    assert found == pytest.approx(1.0 / shape, rel=0.02)


def test_a_dispersion_without_amounts_is_1_and_bounded() -> None:
    objective: Any = DISTRIBUTIONS["gamma_hurdle"]
    assert objective.dispersion([0.0, 0.0, 0.0], 1.0) == 1.0
    assert objective.dispersion([10.0, 10.0, 0.0], 1.0) == pytest.approx(1e-3)
    assert objective.dispersion([10.0, 1e9, 0.0], 1.0) == pytest.approx(20.0)
