"""Calibration by the values of a column, with shrinkage to the whole."""

from __future__ import annotations

import numpy as np

_LOGITS = 1e-7
_STEPS = 50
_BOUND = 10.0  # of a shift; e^10 is a factor of 22,000 for the odds


def logits_of(probabilities: np.ndarray) -> np.ndarray:
    """float64 [M]; finite, as those of `htlnet_tf.scoring.calibration.curve.logit`."""
    p = np.clip(probabilities, _LOGITS, 1.0 - _LOGITS)
    return np.asarray(np.log(p) - np.log1p(-p))


def logit_shifts(
    logits: np.ndarray, labels: np.ndarray, weights: np.ndarray, groups: np.ndarray, *, prior_rows: float
) -> np.ndarray:
    """The shift s_g of each group's logits by maximum likelihood, sum over its rows of w (y - sigmoid(l + s_g)) = 0.

    Each group has `prior_rows` more rows, whose labels are as predicted: few rows of its own move it little.

    Args:
      logits: float64 [M].
      labels: 0 or 1, float64 [M].
      weights: float64 [M].
      groups: From 0, int64 [M].
      prior_rows: As many as that many rows of mean weight.

    Returns:
      float64 [groups], within -10 .. 10; 0 of a group without rows.
    """
    count = int(groups.max()) + 1
    rows = np.bincount(groups, weights, minlength=count)
    # The further rows are spread over the group's own: each row counts so much more, with its prediction as label.
    share = np.divide(prior_rows * weights.mean(), rows, out=np.zeros(count), where=rows > 0)
    said = 1.0 / (1.0 + np.exp(-logits))
    due = np.bincount(groups, weights * (labels + share[groups] * said), minlength=count)
    low, high = np.full(count, -_BOUND), np.full(count, _BOUND)
    for _ in range(_STEPS):  # the sum falls with s, so halving finds it, whatever the labels are
        middle = (low + high) / 2.0
        p = 1.0 / (1.0 + np.exp(-(logits + middle[groups])))
        found = np.bincount(groups, weights * (1.0 + share[groups]) * p, minlength=count)
        low, high = np.where(found < due, middle, low), np.where(found < due, high, middle)
    return np.where(rows > 0, (low + high) / 2.0, 0.0)


def level_factors(
    predictions: np.ndarray, labels: np.ndarray, weights: np.ndarray, groups: np.ndarray, *, prior_rows: float
) -> np.ndarray:
    """The factor of each group, sum(w y) / sum(w prediction), with `prior_rows` more rows of labels as predicted.

    Arguments as for `logit_shifts`; `predictions` are amounts, float64 [M].

    Returns:
      float64 [groups], within 1e-3 .. 1e3; 1 of a group without rows or with a total of 0 or less.
    """
    count = int(groups.max()) + 1
    rows = np.bincount(groups, weights, minlength=count)
    predicted = np.bincount(groups, weights * predictions, minlength=count)
    prior = prior_rows * weights.mean() * np.divide(predicted, rows, out=np.zeros(count), where=rows > 0)
    actual = np.bincount(groups, weights * labels, minlength=count) + prior
    total = predicted + prior
    usable = (actual > 0) & (total > 0)
    return np.where(usable, np.clip(actual / np.where(usable, total, 1.0), 1e-3, 1e3), 1.0)
