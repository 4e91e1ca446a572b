"""Classification by thresholds, restored to an amount."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from htlnet_tf.objectives.functions import logit, logit_of_both, mixed_logit
from htlnet_tf.objectives.label_statistics import LabelStatistics
from htlnet_tf.objectives.lazy_tensorflow import tf
from htlnet_tf.objectives.log_link import positive_units
from htlnet_tf.objectives.objective import STRICT, Objective, Units
from htlnet_tf.objectives.piecewise import exceedance_at, quantile_at, running_minimum

_ROUNDING = 1e-6  # eight units in the last place of a float32


@dataclass(frozen=True, config=STRICT)
class Ordinal(Objective):
    """Whether the amount is above each of M thresholds, and what that makes of it on average.

    The thresholds t_1 < .. < t_M divide the training rows into parts of about equally many labels; there are fewer
    where the labels take few values. Output m, counted from the training rows' share, is the logit of
    P_m = P(y > t_m). The loss is the mean over m of the cross entropies plus `monotonicity` times the mean of
    max(P_{m+1} - P_m, 0). With mu_0 .. mu_M the mean labels of the parts the prediction is
    mu_0 + sum_m P_m (mu_m - mu_{m-1}): it lies between the lowest and the highest of them.

    Args:
      num_bins: Parts, M + 1.
      monotonicity: Weight of the term that keeps P_m from rising with m.

    As a distribution, z is uniform within a part: P(z > t) is linear between the thresholds, with P_m for the least of
    P_1 .. P_m. The lowest part begins, and the highest ends, where its mean is its middle, the lowest at 0 at least; a
    lowest part of equal labels, such as 0, is a point mass.

    References:
      Sun, Zhu, Zhao, Xu et al.: "CREAD: A Classification-Restoration Framework with Error Adaptive Discretization for
      Watch Time Prediction in Video Recommender Systems", AAAI 2024, arXiv:2401.07521, section 3. There the width of a
      part stands where the difference of means stands here, and the parts are not of equally many labels.
    """

    num_bins: int = Field(default=32, ge=2, le=256)
    monotonicity: float = Field(default=1.0, ge=0.0)
    name = "ordinal"
    non_negative = True
    _bounds = np.zeros(1, np.float32)
    _means = np.zeros(2, np.float32)
    _amounts = np.zeros(3, np.float32)
    _logits = np.zeros(1, np.float32)

    @property
    def num_outputs(self) -> int:
        """M; known once the objective is fitted."""
        return len(self._bounds)

    def _units(self, statistics: LabelStatistics, *, non_negative: bool) -> Units:
        return positive_units(statistics)

    def _constants(self, statistics: LabelStatistics, *, non_negative: bool) -> dict[str, Any]:
        bounds, means, shares = statistics.parts(self.num_bins)
        if len(bounds) == 0:  # all labels are equal; a threshold that none exceeds
            bounds, means, shares = means, np.repeat(means, 2), np.array([1.0, 0.0])
        above = np.cumsum(shares[::-1])[-2::-1]
        return {
            # Labels equal to a bound are many, and what rounding makes of them in float32 must not lift them above it.
            "_bounds": (bounds + _ROUNDING * np.abs(bounds)).astype(np.float32),
            "_means": means.astype(np.float32),
            "_amounts": _ends(bounds, means).astype(np.float32),
            "_logits": np.array([logit(share) for share in above], np.float32),
        }

    def _wide(self, outputs: tf.Tensor) -> tf.Tensor:
        """The logits of P_m, [B, M]."""
        return (outputs if outputs.shape.rank == 2 else outputs[:, tf.newaxis]) + self._logits

    def loss(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """See `Objective.loss`."""
        logits = self._wide(outputs)
        above = tf.cast(labels[:, tf.newaxis] > self._bounds, logits.dtype)
        entropy = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(above, logits), axis=1)
        if self.num_outputs == 1 or self.monotonicity == 0.0:
            return entropy
        p = tf.sigmoid(logits)
        return entropy + self.monotonicity * tf.reduce_mean(tf.nn.relu(p[:, 1:] - p[:, :-1]), axis=1)

    def predict(self, outputs: tf.Tensor) -> tf.Tensor:
        """See `Objective.predict`."""
        steps = tf.constant(np.diff(self._means))
        return self._means[0] + tf.linalg.matvec(tf.sigmoid(self._wide(outputs)), steps)

    def _shares(self, outputs: tf.Tensor) -> tf.Tensor:
        """P(z > x) at `_amounts`, [B, M + 2]; not increasing."""
        above = running_minimum(tf.sigmoid(self._wide(outputs)))
        is_lump = self._amounts[0] == self._amounts[1]
        first = above[:, :1] if is_lump else tf.ones_like(above[:, :1])
        return tf.concat([first, above, tf.zeros_like(above[:, :1])], axis=1)

    def _exceedance(self, outputs: tf.Tensor, t: tf.Tensor) -> tf.Tensor:
        """See `Objective.exceedance`."""
        shares = self._shares(outputs)
        return exceedance_at(self._amounts_of(shares), shares, t)

    def _quantile(self, outputs: tf.Tensor, tails: tf.Tensor) -> tf.Tensor:
        """See `Objective.quantile`."""
        shares = self._shares(outputs)
        return quantile_at(self._amounts_of(shares), shares, tails)

    def _amounts_of(self, shares: tf.Tensor) -> tf.Tensor:
        return tf.broadcast_to(tf.constant(self._amounts)[tf.newaxis], tf.shape(shares))

    def mixture(self, weights: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """See `Objective.mixture`; it is the mixture of the distributions too."""
        if outputs.shape.rank == 2:
            return mixed_logit(weights, outputs + self._logits[0]) - self._logits[0]
        return mixed_logit(weights[:, :, tf.newaxis], outputs + self._logits) - self._logits

    def given(self, logit: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """See `Objective.given`; exact where the lowest part is that of the zeros."""
        logits = self._wide(outputs)
        both = logit_of_both(tf.broadcast_to(logit[:, tf.newaxis], tf.shape(logits)), logits) - self._logits
        return both if outputs.shape.rank == 2 else both[:, 0]


def _ends(bounds: np.ndarray, means: np.ndarray) -> np.ndarray:
    """The bounds of the parts, with where the lowest one begins and the highest one ends, float64 [M + 2].

    Args:
      bounds: t_1 .. t_M.
      means: Of the parts, [M + 1].
    """
    low, high = bounds[0], bounds[-1]
    is_lump = low - means[0] <= _ROUNDING * abs(low)
    return np.array([low if is_lump else max(2.0 * means[0] - low, 0.0), *bounds, max(2.0 * means[-1] - high, high)])
