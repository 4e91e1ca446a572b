"""A dense layer that reads the shared input, and what stands beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from htlnet_tf.layers.input_blocks import InputBlocks
from htlnet_tf.layers.state_rows import StateRows, combined


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

    def call(self, inputs: tf.Tensor | Sequence[tf.Tensor | InputBlocks | StateRows]) -> tf.Tensor:
        """Runs the layer.

        Args:
          inputs: The shared input, float32 [B, W] or its blocks; then what stands beside it, [B, f] each, or in each of
            S states. Or the shared input alone, as for `Dense`.

        Returns:
          float32 [B, units], or [S * B, units], a state's rows below another's.
        """
        parts: list[Any] = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        shared, *beside = parts
        widths = [int(part.shape[-1]) for part in parts]
        if beside and isinstance(beside[0], StateRows):
            of_shared, *kernels = tf.split(self.kernel, widths)
            products = [rows.project(kernel) for rows, kernel in zip(beside, kernels, strict=True)]
            return self._in_states(InputBlocks.of(shared).times(of_shared, of=id(self)), products)
        if not beside:
            product = InputBlocks.of(shared).times(self.kernel, of=id(self))
        else:
            of_shared, of_beside = tf.split(self.kernel, [widths[0], sum(widths[1:])])
            of_rows = tf.matmul(beside[0] if len(beside) == 1 else tf.concat(beside, axis=1), of_beside)
            product = of_rows + InputBlocks.of(shared).times(of_shared, of=id(self))
        return self.activation(tf.nn.bias_add(product, self.bias))

    def _in_states(self, product: tf.Tensor, products: Sequence[StateRows]) -> tf.Tensor:
        """Adds what differs between states, [S, B or 1, units] each, to the product with the shared input."""
        ones = [rows for rows in products if rows.shape[1] == 1]
        others = [rows for rows in products if rows.shape[1] != 1]
        bias = self.bias if not ones else self.bias + combined(ones, tf.add_n).in_states()[:, 0]
        if others:
            rows = combined(others, lambda of_each: product + tf.add_n(of_each))
        else:
            rows = StateRows(product[tf.newaxis], (0,) * len(products[0].of_state))
        if not ones:
            return self.activation(tf.nn.bias_add(tf.reshape(rows.in_states(), [-1, self.units]), bias))
        # A state's rows at a time: to add [S, 1, u] to [S, B, u] at once takes TensorFlow three times as long.
        of_states, biases = tf.unstack(rows.distinct), tf.unstack(bias)
        added = [tf.nn.bias_add(of_states[d], b) for d, b in zip(rows.of_state, biases, strict=True)]
        return self.activation(tf.concat(added, axis=0))


def hidden_layers(units: Sequence[int], name: str) -> list[tf.keras.layers.Layer]:
    """Hidden layers with ReLU, called `{name}_{i}`, of which the first reads the shared input."""
    kinds = [InputDense, *[tf.keras.layers.Dense] * len(units)]
    return [kind(width, "relu", name=f"{name}_{i}") for i, (kind, width) in enumerate(zip(kinds, units, strict=False))]
