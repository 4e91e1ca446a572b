"""Isotonic regression of labels on predictions, smoothed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from htlnet_tf.scoring.calibration.curve import Curve

if TYPE_CHECKING:
    from htlnet_tf.scoring.calibration.sample import Sample

_PRIOR_ROWS = 10.0


class Isotonic:
    """The increasing step function that fits best, with straight lines between the middles of its steps.

    The lines keep the order of predictions that plain isotonic regression makes equal. Each step counts ten more rows
    whose labels are as predicted, so that a short step does not say 0 or 1; of probabilities the curve begins at (0, 0)
    and ends at (1, 1), of an amount that is not negative it begins at (0, 0) and keeps its last ratio.

    References:
      Zadrozny, Elkan: "Transforming Classifier Scores into Accurate Multiclass Probability Estimates", KDD 2002; Oron,
      Flournoy: "Centered Isotonic Regression", Statistics in Biopharmaceutical Research 9, 2017, for the lines.
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
        levels, step = np.unique(fitted, return_inverse=True)
        rows = np.bincount(step, weights)
        x = np.bincount(step, weights * p) / rows
        # In rows, whatever the unit of the weights.
        counted = rows / weights.mean()
        y = np.maximum.accumulate((levels * counted + x * _PRIOR_ROWS) / (counted + _PRIOR_ROWS))
        if probability:
            x, y = np.clip(x, 0.0, 1.0), np.clip(y, 0.0, 1.0)
        inner = (x > 0.0) & (x < 1.0 if probability else True)
        if not (probability or non_negative):
            return Curve.through(x, y)
        x, y = np.append(0.0, x[inner]), np.append(0.0, y[inner])
        if probability:
            return Curve.through(np.append(x, 1.0), np.append(y, 1.0), below=0.0, above=0.0)
        return Curve.through(x, y, below=0.0, above=float(y[-1] / x[-1]) if x[-1] else 1.0)
