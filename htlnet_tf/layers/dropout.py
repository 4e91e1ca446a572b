"""Dropout whose draws a checkpoint need not keep."""

from __future__ import annotations

import tensorflow as tf

from htlnet_tf import noise


class Dropout(tf.keras.layers.Layer):
    """Keras' dropout, drawn anew from the seed and the number of each training step, see `htlnet_tf.noise`.

    Args:
      rate: Share of the inputs that is dropped in training, in [0, 1).
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Drops in training, and enlarges what is left, so that the mean stays.

        Args:
          inputs: float32 [B, width].
          training: Whether to drop.
        """
        if not training:
            return inputs
        kept = noise.uniform(tf.shape(inputs)) >= self.rate
        return tf.where(kept, inputs / (1.0 - self.rate), 0.0)
