"""MMoE: shared experts, and a gate for each target that mixes them."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
from typing_extensions import Unpack

from htlnet_tf.encoding.encoder import FeatureEncoder
from htlnet_tf.layers.experts import Experts
from htlnet_tf.layers.gates import Gate
from htlnet_tf.models.base import ModelOptions, MultiTaskModel
from htlnet_tf.schema import Schema


class MMoE(MultiTaskModel):
    """The Multi-gate Mixture-of-Experts baseline.

    Target t reads f^t(x) = sum_i g^t(x)_i f_i(x), with n experts f_i that all targets share and its own gate
    g^t(x) = softmax(x W_t), and its tower makes the output y_t = h^t(f^t(x)).

    The number of experts is the paper's. Its widths are tuned per data set; here a path from the shared input to a
    target is as wide and deep as in the package's other models, 128, 64, 32.

    Args:
      schema: The declared columns.
      encoder: Fitted on the training rows.
      num_experts: n.
      expert_units: Widths of an expert's layers.
      tower_units: Widths of each tower's hidden layers.
      name: Of the model.
      **options: `embedding_dim`, `gradient_adjustment`, `dropout`, `cross_layers` and all others of
        `htlnet_tf.models.ModelOptions`.

    Raises:
      InputError: The encoder was fitted for another schema.

    References:
      Ma, Zhao, Yi, Chen, Hong, Chi: "Modeling Task Relationships in Multi-task Learning with Multi-gate
      Mixture-of-Experts", KDD 2018, section 4.2, equations 6 to 8.
    """

    def __init__(
        self,
        schema: Schema,
        encoder: FeatureEncoder,
        *,
        num_experts: int = 8,
        expert_units: Sequence[int] = (128,),
        tower_units: Sequence[int] = (64, 32),
        name: str = "mmoe",
        **options: Unpack[ModelOptions],
    ) -> None:
        super().__init__(schema, encoder, name=name, **options)
        targets = self.schema.targets
        self.experts = Experts(num_experts, expert_units, name="experts")
        self.gates = [Gate(num_experts, name=f"{t.name}_gate") for t in targets]
        self.towers = self.create_towers(tower_units)
        self.create_weights()

    def task_outputs(self, views: Sequence[tf.Tensor], training: bool) -> list[tf.Tensor]:
        """The towers' outputs in target order; see `MultiTaskModel.task_outputs`."""
        shared = views[0]
        experts = self.experts(shared)
        gated = zip(self.gates, self.towers, strict=True)
        return [tower(gate(shared, experts), training)[1] for gate, tower in gated]
