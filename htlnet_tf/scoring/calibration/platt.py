"""Platt's scaling: a logistic regression on the logit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from absl import logging

from htlnet_tf.scoring.calibration.curve import Curve
from htlnet_tf.scoring.calibration.groups import logit_shifts, logits_of
from htlnet_tf.scoring.calibration.method import STEEPEST

if TYPE_CHECKING:
    from htlnet_tf.scoring.calibration.sample import Sample


class Platt:
    """sigmoid(a logit(p) + b), two parameters by maximum likelihood.

    Where a would not be positive, predictions say nothing of the labels on these rows: b alone is fitted, with a
    warning, and the order of the predictions stays as it is. Nor is a more than 30, which would magnify rounding.

    References:
      Platt: "Probabilistic Outputs for Support Vector Machines", Advances in Large Margin Classifiers, 1999; on logits
      of probabilities: Niculescu-Mizil, Caruana: "Predicting Good Probabilities with Supervised Learning", ICML 2005.
    """

    least_rows = 100
    least_of_each = 20
    for_steps = True
    for_amounts = False

    def fit(self, sample: Sample, *, probability: bool, non_negative: bool) -> Curve:
        """See `Method.fit`."""
        from sklearn.linear_model import LogisticRegression  # a configuration is read without it

        logits = logits_of(sample.predictions)
        regression = LogisticRegression(C=1e4)  # a touch of ridge, for labels that the predictions tell apart
        regression.fit(logits[:, np.newaxis], sample.labels, sample_weight=sample.weights / sample.weights.mean())
        slope, start = float(regression.coef_[0, 0]), float(regression.intercept_[0])
        if not 0.0 < slope <= STEEPEST:
            kept = STEEPEST if slope > 0.0 else 1.0
            logging.warning("Platt: labels hardly rise with the predictions (slope %.3g); %g is kept", slope, kept)
            everyone = np.zeros(len(logits), np.int64)
            shifts = logit_shifts(kept * logits, sample.labels, sample.weights, everyone, prior_rows=0.0)
            slope, start = kept, float(shifts[0])
        return Curve.line(slope, start, of_logits=True)
