"""Isotonic regression of labels on predictions, smoothed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from htlnet_tf.scoring.calibration.curve import Curve
from htlnet_tf.scoring.calibration.method import STEEPEST

if TYPE_CHECKING:
    from htlnet_tf.scoring.calibration.sample import Sample

_STEP_ROWS, _TILT = 50.0, 0.1


class Isotonic:
    """The increasing step function that fits best, a little tilted.

    Neighbouring steps are put together until each has 50 rows, and each counts one more whose label is as predicted, so
    that none says 0 or 1. A step rises from a tenth of the distance to its neighbours below its value to as much above,
    so that predictions which plain isotonic regression makes equal keep their order. From one step to the next the
    curve is never steeper than 30, in amounts 30 times their level, so that it does not magnify rounding. Outside of
    the rows, the curve of probabilities begins at (0, 0) and ends at (1, 1); that of an amount which is not negative
    begins at (0, 0) and keeps its last ratio.

    References:
      Zadrozny, Elkan: "Transforming Classifier Scores into Accurate Multiclass Probability Estimates", KDD 2002.
    """

    least_rows = 1000
    least_of_each = 100
    for_steps = True
    for_amounts = True

    def fit(self, sample: Sample, *, probability: bool, non_negative: bool) -> Curve:
        """See `Method.fit`."""
        from sklearn.isotonic import IsotonicRegression  # a configuration is read without it

        p, weights = sample.predictions, sample.weights
        fitted = IsotonicRegression(out_of_bounds="clip").fit(p, sample.labels, sample_weight=weights).predict(p)
        _, step = np.unique(fitted, return_inverse=True)
        counts = weights / weights.mean()  # in rows, whatever the unit of the weights
        step = _put_together(np.bincount(step, counts))[step]
        rows = np.bincount(step, counts)
        means = np.bincount(step, counts * p) / rows
        levels = np.maximum.accumulate((np.bincount(step, counts * sample.labels) + means) / (rows + 1.0))
        gaps = np.diff(levels)
        outer = gaps if len(gaps) else np.abs(levels) * 0.01  # of a step without neighbours
        below, above = _TILT * np.append(outer[:1], gaps), _TILT * np.append(gaps, outer[-1:])
        starts, ends = np.full(len(rows), np.inf), np.full(len(rows), -np.inf)
        np.minimum.at(starts, step, p)
        np.maximum.at(ends, step, p)
        x = np.stack([starts, ends], axis=1).ravel()
        y = np.stack([levels - below, levels + above], axis=1).ravel()
        level = 1.0 if probability or not non_negative else max(float(levels @ rows) / float(means @ rows), 1e-30)
        y = _not_steeper(x, np.maximum.accumulate(y), STEEPEST * level)
        if not (probability or non_negative):
            return Curve.through(x, y)
        inner = (x > 0.0) & (x < 1.0 if probability else True)
        x, y = np.append(0.0, x[inner]), np.append(0.0, np.maximum(y[inner], 0.0))
        if probability:
            return Curve.through(np.append(x, 1.0), np.minimum(np.append(y, 1.0), 1.0), below=0.0, above=0.0)
        return Curve.through(x, y, below=0.0, above=float(y[-1] / x[-1]) if x[-1] else 1.0)


def _put_together(rows: np.ndarray) -> np.ndarray:
    """Numbers of the steps after neighbours have been put together, int64 [steps], from their rows, float64 [steps]."""
    numbers, number, found = np.zeros(len(rows), np.int64), 0, 0.0
    rest = rows.sum()
    for i, count in enumerate(rows):
        numbers[i] = number
        found, rest = found + count, rest - count
        if found >= _STEP_ROWS and rest >= _STEP_ROWS:
            number, found = number + 1, 0.0
    return numbers


def _not_steeper(x: np.ndarray, y: np.ndarray, slope: float) -> np.ndarray:
    """Values that rise by at most `slope` from point to point: midway between the largest below and the least above."""
    rest = y - slope * x
    below, above = np.minimum.accumulate(rest) + slope * x, np.maximum.accumulate(rest[::-1])[::-1] + slope * x
    return np.asarray((below + above) / 2.0)
