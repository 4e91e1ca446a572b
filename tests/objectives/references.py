"""The objectives in float64 NumPy, written from the formulas in their docstrings and from design section 9."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from htlnet_tf.encoding.label_counting import LabelCounter
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

TRAINING = 7.3 * np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 5], np.float64)
"""Labels of the training rows in their unit; mean 8.76."""

Loss = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Case(NamedTuple):
    """An objective, what its target promises, and its loss of labels y [B] in their unit and outputs [B, K]."""

    objective: Objective
    loss: Loss
    non_negative: bool = True


def fitted(objective: Objective, labels: np.ndarray, *, non_negative: bool = True, standardise: bool = True) -> Any:
    """The objective as a model has it that was trained on these labels."""
    counter = LabelCounter()
    counter.update(labels)
    return objective.fitted(counter.statistics(), non_negative=non_negative, standardise=standardise)


def sigmoid(x: Any) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.asarray(x)))


def softplus(x: Any) -> np.ndarray:
    return np.logaddexp(0.0, x)


def logit(p: Any) -> np.ndarray:
    return np.log(p) - np.log1p(-np.asarray(p))


def cross_entropy(happened: np.ndarray, p: np.ndarray) -> np.ndarray:
    return -np.where(happened, np.log(p), np.log1p(-p))


_MEAN, _STD = TRAINING.mean(), TRAINING.std()
_LOGS = np.log(TRAINING[TRAINING > 0] / _MEAN)
_SHARE = np.mean(TRAINING > 0)


def _squared(y: np.ndarray, o: np.ndarray) -> np.ndarray:
    return ((y - _MEAN) / _STD - o[:, 0]) ** 2


def _squared_softplus(y: np.ndarray, o: np.ndarray) -> np.ndarray:
    start = np.log(np.expm1(_MEAN / _STD))
    return (y / _STD - softplus(o[:, 0] + start)) ** 2


def _poisson(y: np.ndarray, o: np.ndarray) -> np.ndarray:
    z = y / _MEAN
    return np.exp(o[:, 0]) - z * o[:, 0] + np.where(z > 0, z * np.log(np.maximum(z, 1e-300)), 0) - z


def _tweedie(power: float) -> Loss:
    def loss(y: np.ndarray, o: np.ndarray) -> np.ndarray:
        z, one, two = y / _MEAN, 1 - power, 2 - power
        return -z * np.exp(one * o[:, 0]) / one + np.exp(two * o[:, 0]) / two + z**two / (one * two)

    return loss


def _weighted_logistic(y: np.ndarray, o: np.ndarray) -> np.ndarray:
    return y / _MEAN * softplus(-o[:, 0]) + softplus(o[:, 0])


def _ziln(y: np.ndarray, o: np.ndarray) -> np.ndarray:
    p = sigmoid(o[:, 0] + logit(_SHARE))
    mu = _LOGS.mean() + _LOGS.std() * o[:, 1]
    sigma = 0.05 + 2.95 * sigmoid(o[:, 2] + logit((_LOGS.std() - 0.05) / 2.95))
    z = np.where(y > 0, y, 1.0) / _MEAN
    amount = (np.log(z) - mu) ** 2 / (2 * sigma**2) + np.log(sigma / 0.05)
    return cross_entropy(y > 0, p) + np.where(y > 0, amount, 0)


def _gamma_hurdle(y: np.ndarray, o: np.ndarray) -> np.ndarray:
    p = sigmoid(o[:, 0] + logit(_SHARE))
    ratio = np.where(y > 0, y, 1.0) / _MEAN / (np.mean(TRAINING[TRAINING > 0]) / _MEAN * np.exp(o[:, 1]))
    return cross_entropy(y > 0, p) + np.where(y > 0, ratio - 1 - np.log(ratio), 0)


def _log_squared(y: np.ndarray, o: np.ndarray) -> np.ndarray:
    return (np.log1p(y / _MEAN) - o[:, 0]) ** 2


def _ordinal(monotonicity: float) -> Loss:
    def loss(y: np.ndarray, o: np.ndarray) -> np.ndarray:
        bounds = 7.3 * np.array([0, 1, 2])  # four parts of the four values
        p = sigmoid(o + logit(np.array([0.6, 0.3, 0.1])))
        entropies = cross_entropy(y[:, np.newaxis] > bounds, p)
        return entropies.mean(axis=1) + monotonicity * np.maximum(np.diff(p, axis=1), 0).mean(axis=1)

    return loss


def _quantile(y: np.ndarray, o: np.ndarray) -> np.ndarray:
    levels = np.array([0.1, 0.5, 0.8])
    # The training labels' quantiles at these levels are 0, 1 and 2 times 7.3: the last labels of their shares.
    first, *steps = np.array([0, 1, 1]) * 7.3 / _STD
    values = [o[:, 0] + first]
    for k, step in enumerate(steps, start=1):
        values.append(values[-1] + softplus(o[:, k] + np.log(np.expm1(step))))
    beyond = (y / _STD)[:, np.newaxis] - np.stack(values, axis=1)
    return np.maximum(levels * beyond, (levels - 1) * beyond).mean(axis=1)


CASES = {
    "squared": Case(Squared(), _squared, non_negative=False),
    "squared, not negative": Case(Squared(), _squared_softplus),
    "poisson": Case(Poisson(), _poisson),
    "tweedie": Case(Tweedie(), _tweedie(1.5)),
    "tweedie near poisson": Case(Tweedie(power=1.1), _tweedie(1.1)),
    "weighted_logistic": Case(WeightedLogistic(), _weighted_logistic),
    "ziln": Case(ZILN(), _ziln),
    "gamma_hurdle": Case(GammaHurdle(), _gamma_hurdle),
    "log_squared": Case(LogSquared(), _log_squared),
    "ordinal": Case(Ordinal(num_bins=4), _ordinal(1.0)),
    "ordinal without its term": Case(Ordinal(num_bins=4, monotonicity=0.0), _ordinal(0.0)),
    "quantile": Case(Quantile(levels=(0.1, 0.5, 0.8)), _quantile),
    "quantile, negative too": Case(Quantile(levels=(0.1, 0.5, 0.8)), _quantile, non_negative=False),
    "quantile, median": Case(Quantile(levels=(0.1, 0.5, 0.8), prediction="median"), _quantile),
}
