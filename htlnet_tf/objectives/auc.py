"""The area under the ROC curve, streaming."""

from __future__ import annotations

import tensorflow as tf

from htlnet_tf.objectives.sums import Vector


class AUC(Vector):
    """A streaming AUC from probabilities, by buckets of equal width in the logit from -16 to 16.

    Buckets of the probability, as in Keras' AUC, put nearly all rows of a rare event into one. Pairs of a bucket count
    half, as ties do: it is the area under the curve through the buckets' points. Undefined (NaN) as long as the rows
    seen are of one class.
    """

    _BUCKETS = 1000
    _RANGE = 16.0

    def __init__(self, name: str = "auc") -> None:
        super().__init__(2 * self._BUCKETS, name)  # the negatives by bucket, and then the positives

    def update_state(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None) -> None:
        """Adds rows: labels 0 or 1 and probabilities of shape [B], weights [B] or None."""
        logit = tf.math.log(y_pred) - tf.math.log1p(-y_pred)  # infinite at 0 and 1, which is clipped
        position = (logit + self._RANGE) * (self._BUCKETS / (2.0 * self._RANGE))
        bucket = tf.cast(tf.clip_by_value(position, 0.0, self._BUCKETS - 1.0), tf.int32)
        cell = bucket + self._BUCKETS * tf.cast(y_true, tf.int32)
        rows = tf.ones_like(y_pred, tf.float64) if sample_weight is None else tf.cast(sample_weight, tf.float64)
        self._vector.assign_add(tf.math.unsorted_segment_sum(rows, cell, 2 * self._BUCKETS))

    def result(self) -> tf.Tensor:
        """The metric, a float64 scalar."""
        negatives, positives = tf.unstack(tf.reshape(tf.convert_to_tensor(self._vector), [2, self._BUCKETS]))
        below = tf.cumsum(negatives, exclusive=True)
        ordered = tf.reduce_sum(positives * (below + 0.5 * negatives))
        return ordered / (tf.reduce_sum(positives) * tf.reduce_sum(negatives))  # 0 / 0 is NaN
