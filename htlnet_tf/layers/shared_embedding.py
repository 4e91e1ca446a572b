"""The embedding table that all towers read, with per-task gradients on the rows that a batch touches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from htlnet_tf.layers.feature_encoder import PADDING_ROW


class TouchedRows(NamedTuple):
    """The part of the table that a batch reads.

    Attributes:
      ids: int32 [B, S], the rows that each impression looks up.
      unique: int32 [U], each touched row once.
      inverse: int32 [B * S], the position in `unique` of each looked-up row.
      values: float32 [U, d], the touched rows.
    """

    ids: tf.Tensor
    unique: tf.Tensor
    inverse: tf.Tensor
    values: tf.Tensor


class SharedEmbedding(tf.keras.layers.Layer):
    """One table for all categorical features; multi-valued features average their rows.

    The towers' inputs are e = concat(e_1 .. e_F), shape `[B, F * d]`.

    Args:
      num_rows: Rows of the table, `FeatureEncoder.num_rows`.
      slots: Looked-up rows per feature, `FeatureEncoder.slots`; more than one for a multi-valued feature.
      dim: Width d of a row.

    References:
      HTLNet (arXiv:2403.17442), section 3.2, shared embedding.
    """

    def __init__(self, num_rows: int, slots: Sequence[int], dim: int, *, name: str = "shared_embedding") -> None:
        super().__init__(name=name)
        self.num_rows, self.slots, self.dim = num_rows, tuple(slots), dim
        #: Whether `row_gradients` keeps to operations that XLA knows; `compile(jit_compile=True)` sets it.
        self.portable = False

    def build(self, input_shape: Any) -> None:
        """Creates the table, float32 [num_rows, d]."""
        # Small, so that a row says little before it has been trained: on KuaiRand-Pure a uniform start of +-0.05 costs
        # 0.004 of validation AUC against this one.
        self.table = self.add_weight(
            name="table", shape=[self.num_rows, self.dim], initializer=tf.keras.initializers.RandomNormal(stddev=0.003)
        )
        super().build(input_shape)

    @property
    def width(self) -> int:
        """F * d, the width of what `call` returns."""
        return len(self.slots) * self.dim

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        """Looks up and pools: int32 [B, S] -> float32 [B, F * d]."""
        return self._pool(tf.gather(self.table, ids), ids)

    def touched(self, ids: tf.Tensor) -> TouchedRows:
        """Finds and reads the rows that a batch touches, each once."""
        unique, inverse = tf.unique(tf.reshape(ids, [-1]))
        return TouchedRows(ids, unique, inverse, tf.gather(self.table, unique))

    def embed(self, touched: TouchedRows) -> tf.Tensor:
        """As `call`, from rows that have been read already: float32 [B, F * d]."""
        rows = tf.gather(touched.values, touched.inverse)
        return self._pool(tf.reshape(rows, [-1, sum(self.slots), self.dim]), touched.ids)

    def row_gradients(self, touched: TouchedRows, gradients: Sequence[tf.Tensor]) -> tf.Tensor:
        """Carries gradients at the output back to the touched rows, summed over equal ids.

        Args:
          touched: What `embed` was called with.
          gradients: Per task, float32 [B, F * d], the gradient of its loss at the output.

        Returns:
          float32 [T, U * d]: per task, the gradient of its loss at the touched rows, flattened.
        """
        sums = self._segment_sums if self.portable else self._sparse_products
        return tf.stack([tf.reshape(rows, [-1]) for rows in sums(touched, gradients)])

    @staticmethod
    def gram(gradients: tf.Tensor) -> tf.Tensor:
        """M[i, j] = <G_i, G_j> over all touched rows: float32 [T, U * d] -> [T, T]."""
        return tf.matmul(gradients, gradients, transpose_b=True)

    def combine(self, gradients: tf.Tensor, coefficients: tf.Tensor) -> tf.Tensor:
        """sum_t c_t G_t: float32 [T, U * d] and [T] -> [U, d]."""
        return tf.reshape(tf.matmul(coefficients[tf.newaxis], gradients), [-1, self.dim])

    def _sparse_products(self, touched: TouchedRows, gradients: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """The transpose of `_pool` after the look-up, as a product with a sparse matrix [U, B * F].

        Its entry at (touched row, looked-up feature) is the row's weight in the feature's mean. On CPUs this is up to
        four times as fast as `unsorted_segment_sum`.
        """
        outputs = tf.size(touched.ids) // sum(self.slots) * len(self.slots)
        if max(self.slots) == 1:
            columns, values = tf.range(outputs), tf.ones([outputs])
        else:
            feature_of_slot = tf.repeat(tf.range(len(self.slots)), self.slots)
            starts = tf.range(0, outputs, len(self.slots))
            columns = tf.reshape(starts[:, tf.newaxis] + feature_of_slot, [-1])
            values = tf.reshape(self._weights(touched.ids), [-1])
        shape = tf.cast(tf.stack([tf.size(touched.unique), outputs]), tf.int64)
        indices = tf.stack([touched.inverse, columns], axis=1)
        return [
            tf.raw_ops.SparseTensorDenseMatMul(
                a_indices=indices, a_values=values, a_shape=shape, b=tf.reshape(gradient, [-1, self.dim])
            )
            for gradient in gradients
        ]

    def _segment_sums(self, touched: TouchedRows, gradients: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """The same in operations that XLA knows."""
        sums = []
        for gradient in gradients:
            rows = tf.reshape(gradient, [-1, len(self.slots), self.dim])
            if max(self.slots) > 1:
                rows = tf.repeat(rows, self.slots, axis=1) * self._weights(touched.ids)[:, :, tf.newaxis]
            rows = tf.reshape(rows, [-1, self.dim])
            sums.append(tf.math.unsorted_segment_sum(rows, touched.inverse, tf.size(touched.unique)))
        return sums

    def _pool(self, rows: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """The mean of the slots of each feature: [B, S, d] -> [B, F * d]."""
        if max(self.slots) == 1:
            return tf.reshape(rows, [-1, self.width])
        parts = tf.split(rows * self._weights(ids)[:, :, tf.newaxis], self.slots, axis=1)
        pooled = [
            part if slots == 1 else tf.reduce_sum(part, axis=1, keepdims=True)
            for part, slots in zip(parts, self.slots, strict=True)
        ]
        return tf.reshape(tf.concat(pooled, axis=1), [-1, self.width])

    def _weights(self, ids: tf.Tensor) -> tf.Tensor:
        """Each slot's weight in its feature's mean, float32 [B, S]: 1 / used slots, 0 at the padding."""
        weights = []
        for part, slots in zip(tf.split(ids, self.slots, axis=1), self.slots, strict=True):
            if slots == 1:
                weights.append(tf.ones_like(part, tf.float32))
                continue
            used = tf.cast(tf.not_equal(part, PADDING_ROW), tf.float32)
            weights.append(used / tf.maximum(tf.reduce_sum(used, axis=1, keepdims=True), 1.0))
        return tf.concat(weights, axis=1)
