"""The embedding rows that all towers read, with per-task gradients on the rows that a batch touches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from htlnet_tf.distribution import num_replicas, rows_over_replicas
from htlnet_tf.layers.pooling import FieldPooling
from htlnet_tf.schema.features import Pooling
from htlnet_tf.sharding import by_shard, look_up, makes_a_table, shards_of


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
    """One table for all embedded fields of an impression; the rows of a multi-valued field are pooled.

    The towers' inputs are e = concat(e_1 .. e_F), shape `[B, F * d]`. Row 0 of the table is padding.

    Args:
      num_rows: Rows of the table.
      slots: Looked-up rows per field; more than one for a multi-valued field.
      dim: Width d of a row.
      pooling: Per field `"mean"`, `"sum"` or `"max"` of the used slots. None: the mean for all.

    References:
      HTLNet (arXiv:2403.17442), section 3.2, shared embedding.
    """

    def __init__(
        self,
        num_rows: int,
        slots: Sequence[int],
        dim: int,
        *,
        pooling: Sequence[Pooling] | None = None,
        name: str = "shared_embedding",
    ) -> None:
        super().__init__(name=name)
        self.num_rows, self.slots, self.dim = num_rows, tuple(slots), dim
        self._pooling = FieldPooling(self.slots, pooling or ["mean"] * len(self.slots))
        #: Whether `row_gradients` keeps to operations that XLA knows; `compile(jit_compile=True)` sets it.
        self.portable = False

    def build(self, input_shape: Any) -> None:
        """Creates the table, float32 [num_rows, d]."""
        # Small, so that a row says little before it has been trained: on KuaiRand-Pure a uniform start of +-0.05 costs
        # 0.004 of validation AUC against this one.
        start_values = tf.keras.initializers.RandomNormal(stddev=0.003)
        with makes_a_table():
            self.table = self.add_weight(name="table", shape=[self.num_rows, self.dim], initializer=start_values)
        super().build(input_shape)

    @property
    def width(self) -> int:
        """F * d, the width of what `call` returns."""
        return len(self.slots) * self.dim

    @property
    def tables(self) -> tuple[tf.Variable, ...]:
        """The shared parameters: the one table, or its shards where parameter servers have parts of it."""
        return shards_of(self.table)

    @property
    def trained_tables(self) -> tuple[tf.Variable, ...]:
        """Those of `tables` that are trained: none if the layer is frozen, `trainable = False`."""
        return self.tables if self.trainable else ()

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        """Looks up and pools: int32 [B, S] -> float32 [B, F * d]."""
        return tf.reshape(self._pooling.pool(look_up(self.table, ids), ids), [-1, self.width])

    def touched(self, ids: tf.Tensor) -> TouchedRows:
        """Finds and reads the rows that a batch touches, each once."""
        unique, inverse = tf.unique(tf.reshape(ids, [-1]))
        return TouchedRows(ids, unique, inverse, look_up(self.table, unique))

    def embed(self, touched: TouchedRows) -> tf.Tensor:
        """As `call`, from rows that have been read already: float32 [B, F * d]."""
        return tf.reshape(self._pooling.pool(self._looked_up(touched), touched.ids), [-1, self.width])

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

    def over_replicas(self, touched: TouchedRows, gradients: tf.Tensor) -> tuple[TouchedRows, tf.Tensor]:
        """Sums rows and their gradients over the replicas of a step: what `gram` and `combine` take.

        Args:
          touched: What `embed` was called with.
          gradients: What `row_gradients` returned, float32 [T, U * d].

        Returns:
          The rows that any replica touches, of which `unique` and `values` are known, and float32 [T, V * d]; without
          further replicas what was given.
        """
        if num_replicas() == 1:
            return touched, gradients
        tasks = gradients.shape[0]
        by_row = tf.transpose(tf.reshape(gradients, [tasks, -1, self.dim]), [1, 0, 2])
        unique, summed = rows_over_replicas(touched.unique, tf.reshape(by_row, [-1, tasks * self.dim]))
        by_task = tf.transpose(tf.reshape(summed, [-1, tasks, self.dim]), [1, 0, 2])
        everywhere = touched._replace(unique=unique, values=look_up(self.table, unique))
        return everywhere, tf.reshape(by_task, [tasks, -1])

    @staticmethod
    def gram(gradients: tf.Tensor) -> tf.Tensor:
        """M[i, j] = <G_i, G_j> over all touched rows: float32 [T, U * d] -> [T, T]."""
        return tf.matmul(gradients, gradients, transpose_b=True)

    def combine(
        self, touched: TouchedRows, gradients: tf.Tensor, coefficients: tf.Tensor | None, *, l2: float = 0.0
    ) -> list[tf.IndexedSlices]:
        """sum_t c_t G_t, and the gradient of l * ||row||^2 for each touched row.

        Args:
          touched: What `embed` was called with.
          gradients: What `row_gradients` returned, float32 [T, U * d].
          coefficients: float32 [T]. None: `gradients` are those of one loss, [1, U * d], which is taken as it is.
          l2: The strength l.

        Returns:
          The gradients of `tables`, in their order; the indices of each are distinct.
        """
        combined = gradients if coefficients is None else tf.matmul(coefficients[tf.newaxis], gradients)
        combined = tf.reshape(combined, [-1, self.dim])
        if l2:
            combined += (2.0 * l2) * touched.values
        shape = tf.constant([self.num_rows, self.dim])
        return by_shard(self.table, tf.IndexedSlices(combined, touched.unique, dense_shape=shape))

    def _looked_up(self, touched: TouchedRows) -> tf.Tensor:
        """float32 [B, S, d]."""
        return tf.reshape(tf.gather(touched.values, touched.inverse), [-1, sum(self.slots), self.dim])

    def _weights(self, touched: TouchedRows) -> list[tf.Tensor]:
        return self._pooling.weights(self._looked_up(touched) if self._pooling.has_max else None, touched.ids)

    def _sparse_products(self, touched: TouchedRows, gradients: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """The transpose of pooling after look-up, as a product with a sparse matrix [U, outputs].

        Its entry at (touched row, pooled field) is the row's weight in the pooled one; a maximum, whose weights differ
        by component, has a column per slot instead. On CPUs this is up to four times as fast as `unsorted_segment_sum`.
        """
        outputs = tf.size(touched.ids) // sum(self.slots) * self._pooling.num_expanded
        weights = [] if self._pooling.is_identity else self._weights(touched)
        if self._pooling.is_identity:
            columns, values = tf.range(outputs), tf.ones([outputs])
        else:
            starts = tf.range(0, outputs, self._pooling.num_expanded)
            columns = tf.reshape(starts[:, tf.newaxis] + self._pooling.expanded_of_slot, [-1])
            values = tf.reshape(self._pooling.scalar_weights(weights), [-1])
        shape = tf.cast(tf.stack([tf.size(touched.unique), outputs]), tf.int64)
        indices = tf.stack([touched.inverse, columns], axis=1)
        sums = []
        for gradient in gradients:
            if self._pooling.has_max:
                gradient = self._pooling.expand(self._by_field(gradient), weights)  # noqa: PLW2901
            dense = tf.reshape(gradient, [-1, self.dim])
            sums.append(tf.raw_ops.SparseTensorDenseMatMul(a_indices=indices, a_values=values, a_shape=shape, b=dense))
        return sums

    def _segment_sums(self, touched: TouchedRows, gradients: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """The same in operations that XLA knows."""
        weights = [] if self._pooling.is_identity else self._weights(touched)
        sums = []
        for gradient in gradients:
            rows = self._by_field(gradient)
            if weights:
                rows = self._pooling.transpose(rows, weights)
            rows = tf.reshape(rows, [-1, self.dim])
            sums.append(tf.math.unsorted_segment_sum(rows, touched.inverse, tf.size(touched.unique)))
        return sums

    def _by_field(self, gradient: tf.Tensor) -> tf.Tensor:
        return tf.reshape(gradient, [-1, len(self.slots), self.dim])
