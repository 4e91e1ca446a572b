"""Shared-Bottom: one MLP for all targets, and a tower for each on top of it."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from htlnet_tf.gradients import GramFunction
from htlnet_tf.layers.feature_encoder import FeatureEncoder
from htlnet_tf.layers.tower import Tower
from htlnet_tf.models.base import MultiTaskModel
from htlnet_tf.models.nonfinite import Policy
from htlnet_tf.schema import Schema


class SharedBottom(MultiTaskModel):
    """The Shared-Bottom baseline.

    Args:
      schema: The declared columns.
      encoder: Fitted on the training rows.
      embedding_dim: Width d of the embedding rows of features that declare none of their own.
      bottom_units: Widths of the shared layers.
      tower_units: Widths of each tower's hidden layers.
      gradient_adjustment: Gram matrix -> coefficients; None: the plain sum.
      embedding_l2: Strength l of l * ||row||^2 for each embedding row that a batch touches.
      gradient_metrics: Show norm, cosine and coefficient of every task in `fit`; costs one backward pass per task.
      on_nonfinite: `"raise"` or `"skip"`, see `MultiTaskModel`.

    Raises:
      InputError: The encoder was fitted for another schema.

    References:
      Caruana: "Multitask Learning", Machine Learning 28, 1997; a baseline of HTLNet (arXiv:2403.17442), section 4.1.
    """

    def __init__(
        self,
        schema: Schema,
        encoder: FeatureEncoder,
        *,
        embedding_dim: int = 10,
        bottom_units: Sequence[int] = (128,),
        tower_units: Sequence[int] = (64, 32),
        gradient_adjustment: GramFunction | None = None,
        embedding_l2: float = 1e-5,
        gradient_metrics: bool = False,
        on_nonfinite: Policy = "raise",
        name: str = "shared_bottom",
    ) -> None:
        super().__init__(
            schema,
            encoder,
            embedding_dim=embedding_dim,
            gradient_adjustment=gradient_adjustment,
            embedding_l2=embedding_l2,
            gradient_metrics=gradient_metrics,
            on_nonfinite=on_nonfinite,
            name=name,
        )
        self.bottom = [tf.keras.layers.Dense(n, "relu", name=f"bottom_{i}") for i, n in enumerate(bottom_units)]
        self.towers = [Tower(tower_units, t.num_outputs, name=f"{t.name}_tower") for t in self.schema.targets]
        self.create_weights()

    def task_outputs(self, views: Sequence[tf.Tensor], training: bool) -> list[tf.Tensor]:
        """The towers' outputs in target order; see `MultiTaskModel.task_outputs`."""
        shared = views[0]
        for layer in self.bottom:
            shared = layer(shared)
        return [tower(shared)[1] for tower in self.towers]
