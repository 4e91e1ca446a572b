"""Shared-Bottom: one MLP for all targets, and a tower for each on top of it."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
from typing_extensions import Unpack

from htlnet_tf.encoding.encoder import FeatureEncoder
from htlnet_tf.layers.input_dense import hidden_layers
from htlnet_tf.models.base import MultiTaskModel
from htlnet_tf.models.options import ModelOptions
from htlnet_tf.schema import Schema


class SharedBottom(MultiTaskModel):
    """The Shared-Bottom baseline.

    Args:
      schema: The declared columns.
      encoder: Fitted on the training rows.
      bottom_units: Widths of the shared layers.
      tower_units: Widths of each tower's hidden layers.
      name: Of the model.
      **options: `embedding_dim`, `gradient_adjustment`, `dropout`, `cross_layers` and all others of
        `htlnet_tf.models.ModelOptions`.

    Raises:
      InputError: The encoder was fitted for another schema.

    References:
      Caruana: "Multitask Learning", Machine Learning 28, 1997; a baseline of HTLNet (arXiv:2403.17442), section 4.1.
    """

    reads_blocks = True

    def __init__(
        self,
        schema: Schema,
        encoder: FeatureEncoder,
        *,
        bottom_units: Sequence[int] = (128,),
        tower_units: Sequence[int] = (64, 32),
        name: str = "shared_bottom",
        **options: Unpack[ModelOptions],
    ) -> None:
        super().__init__(schema, encoder, name=name, **options)
        self.bottom = hidden_layers(bottom_units, "bottom")
        self.towers = self.create_towers(tower_units)
        self.create_weights()

    def task_outputs(self, views: Sequence[tf.Tensor], training: bool) -> list[tf.Tensor]:
        """The towers' outputs in target order; see `MultiTaskModel.task_outputs`."""
        shared = views[0]
        for layer in self.bottom:
            shared = layer(shared)
        return [tower(shared, training)[1] for tower in self.towers]
