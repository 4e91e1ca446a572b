"""What objectives whose prediction is exp(o) have in common."""

from __future__ import annotations

from htlnet_tf.objectives.functions import HIGHEST_LABEL, log_weights, predicted_exp
from htlnet_tf.objectives.label_statistics import LabelStatistics
from htlnet_tf.objectives.lazy_tensorflow import tf
from htlnet_tf.objectives.objective import Objective, Units


class LogLink(Objective):
    """An objective of one output o for an amount that is not negative: z = y / mean, E[z] = exp(o).

    At o = 0, where training starts, the mean of the training rows is predicted.
    """

    non_negative = True

    def _units(self, statistics: LabelStatistics, *, non_negative: bool) -> Units:
        return positive_units(statistics)

    def predict(self, outputs: tf.Tensor) -> tf.Tensor:
        """See `Objective.predict`; at most 1e15 means."""
        return predicted_exp(outputs)

    def mixture(self, weights: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """See `Objective.mixture`."""
        return tf.reduce_logsumexp(log_weights(weights) + outputs, axis=1)

    def given(self, logit: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """See `Objective.given`."""
        return outputs + tf.math.log_sigmoid(logit)


def positive_units(statistics: LabelStatistics) -> Units:
    """Labels as multiples of their mean; as they are if all are 0."""
    return Units(0.0, statistics.mean if statistics.mean > 0.0 else 1.0)


def positive(labels: tf.Tensor) -> tf.Tensor:
    """Labels within what the losses are finite for, float32 [B]."""
    return tf.clip_by_value(labels, 0.0, HIGHEST_LABEL)
