"""The MLP of one target."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


class Tower(tf.keras.layers.Layer):
    """A tower: hidden layers with ReLU and a linear head.

    Args:
      units: Widths of the hidden layers.
      num_outputs: 1 for a binary or continuous target (logit, standardised value), K for a multiclass one (logits).

    References:
      HTLNet (arXiv:2403.17442), section 3.2: the first hidden activation is what later tasks see of a tower.
    """

    def __init__(self, units: Sequence[int], num_outputs: int, *, name: str) -> None:
        super().__init__(name=name)
        if not units:
            raise ValueError("a tower needs at least one hidden layer: its activation is the tower's representation")
        self.num_outputs = num_outputs
        self.hidden = [tf.keras.layers.Dense(width, "relu", name=f"hidden_{i}") for i, width in enumerate(units)]
        self.head = tf.keras.layers.Dense(num_outputs, name="head")

    def call(self, inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Runs the tower.

        Args:
          inputs: float32 [B, width].

        Returns:
          The representation, float32 [B, units[0]], and the output: float32 [B], or [B, K] if K > 1.
        """
        representation = self.hidden[0](inputs)
        activation = representation
        for layer in self.hidden[1:]:
            activation = layer(activation)
        output = self.head(activation)
        return representation, tf.squeeze(output, axis=-1) if self.num_outputs == 1 else output
