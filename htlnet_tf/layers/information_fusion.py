"""Information Fusion Unit (IFU): attention over what the earlier targets hand on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


class InformationFusion(tf.keras.layers.Layer):
    """Fuses the vectors u_1 .. u_n of the earlier targets into one.

    v_i = W_v u_i, k_i = W_k u_i, q_i = W_q u_i, a_i = softmax_i(<k_i, q_i> / sqrt(width)), result sum_i a_i v_i. With
    one input its weight is 1, so k and q are not computed (nor do W_k and W_q exist).

    Args:
      width: Width of v, k, q and of the result.

    References:
      HTLNet (arXiv:2403.17442), section 3.4; the attention is that of AITM's (KDD 2021) Adaptive Information Transfer
      module.
    """

    def __init__(self, width: int = 64, *, name: str) -> None:
        super().__init__(name=name)
        self.width = width

    def build(self, input_shape: Any) -> None:
        """Creates W_v, W_k and W_q as one matrix, float32 [u, 3 * width] (or [u, width] for one input)."""
        projections = 3 if len(input_shape) > 1 else 1
        # Glorot's scale is that of one projection, so the columns are drawn in `projections` blocks, each by an
        # initializer of its own: one instance would draw the same block again.
        depth = int(input_shape[0][-1])

        def blocks(shape: Any, dtype: Any = None, **_: Any) -> tf.Tensor:
            glorots = [tf.keras.initializers.GlorotUniform() for _ in range(projections)]
            return tf.concat([glorot([depth, self.width], dtype) for glorot in glorots], axis=1)

        self.kernel = self.add_weight(name="kernel", shape=[depth, projections * self.width], initializer=blocks)
        super().build(input_shape)

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        """Fuses n vectors per row: n tensors float32 [B, u] -> float32 [B, width]."""
        return self.attend(inputs)[0]

    def attend(self, inputs: Sequence[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """As `call`, and the attention weights, float32 [B, n]."""
        if len(inputs) == 1:
            value = tf.matmul(inputs[0], self.kernel)
            return value, tf.ones_like(value[:, :1])
        projected = tf.einsum("bnu,uw->bnw", tf.stack(list(inputs), axis=1), self.kernel)
        value, key, query = tf.split(projected, 3, axis=-1)
        weights = tf.nn.softmax(tf.reduce_sum(key * query, axis=-1) / self.width**0.5)
        return tf.reduce_sum(weights[:, :, tf.newaxis] * value, axis=1), weights
