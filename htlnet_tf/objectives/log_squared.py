"""Squared error of the logarithm."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from htlnet_tf.objectives.functions import HIGHEST_LABEL, HIGHEST_LOG
from htlnet_tf.objectives.label_statistics import LabelStatistics
from htlnet_tf.objectives.lazy_tensorflow import tf
from htlnet_tf.objectives.log_link import positive, positive_units
from htlnet_tf.objectives.objective import STRICT, Objective, Units


@dataclass(frozen=True, config=STRICT)
class LogSquared(Objective):
    """Squared error of the logarithm: z = y / mean, the loss (log(1 + z) - o)^2, the prediction expm1(o), at least 0.

    It ranks well. expm1(o) is near the median and not the mean, so its total is too small: the level correction, which
    this objective cannot do without, is the factor that the transformation back needs (Snowdon's ratio estimator).

    References:
      Duan: "Smearing Estimate: A Nonparametric Retransformation Method", JASA 78, 1983; Snowdon: "A ratio estimator for
      bias correction in logarithmic regressions", Canadian Journal of Forest Research 21, 1991.
    """

    name = "log_squared"
    non_negative = True
    needs_level = True
    gaussian = True

    def _units(self, statistics: LabelStatistics, *, non_negative: bool) -> Units:
        return positive_units(statistics)

    def loss(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """See `Objective.loss`."""
        # Its square has to be a float32.
        bounded = tf.clip_by_value(outputs, -HIGHEST_LABEL, HIGHEST_LABEL)
        return tf.math.squared_difference(tf.math.log1p(positive(labels)), bounded)

    def predict(self, outputs: tf.Tensor) -> tf.Tensor:
        """See `Objective.predict`."""
        return tf.math.expm1(tf.clip_by_value(outputs, 0.0, HIGHEST_LOG))

    def mixture(self, weights: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """See `Objective.mixture`."""
        return tf.math.log1p(tf.reduce_sum(weights * self.predict(outputs), axis=1))

    def given(self, logit: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """See `Objective.given`."""
        p = tf.sigmoid(logit)
        # Below 0, where 0 is predicted, with the same slope at 0: log1p(p expm1(o)) would end at log 0.
        above = tf.math.log1p(p * tf.math.expm1(tf.clip_by_value(outputs, 0.0, HIGHEST_LOG)))
        return tf.where(outputs > 0.0, above, p * outputs)
