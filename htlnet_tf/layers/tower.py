"""The MLP of one target."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from htlnet_tf.layers.dropout import Dropout
from htlnet_tf.layers.input_blocks import InputBlocks
from htlnet_tf.layers.input_dense import hidden_layers
from htlnet_tf.layers.state_rows import StateRows


class Tower(tf.keras.layers.Layer):
    """A tower: hidden layers with ReLU and a linear head.

    Args:
      units: Widths of the hidden layers.
      num_outputs: 1 for a binary or continuous target (logit, standardised value), K for a multiclass one (logits).
      dropout: Share of each hidden activation that is dropped in training, in [0, 1). What later tasks see of the tower
        is the whole activation.

    Raises:
      ValueError: There is no hidden layer, or `dropout` is not in [0, 1).

    References:
      HTLNet (arXiv:2403.17442), section 3.2: the first hidden activation is what later tasks see of a tower.
    """

    def __init__(self, units: Sequence[int], num_outputs: int, *, dropout: float = 0.0, name: str) -> None:
        super().__init__(name=name)
        if not units:
            raise ValueError("a tower needs at least one hidden layer: its activation is the tower's representation")
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"dropout must be in [0, 1), received {dropout}")
        self.num_outputs = num_outputs
        self.dropout = Dropout(dropout) if dropout else None
        self.hidden = hidden_layers(units, "hidden")
        self.head = tf.keras.layers.Dense(num_outputs, name="head")

    def call(
        self,
        inputs: tf.Tensor | InputBlocks,
        training: bool = False,
        handed: Sequence[tf.Tensor] | Sequence[StateRows] = (),
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Runs the tower.

        Args:
          inputs: The shared input, float32 [B, width] or its blocks.
          training: Whether to drop.
          handed: What it reads beside it, float32 [B, f] each, or in each of S states, whose rows stand one below the
            other in what is returned.

        Returns:
          The representation, float32 [B or S * B, units[0]], and the output: float32 [B or S * B], or [B or S * B, K]
          if K > 1.
        """
        representation = self.hidden[0]([inputs, *handed])
        activation = self._dropped(representation, training)
        for layer in self.hidden[1:]:
            activation = self._dropped(layer(activation), training)
        output = self.head(activation)
        return representation, tf.squeeze(output, axis=-1) if self.num_outputs == 1 else output

    def _dropped(self, activation: tf.Tensor, training: bool) -> tf.Tensor:
        return activation if self.dropout is None else self.dropout(activation, training=training)
