"""The score of a ranking in NumPy, for tables of predictions; `htlnet_tf.scoring.ranking` has it in the graph."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from htlnet_tf.schema.ranking import Ranking

Floats = npt.NDArray[np.float64]

LARGEST = 1e38
"""What a larger score is given out as: float32 ends at 3.4e38, and an infinite score could not be sent as JSON."""
SMALLEST = float(np.finfo(np.float32).tiny)
"""A smaller score, or prediction without a floor, is 0: of such float32 numbers some processors keep only zeros."""


def log_scores(ranking: Ranking, predictions: Mapping[str, npt.ArrayLike] | pd.DataFrame) -> Floats:
    """The logarithms of the scores, without bounds.

    Args:
      ranking: Weights and floors.
      predictions: By the names that the ranking has, [N].

    Returns:
      [N]; -inf of a prediction of 0 that has no floor, NaN of one that is not a number.
    """
    total: Floats | float = 0.0
    for name, weight, floor in ranking.factors:
        prediction = np.asarray(predictions[name], np.float64)
        # Comparisons with NaN are false, so NaN stays what it is.
        bounded = np.where(prediction < floor, floor, prediction) if floor else prediction
        with np.errstate(divide="ignore", invalid="ignore"):
            logarithm = np.log(np.where((bounded < SMALLEST) & (not floor), 0.0, bounded))
        total = total + weight * logarithm
    return np.asarray(total, np.float64)


def power_product(ranking: Ranking, predictions: Mapping[str, npt.ArrayLike] | pd.DataFrame) -> Floats:
    """The scores, [N] in [0, 1e38]; arguments as of `log_scores`."""
    logarithms = log_scores(ranking, predictions)
    with np.errstate(invalid="ignore", over="ignore"):
        scores = np.exp(np.where(logarithms > np.log(LARGEST), np.log(LARGEST), logarithms))
    return np.where(scores < SMALLEST, 0.0, scores)


def score_scale(
    ranking: Ranking, predictions: Mapping[str, npt.ArrayLike] | pd.DataFrame, scales: Mapping[str, float], step: float
) -> Floats:
    """The size that a difference of scores is measured in, where one of predictions is measured in theirs.

    A difference of the score is relative to it. But what counts as no difference of the predictions may be a large one
    of their powers: 1e-9 for 0 makes 3e-5 of a square root. So the scale is at least so large that scores of
    predictions that are `step` apart, in their own scales, are no more than `step` apart.

    Args:
      ranking: Weights and floors.
      predictions: As of `log_scores`.
      scales: By the same names, what a difference of the prediction is measured in, if it is not the prediction itself.
      step: What counts as equal.

    Returns:
      [N], above 0.
    """
    values = {name: np.asarray(predictions[name], np.float64) for name, _, _ in ranking.factors}
    middle = power_product(ranking, values)
    widest = np.maximum(middle * max(1.0, sum(abs(weight) for _, weight, _ in ranking.factors)), SMALLEST)
    for side in (1.0, -1.0):
        moved = {
            name: np.maximum(values[name] + side * np.sign(weight) * step * np.maximum(values[name], scales[name]), 0.0)
            for name, weight, _ in ranking.factors
        }
        widest = np.maximum(widest, np.abs(power_product(ranking, moved) - middle) / step)
    return widest
