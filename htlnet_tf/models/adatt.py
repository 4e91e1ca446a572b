"""AdaTT: experts of each target, fused across targets, with a residual of its own."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
from typing_extensions import Unpack

from htlnet_tf.encoding.encoder import FeatureEncoder
from htlnet_tf.layers.task_fusion import TaskFusion
from htlnet_tf.models.base import ModelOptions, MultiTaskModel
from htlnet_tf.schema import Schema


class AdaTT(MultiTaskModel):
    """The AdaTT-sp baseline (experts of the targets alone, no shared ones).

    Levels are stacked. In each, target t has experts E_t, which read what the level below made for t, and
    y_t = g_t(x_t) [E_1 .. E_T] + v_t E_t: a gate over the experts of all targets, and a residual of its native ones.

    One expert per target and level is the default of the authors' code. A path from the shared input to a target is
    128, 64, 32 wide, as in the package's other models.

    Args:
      schema: The declared columns.
      encoder: Fitted on the training rows.
      level_units: Width of the experts of each level; there are as many levels as widths.
      num_experts: Experts per target and level.
      tower_units: Widths of each tower's hidden layers.
      name: Of the model.
      **options: `embedding_dim`, `gradient_adjustment`, `dropout`, `cross_layers` and all others of
        `htlnet_tf.models.ModelOptions`.

    Raises:
      InputError: The encoder was fitted for another schema.

    References:
      Li, Zhang, Zhang et al.: "AdaTT: Adaptive Task-to-Task Fusion Network for Multitask Learning in Recommendations",
      KDD 2023, section 3.1, equations 1 to 10.
    """

    def __init__(
        self,
        schema: Schema,
        encoder: FeatureEncoder,
        *,
        level_units: Sequence[int] = (128, 64),
        num_experts: int = 1,
        tower_units: Sequence[int] = (32,),
        name: str = "adatt",
        **options: Unpack[ModelOptions],
    ) -> None:
        super().__init__(schema, encoder, name=name, **options)
        targets = self.schema.targets
        self.levels = [
            TaskFusion(len(targets), num_experts, (width,), name=f"level_{i}") for i, width in enumerate(level_units)
        ]
        self.towers = self.create_towers(tower_units)
        self.create_weights()

    def task_outputs(self, views: Sequence[tf.Tensor], training: bool) -> list[tf.Tensor]:
        """The towers' outputs in target order; see `MultiTaskModel.task_outputs`."""
        hidden = list(views)
        for level in self.levels:
            hidden = level(hidden)
        return [tower(x, training)[1] for tower, x in zip(self.towers, hidden, strict=True)]
