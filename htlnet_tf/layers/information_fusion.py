"""Information Fusion Unit (IFU): attention over what the earlier targets hand on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import tensorflow as tf

from htlnet_tf.layers.state_rows import StateRows, alike, combined


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

    def call(self, inputs: Sequence[tf.Tensor] | Sequence[StateRows]) -> tf.Tensor | StateRows:
        """Fuses n vectors per row: n tensors float32 [B, u] -> float32 [B, width]; or in each of several states."""
        return self.attend(inputs)[0]

    def attend(
        self, inputs: Sequence[tf.Tensor] | Sequence[StateRows]
    ) -> tuple[tf.Tensor, tf.Tensor] | tuple[StateRows, StateRows]:
        """As `call`, and the attention weights, float32 [B, n]."""
        if isinstance(inputs[0], StateRows):
            return self._attend_in_states([rows.project(self.kernel) for rows in inputs])
        if len(inputs) == 1:
            value = tf.matmul(inputs[0], self.kernel)
            return value, tf.ones_like(value[:, :1])
        projected = tf.einsum("bnu,uw->bnw", tf.stack(list(inputs), axis=1), self.kernel)
        value, logits = self._value_and_logit(projected)
        weights = tf.nn.softmax(logits)
        return tf.reduce_sum(weights[:, :, tf.newaxis] * value, axis=1), weights

    def _attend_in_states(self, projected: Sequence[StateRows]) -> tuple[StateRows, StateRows]:
        if len(projected) == 1:
            return projected[0], projected[0].map(lambda value: tf.ones_like(value[..., :1]))
        # A weight's logit is that of its own vector, so that the states share it.
        values, logits = zip(*(self._value_and_logit(rows.distinct) for rows in projected), strict=True)
        of_states = [rows.of_state for rows in projected]

        def stated(tensors: Iterable[tf.Tensor]) -> list[StateRows]:
            return [StateRows(tensor, places) for tensor, places in zip(tensors, of_states, strict=True)]

        def softmax(of_each: list[tf.Tensor]) -> tf.Tensor:
            return tf.nn.softmax(tf.concat(alike(of_each), axis=-1))

        def mixed(of_each: list[tf.Tensor]) -> tf.Tensor:
            weights = tf.split(of_each[-1], len(values), axis=-1)
            return tf.add_n([weight * value for weight, value in zip(weights, of_each, strict=False)])

        weights = combined(stated(logit[..., tf.newaxis] for logit in logits), softmax)
        return combined([*stated(values), weights], mixed), weights

    def _value_and_logit(self, projected: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """v, [..., width], and <k, q> / sqrt(width), [...]."""
        value, key, query = tf.split(projected, 3, axis=-1)
        return value, tf.reduce_sum(key * query, axis=-1) / self.width**0.5
