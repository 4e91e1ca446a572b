"""PLE: levels of shared experts and of experts of each target."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
from typing_extensions import Unpack

from htlnet_tf.encoding.encoder import FeatureEncoder
from htlnet_tf.layers.customized_gate_control import CustomizedGateControl
from htlnet_tf.models.base import ModelOptions, MultiTaskModel
from htlnet_tf.schema import Schema


class PLE(MultiTaskModel):
    """The Progressive Layered Extraction baseline.

    Levels of Customized Gate Control are stacked: each has experts of every target and shared ones; a target's gate
    mixes its own experts with the shared ones and hands the result to the target's experts one level up, and a shared
    gate mixes all of them for the shared experts one level up. In the last level (and so in a model of one level, which
    is CGC) a target's experts learn from its own loss alone; in a level below, the shared gate lets other losses in.

    The paper's schedule of loss weights (section 4.3) is left out. It tunes the numbers of experts, which are layers of
    one width. By default there are as many per level as
    MMoE has for three targets, 8; a path from the shared input to a target is 128, 64, 32 wide, as in the package's
    other models.

    Args:
      schema: The declared columns.
      encoder: Fitted on the training rows.
      level_units: Width of the experts of each level; there are as many levels as widths.
      task_experts: Experts per target and level.
      shared_experts: Shared experts per level.
      tower_units: Widths of each tower's hidden layers.
      name: Of the model.
      **options: `embedding_dim`, `gradient_adjustment`, `dropout`, `cross_layers` and all others of
        `htlnet_tf.models.ModelOptions`.

    Raises:
      InputError: The encoder was fitted for another schema.

    References:
      Tang, Liu, Zhao, Gong: "Progressive Layered Extraction (PLE): A Novel Multi-Task Learning (MTL) Model for
      Personalized Recommendations", RecSys 2020, sections 4.1 and 4.2, equations 2 to 7.
    """

    def __init__(
        self,
        schema: Schema,
        encoder: FeatureEncoder,
        *,
        level_units: Sequence[int] = (128, 64),
        task_experts: int = 2,
        shared_experts: int = 2,
        tower_units: Sequence[int] = (32,),
        name: str = "ple",
        **options: Unpack[ModelOptions],
    ) -> None:
        super().__init__(schema, encoder, name=name, **options)
        targets = self.schema.targets
        self.levels = [
            CustomizedGateControl(
                len(targets),
                task_experts,
                shared_experts,
                (width,),
                shared_gate=i < len(level_units) - 1,
                name=f"level_{i}",
            )
            for i, width in enumerate(level_units)
        ]
        self.towers = self.create_towers(tower_units)
        self.create_weights()

    def task_outputs(self, views: Sequence[tf.Tensor], training: bool) -> list[tf.Tensor]:
        """The towers' outputs in target order; see `MultiTaskModel.task_outputs`."""
        hidden = [*views, views[0]]  # x_1 .. x_T, x_s
        for level in self.levels:
            hidden = level(hidden)
        return [tower(x, training)[1] for tower, x in zip(self.towers, hidden[: len(self.towers)], strict=True)]
