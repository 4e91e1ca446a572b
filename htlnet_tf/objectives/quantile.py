"""Quantile regression."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator
from pydantic.dataclasses import dataclass

from htlnet_tf.objectives.functions import HIGHEST_LABEL, inverse_softplus, softplus_inverse
from htlnet_tf.objectives.label_statistics import LabelStatistics
from htlnet_tf.objectives.lazy_tensorflow import tf
from htlnet_tf.objectives.objective import STRICT, Objective, Units
from htlnet_tf.objectives.piecewise import exceedance_at, quantile_at


@dataclass(frozen=True, config=STRICT)
class Quantile(Objective):
    """Several quantiles at once, which do not cross.

    z = y / std. The lowest quantile is v_1 = o_1 + c_1, the others are reached by steps, v_k = v_{k-1} +
    softplus(o_k + c_k), with c such that outputs of 0 are the training rows' quantiles, steps of less than 0.01 widened
    to that. The loss is the mean over k of the pinball losses max(q_k (z - v_k), (q_k - 1) (z - v_k)).

    The prediction is the mean of the distribution whose quantile function is linear between the v_k and constant
    beyond them, or the median. Of a target that is not negative it is at least 0. That distribution is the one whose
    quantiles and exceedances leave the model: it has a point mass at v_1 and at v_K, and one at 0 where v_k < 0. Where
    many labels are 0 the v_k of their levels end a little above or below it, for each step is more than 0; there a
    v_k below half of the least positive of the training rows' 512-quantiles counts as 0, where no amount lies.

    Args:
      levels: q_1 < .. < q_K, in (0, 1).
      prediction: `"mean"` or `"median"`; the latter is interpolated between the levels, too.

    References:
      Koenker, Bassett: "Regression Quantiles", Econometrica 46, 1978. For the steps: Park, Maddix, Aubet, Kan,
      Gasthaus, Wang: "Learning Quantile Functions without Quantile Crossing for Distribution-free Time Series
      Forecasting", AISTATS 2022, arXiv:2111.06581.
    """

    levels: tuple[float, ...] = (0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95)
    prediction: Literal["mean", "median"] = Field(default="mean")
    name = "quantile"
    scales_distribution = False
    _positive = False
    _least = 0.0
    _starts = np.zeros(10, np.float32)

    @field_validator("levels")
    @classmethod
    def _increase(cls, levels: tuple[float, ...]) -> tuple[float, ...]:
        if len(levels) < 2 or not all(0.0 < q < 1.0 for q in levels) or list(levels) != sorted(set(levels)):
            raise ValueError(f"levels must be at least two increasing numbers between 0 and 1, received {levels}")
        return levels

    @property
    def num_outputs(self) -> int:
        """One per level."""
        return len(self.levels)

    def _units(self, statistics: LabelStatistics, *, non_negative: bool) -> Units:
        return Units(0.0, statistics.std)

    def _constants(self, statistics: LabelStatistics, *, non_negative: bool) -> dict[str, Any]:
        if statistics.quantiles:
            grid = np.arange(1, len(statistics.quantiles) + 1) / (len(statistics.quantiles) + 1)
            values = np.interp(self.levels, grid, statistics.quantiles)
        else:
            values = np.full(len(self.levels), statistics.mean)
        # Equal quantiles are a step of 0, whose softplus_inverse would be minus infinity, and whose gradient 0.
        steps = [softplus_inverse(max(step, 0.01)) for step in np.diff(values)]
        least = (
            min((q for q in statistics.quantiles if q > 0.0), default=0.0) / 2.0 if 0.0 in statistics.quantiles else 0.0
        )
        return {"_positive": non_negative, "_least": least, "_starts": np.array([values[0], *steps], np.float32)}

    def quantiles(self, outputs: tf.Tensor) -> tf.Tensor:
        """v_1 .. v_K, float32 [B, K], not decreasing along a row."""
        started = tf.clip_by_value(outputs + self._starts, -HIGHEST_LABEL, HIGHEST_LABEL)
        return tf.cumsum(tf.concat([started[:, :1], tf.nn.softplus(started[:, 1:])], axis=1), axis=1)

    def loss(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """See `Objective.loss`."""
        z = tf.clip_by_value(labels, -HIGHEST_LABEL, HIGHEST_LABEL)
        beyond = z[:, tf.newaxis] - self.quantiles(outputs)
        levels = tf.constant(self.levels, beyond.dtype)
        return tf.reduce_mean(tf.maximum(levels * beyond, (levels - 1.0) * beyond), axis=1)

    def mixture(self, weights: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Outputs whose quantiles are the weighted means of the quantiles, float32 [B, K]; see `Objective.mixture`.

        The quantiles of a target that is not negative are at least 0 before they are averaged, as they are predicted.
        """
        shape = tf.shape(outputs)
        each = tf.reshape(self.quantiles(tf.reshape(outputs, [-1, shape[2]])), shape)
        each = tf.nn.relu(each) if self._positive else each
        values = tf.reduce_sum(weights[:, :, tf.newaxis] * each, axis=1)
        steps = inverse_softplus(values[:, 1:] - values[:, :-1])
        return tf.concat([values[:, :1], steps], axis=1) - self._starts

    def predict(self, outputs: tf.Tensor) -> tf.Tensor:
        """See `Objective.predict`."""
        values = self.quantiles(outputs)
        if self._positive:
            values = tf.nn.relu(values)
        return tf.linalg.matvec(values, tf.constant(self._weights()))

    def _amounts_and_shares(self, outputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        values = self.quantiles(outputs)
        if self._positive:
            values = tf.where(values > self._least, values, 0.0)
        shares = tf.constant(1.0 - np.asarray(self.levels), tf.float32)[tf.newaxis]
        return values, tf.broadcast_to(shares, tf.shape(values))

    def _exceedance(self, outputs: tf.Tensor, t: tf.Tensor) -> tf.Tensor:
        """See `Objective.exceedance`."""
        return exceedance_at(*self._amounts_and_shares(outputs), t)

    def _quantile(self, outputs: tf.Tensor, tails: tf.Tensor) -> tf.Tensor:
        """See `Objective.quantile`."""
        return quantile_at(*self._amounts_and_shares(outputs), tails)

    def _weights(self) -> np.ndarray:
        """How the prediction is made up of the quantiles, float32 [K]; the sum is 1."""
        levels = np.asarray(self.levels)
        if self.prediction == "mean":
            middles = (levels[1:] + levels[:-1]) / 2
            return np.diff([0.0, *middles, 1.0]).astype(np.float32)
        return np.array([np.interp(0.5, levels, unit) for unit in np.eye(len(levels))], np.float32)
