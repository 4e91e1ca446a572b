"""AITM: each target's tower learns by attention what to take over from the target before it."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import tensorflow as tf
import tensorflow_recommenders as tfrs

from htlnet_tf.gradients import GramFunction
from htlnet_tf.layers.feature_encoder import FeatureEncoder
from htlnet_tf.layers.information_fusion import InformationFusion
from htlnet_tf.losses import RowLosses
from htlnet_tf.models.base import MultiTaskModel, Weights
from htlnet_tf.models.nonfinite import Policy
from htlnet_tf.schema import Binary, Schema


class AITM(MultiTaskModel):
    """The Adaptive Information Transfer Multi-task baseline.

    q_t = tower_t(x) is the last hidden activation of tower t, of width k. Target t > 1 takes over p_{t-1} = g(z_{t-1}),
    a layer with ReLU, by attention over the two: with u in {p_{t-1}, q_t}, v_u = W_v u, k_u = W_k u, q_u = W_q u,
    z_t = sum_u a_u v_u, a = softmax_u(<k_u, q_u> / sqrt(k)); z_1 = q_1. A linear head on z_t makes the output.

    The behavioural expectation calibrator adds `calibrator` * mean(max(p_t - p_s, 0)) to the loss of a binary target t
    with the binary target s next before it: a step should not be likelier than the one it follows. It trains both, is
    counted with the loss of t in the gradient adjustment, and does not show in the losses of `fit`, which stay
    comparable with other models'. A target with `observed_if` has no such order and takes no part; nor has a multiclass
    or the core target. Set it to 0 where the steps do not imply one another (a long view without a click).

    Widths, k = 32 and the calibrator's weight 0.6 are those of the authors' code; its dropout and batch normalisation,
    which no other model here has, are left out.

    Args:
      schema: The declared columns.
      encoder: Fitted on the training rows.
      embedding_dim: Width d of the embedding rows of features that declare none of their own.
      tower_units: Widths of each tower's hidden layers; the last one is k.
      calibrator: Weight of the calibrator's loss, alpha in the paper; 0: none.
      gradient_adjustment: Gram matrix -> coefficients; None: the plain sum.
      embedding_l2: Strength l of l * ||row||^2 for each embedding row that a batch touches.
      gradient_metrics: Show norm, cosine and coefficient of every task in `fit`; costs one backward pass per task.
      on_nonfinite: `"raise"` or `"skip"`, see `MultiTaskModel`.

    Raises:
      InputError: The encoder was fitted for another schema.
      ValueError: The calibrator's weight is negative, or a tower has no hidden layer.

    References:
      Xi, Chen, Yan, Zhang, Zhu, Zhuang, Chen: "Modeling the Sequential Dependence among Audience Multi-step Conversions
      with Multi-task Learning in Targeted Display Advertising", KDD 2021, arXiv:2105.08489, section 3.
    """

    def __init__(
        self,
        schema: Schema,
        encoder: FeatureEncoder,
        *,
        embedding_dim: int = 10,
        tower_units: Sequence[int] = (128, 64, 32),
        calibrator: float = 0.6,
        gradient_adjustment: GramFunction | None = None,
        embedding_l2: float = 1e-5,
        gradient_metrics: bool = False,
        on_nonfinite: Policy = "raise",
        name: str = "aitm",
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
        if calibrator < 0 or not tower_units:
            received = f"received {calibrator} and {tuple(tower_units)}"
            raise ValueError(f"calibrator must not be negative and a tower needs a hidden layer, {received}")
        self.calibrator = calibrator
        targets, width = self.schema.targets, tower_units[-1]
        mlp = functools.partial(tfrs.layers.blocks.MLP, list(tower_units), activation="relu", final_activation="relu")
        self.towers = [mlp(name=f"{t.name}_tower") for t in targets]
        self.transfers = [tf.keras.layers.Dense(width, "relu", name=f"{t.name}_transfer") for t in targets[:-1]]
        self.fusions = [InformationFusion(width, name=f"{t.name}_fusion") for t in targets[1:]]
        self.heads = [tf.keras.layers.Dense(t.num_outputs, name=f"{t.name}_head") for t in targets]
        self.create_weights()

    def task_outputs(self, views: Sequence[tf.Tensor], training: bool) -> list[tf.Tensor]:
        """The heads' outputs in target order; see `MultiTaskModel.task_outputs`."""
        outputs: list[tf.Tensor] = []
        fused: tf.Tensor | None = None
        for t, (target, view) in enumerate(zip(self.schema.targets, views, strict=True)):
            own = self.towers[t](view)
            fused = own if fused is None else self.fusions[t - 1]([self.transfers[t - 1](fused), own])
            output = self.heads[t](fused)
            outputs.append(output if target.num_outputs > 1 else tf.squeeze(output, axis=-1))
        return outputs

    def calibrator_losses(self, outputs: Sequence[tf.Tensor], weights: Weights = None) -> dict[int, RowLosses]:
        """max(p_t - p_s, 0) per row, by the position of t, of the targets that the calibrator has an order for.

        Args:
          outputs: What `task_outputs` returned.
          weights: float32 [B] by target name; a row that takes no part in target t takes none here.
        """
        losses: dict[int, RowLosses] = {}
        before: tf.Tensor | None = None
        for t, (target, output) in enumerate(zip(self.schema.targets, outputs, strict=True)):
            if not isinstance(target, Binary):
                continue
            probability = tf.sigmoid(output)
            if before is not None and target.observed_if is None:
                excess = tf.nn.relu(probability - before)
                weight = None if weights is None else weights.get(target.name)
                observed = None if weight is None else tf.cast(tf.not_equal(weight, 0.0), excess.dtype)
                losses[t] = RowLosses(excess if observed is None else excess * observed, observed)
            before = probability
        return losses

    def _task_losses(
        self, targets: Mapping[str, tf.Tensor], outputs: Sequence[tf.Tensor], weights: Weights = None
    ) -> list[tf.Tensor]:
        losses = super()._task_losses(targets, outputs, weights)
        if self.calibrator > 0:
            replicas = tf.distribute.get_strategy().num_replicas_in_sync
            for t, rows in self.calibrator_losses(outputs, weights).items():
                losses[t] += self.calibrator * rows.mean(replicas)
        return losses
