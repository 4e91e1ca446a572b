"""MMoE: shared experts, and a gate for each target that mixes them."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from htlnet_tf.gradients import GramFunction
from htlnet_tf.layers.experts import Experts
from htlnet_tf.layers.feature_encoder import FeatureEncoder
from htlnet_tf.layers.gates import Gate
from htlnet_tf.layers.tower import Tower
from htlnet_tf.models.base import MultiTaskModel
from htlnet_tf.models.nonfinite import Policy
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
      embedding_dim: Width d of the embedding rows of features that declare none of their own.
      num_experts: n.
      expert_units: Widths of an expert's layers.
      tower_units: Widths of each tower's hidden layers.
      gradient_adjustment: Gram matrix -> coefficients; None: the plain sum.
      embedding_l2: Strength l of l * ||row||^2 for each embedding row that a batch touches.
      gradient_metrics: Show norm, cosine and coefficient of every task in `fit`; costs one backward pass per task.
      on_nonfinite: `"raise"` or `"skip"`, see `MultiTaskModel`.

    Raises:
      InputError: The encoder was fitted for another schema.

    References:
      Ma, Zhao, Yi, Chen, Hong, Chi: "Modeling Task Relationships in Multi-task Learning with Multi-gate
      Mixture-of-Experts", KDD 2018, equations 5 to 7.
    """

    def __init__(
        self,
        schema: Schema,
        encoder: FeatureEncoder,
        *,
        embedding_dim: int = 10,
        num_experts: int = 8,
        expert_units: Sequence[int] = (128,),
        tower_units: Sequence[int] = (64, 32),
        gradient_adjustment: GramFunction | None = None,
        embedding_l2: float = 1e-5,
        gradient_metrics: bool = False,
        on_nonfinite: Policy = "raise",
        name: str = "mmoe",
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
        targets = self.schema.targets
        self.experts = Experts(num_experts, expert_units, name="experts")
        self.gates = [Gate(num_experts, name=f"{t.name}_gate") for t in targets]
        self.towers = [Tower(tower_units, t.num_outputs, name=f"{t.name}_tower") for t in targets]
        self.create_weights()

    def task_outputs(self, views: Sequence[tf.Tensor], training: bool) -> list[tf.Tensor]:
        """The towers' outputs in target order; see `MultiTaskModel.task_outputs`."""
        shared = views[0]
        experts = self.experts(shared)
        return [tower(gate(shared, experts))[1] for gate, tower in zip(self.gates, self.towers, strict=True)]
