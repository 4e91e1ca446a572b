"""Squared error."""

from __future__ import annotations

from typing import Any

from pydantic.dataclasses import dataclass

from htlnet_tf.objectives.functions import HIGHEST_LABEL, inverse_softplus, softplus_inverse
from htlnet_tf.objectives.label_statistics import LabelStatistics
from htlnet_tf.objectives.lazy_tensorflow import tf
from htlnet_tf.objectives.objective import STRICT, Objective, Units


@dataclass(frozen=True, config=STRICT)
class Squared(Objective):
    """Squared error on the standardised target: z = (y - mean) / std, the loss (z - o)^2, the prediction o.

    Where the target is not negative the prediction is softplus(o + c) and z = y / std, with c such that o = 0 predicts
    the mean: no prediction is negative then.

    References:
      HTLNet (arXiv:2403.17442), section 3.4, with the identity.
    """

    name = "squared"
    gaussian = True
    _positive = False
    _start = 0.0

    def _units(self, statistics: LabelStatistics, *, non_negative: bool) -> Units:
        return Units(0.0 if non_negative else statistics.mean, statistics.std)

    def _constants(self, statistics: LabelStatistics, *, non_negative: bool) -> dict[str, Any]:
        if not non_negative:
            return {}
        return {"_positive": True, "_start": softplus_inverse(min(max(statistics.mean, 1e-6), HIGHEST_LABEL))}

    def loss(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """See `Objective.loss`."""
        return tf.math.squared_difference(
            tf.clip_by_value(labels, -HIGHEST_LABEL, HIGHEST_LABEL), self.predict(outputs)
        )

    def predict(self, outputs: tf.Tensor) -> tf.Tensor:
        """See `Objective.predict`."""
        return tf.nn.softplus(outputs + self._start) if self._positive else outputs

    def mixture(self, weights: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """See `Objective.mixture`."""
        mean = tf.reduce_sum(weights * self.predict(outputs), axis=1)
        return inverse_softplus(mean) - self._start if self._positive else mean

    def given(self, logit: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """See `Objective.given`."""
        if self._positive:
            return inverse_softplus(tf.sigmoid(logit) * self.predict(outputs)) - self._start
        # The prediction is shift + scale * o, so (p * (shift + scale * o) - shift) / scale.
        return tf.sigmoid(logit) * outputs - tf.sigmoid(-logit) * (self.units.shift / self.units.scale)
