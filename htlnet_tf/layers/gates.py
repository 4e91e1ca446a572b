"""A gate: how much of each expert a task takes, row by row."""

from __future__ import annotations

import tensorflow as tf


class Gate(tf.keras.layers.Layer):
    """Mixes n experts by weights that depend on the row: g(x) = softmax(x W), result sum_i g(x)_i f_i.

    Args:
      num_experts: n.

    References:
      Ma et al.: "Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts", KDD 2018,
      equations 7 and 8. PLE (RecSys 2020), equations 2 and 3, and AdaTT (KDD 2023), equations 9 and 10, use the same
      gate.
    """

    def __init__(self, num_experts: int, *, name: str) -> None:
        super().__init__(name=name)
        self.num_experts = num_experts
        self.logits = tf.keras.layers.Dense(num_experts, use_bias=False, name="logits")

    def call(self, inputs: tf.Tensor, experts: tf.Tensor) -> tf.Tensor:
        """Mixes the experts.

        Args:
          inputs: What decides, x, float32 [B, in].
          experts: The experts' outputs, float32 [B, n, u].

        Returns:
          float32 [B, u].
        """
        return tf.reduce_sum(self.weights_of(inputs)[:, :, tf.newaxis] * experts, axis=1)

    def weights_of(self, inputs: tf.Tensor) -> tf.Tensor:
        """g(x), float32 [B, n], each row of which sums to 1."""
        return tf.nn.softmax(self.logits(inputs))
