"""A dense layer that reads the shared input, and what stands beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from htlnet_tf.layers.input_blocks import InputBlocks


class InputDense(tf.keras.layers.Dense):
    """As `Dense` of the concatenation of its inputs, which is never written: a product for each, and their sum.

    The weights are those of a `Dense` layer: kernel float32 [W + F, units], bias [units].
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.input_spec = None  # it is of one matrix

    def build(self, input_shape: Any) -> None:
        """Creates kernel and bias for all inputs together."""
        shapes = input_shape if isinstance(input_shape, list) else [input_shape]
        super().build([None, sum(int(shape[-1]) for shape in shapes)])
        self.input_spec = None

    def call(self, inputs: tf.Tensor | Sequence[tf.Tensor | InputBlocks], states: int = 1) -> tf.Tensor:
        """Runs the layer.

        Args:
          inputs: The shared input, float32 [B, W] or its blocks; then what stands beside it, [states * B, f] each. Or
            the shared input alone, as for `Dense`.
          states: How often the rows of the shared input stand one below the other.

        Returns:
          float32 [states * B, units].
        """
        parts: list[Any] = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        shared, *beside = parts
        widths = [int(shared.shape[-1]), sum(int(b.shape[-1]) for b in beside)]
        of_shared, of_beside = tf.split(self.kernel, widths) if beside else (self.kernel, None)
        product = InputBlocks.of(shared).times(of_shared, of=id(self))
        if beside:
            of_states = tf.matmul(beside[0] if len(beside) == 1 else tf.concat(beside, axis=1), of_beside)
            if states > 1:
                of_states = tf.reshape(of_states, [states, -1, self.units])
            product = tf.reshape(of_states + product, [-1, self.units])
        elif states > 1:
            product = tf.tile(product, [states, 1])
        return self.activation(tf.nn.bias_add(product, self.bias))


def hidden_layers(units: Sequence[int], name: str) -> list[tf.keras.layers.Layer]:
    """Hidden layers with ReLU, called `{name}_{i}`, of which the first reads the shared input."""
    kinds = [InputDense, *[tf.keras.layers.Dense] * len(units)]
    return [kind(width, "relu", name=f"{name}_{i}") for i, (kind, width) in enumerate(zip(kinds, units, strict=False))]
