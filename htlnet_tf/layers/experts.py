"""A group of experts: MLPs of one shape, evaluated at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


class Experts(tf.keras.layers.Layer):
    """n MLPs that read the same input, each with weights of its own.

    Expert i computes f_i(x) = ReLU(.. ReLU(x W_i1 + b_i1) .. W_il + b_il).

    Args:
      num_experts: n.
      units: Widths of an expert's layers; the last one, u, is that of its output.

    Raises:
      ValueError: There is no expert, or an expert has no layer.

    Example:
      >>> Experts(8, (128,), name="experts")(tf.zeros([32, 440])).shape
      TensorShape([32, 8, 128])
    """

    def __init__(self, num_experts: int, units: Sequence[int], *, name: str) -> None:
        super().__init__(name=name)
        if num_experts < 1 or not units:
            raise ValueError(f"at least one expert of one layer is needed, received {num_experts} of {tuple(units)}")
        self.num_experts, self.units = num_experts, tuple(units)

    def build(self, input_shape: Any) -> None:
        """Creates per layer W, float32 [n, in, out], and b, float32 [n, out]."""
        self.kernels, self.biases = [], []
        depth = int(input_shape[-1])
        for i, width in enumerate(self.units):
            shape = [self.num_experts, depth, width]
            self.kernels.append(self.add_weight(name=f"kernel_{i}", shape=shape, initializer=_glorot_of_each))
            self.biases.append(self.add_weight(name=f"bias_{i}", shape=[self.num_experts, width], initializer="zeros"))
            depth = width
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Runs every expert: float32 [B, in] -> [B, n, u]."""
        hidden = tf.nn.relu(tf.einsum("bi,nio->bno", inputs, self.kernels[0]) + self.biases[0])
        for kernel, bias in zip(self.kernels[1:], self.biases[1:], strict=True):
            hidden = tf.nn.relu(tf.einsum("bni,nio->bno", hidden, kernel) + bias)
        return hidden


def _glorot_of_each(shape: Any, dtype: Any = None, **_: Any) -> tf.Tensor:
    """Glorot's scale is that of one expert's matrix; an initializer per expert, or all would be drawn alike."""
    return tf.stack([tf.keras.initializers.GlorotUniform()(shape[1:], dtype) for _ in range(shape[0])])
