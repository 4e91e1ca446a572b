"""AITM: each target's tower learns by attention what to take over from the target before it."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
from typing_extensions import Unpack

from htlnet_tf.encoding.encoder import FeatureEncoder
from htlnet_tf.layers.dropout import Dropout
from htlnet_tf.layers.information_fusion import InformationFusion
from htlnet_tf.models.base import MultiTaskModel
from htlnet_tf.models.options import ModelOptions
from htlnet_tf.models.shown_metrics import Weights
from htlnet_tf.objectives.rows import RowLosses
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

    Widths, k = 32, linear W_v, W_k and W_q and the calibrator's weight 0.6 are those of the authors' code for two
    targets (github.com/xidongbo/AITM, AITM.py). Their code for more (AITM_standard.py, with the weight 0.3) has one set
    of W for all targets; here each has its own. The code's dropout and batch normalisation, which no other model here
    has, are left out.

    Args:
      schema: The declared columns.
      encoder: Fitted on the training rows.
      tower_units: Widths of each tower's hidden layers; the last one is k.
      calibrator: Weight of the calibrator's loss, alpha in the paper; 0: none.
      name: Of the model.
      **options: `embedding_dim`, `gradient_adjustment`, `dropout`, `cross_layers` and all others of
        `htlnet_tf.models.ModelOptions`.

    Raises:
      InputError: The encoder was fitted for another schema.
      ValueError: The calibrator's weight is negative, or a tower has no hidden layer.

    References:
      Xi, Chen, Yan, Zhang, Zhu, Zhuang, Chen: "Modeling the Sequential Dependence among Audience Multi-step Conversions
      with Multi-task Learning in Targeted Display Advertising", KDD 2021, arXiv:2105.08489: the
      Adaptive Information Transfer module and the Behavioral Expectation Calibrator.
    """

    def __init__(
        self,
        schema: Schema,
        encoder: FeatureEncoder,
        *,
        tower_units: Sequence[int] = (128, 64, 32),
        calibrator: float = 0.6,
        name: str = "aitm",
        **options: Unpack[ModelOptions],
    ) -> None:
        super().__init__(schema, encoder, name=name, **options)
        if calibrator < 0 or not tower_units:
            received = f"received {calibrator} and {tuple(tower_units)}"
            raise ValueError(f"calibrator must not be negative and a tower needs a hidden layer, {received}")
        self.calibrator = calibrator
        targets, width = self.schema.targets, tower_units[-1]
        self.towers = [_tower(tower_units, self.dropout, f"{t.name}_tower") for t in targets]
        self.transfers = [tf.keras.layers.Dense(width, "relu", name=f"{t.name}_transfer") for t in targets[:-1]]
        self.fusions = [InformationFusion(width, name=f"{t.name}_fusion") for t in targets[1:]]
        self.outputs_of = [
            tf.keras.layers.Dense(head.num_outputs, name=f"{name}_head") for name, head in self.heads.items()
        ]
        self.create_weights()

    def task_outputs(self, views: Sequence[tf.Tensor], training: bool) -> list[tf.Tensor]:
        """The heads' outputs in target order; see `MultiTaskModel.task_outputs`."""
        outputs: list[tf.Tensor] = []
        fused: tf.Tensor | None = None
        for t, view in enumerate(views):
            own = self.towers[t](view, training=training)
            fused = own if fused is None else self.fusions[t - 1]([self.transfers[t - 1](fused), own])
            output = self.outputs_of[t](fused)
            outputs.append(output if output.shape[-1] > 1 else tf.squeeze(output, axis=-1))
        return outputs

    def auxiliary_losses(self, outputs: Sequence[tf.Tensor], weights: Weights = None) -> dict[str, RowLosses]:
        """`calibrator` * max(p_t - p_s, 0) per row, of the targets t that the calibrator has an order for.

        A row that takes no part in target t takes none here; its weight has no effect otherwise. See
        `MultiTaskModel.auxiliary_losses`.
        """
        losses: dict[str, RowLosses] = {}
        before: tf.Tensor | None = None
        for target, output in zip(self.schema.targets, outputs, strict=True):
            if self.calibrator == 0 or not isinstance(target, Binary):
                continue
            probability = tf.sigmoid(output)
            if before is not None and target.observed_if is None:
                excess = self.calibrator * tf.nn.relu(probability - before)
                weight = None if weights is None else weights.get(target.name)
                observed = None if weight is None else tf.cast(tf.not_equal(weight, 0.0), excess.dtype)
                losses[target.name] = RowLosses(excess if observed is None else excess * observed, observed)
            before = probability
        return losses


def _tower(units: Sequence[int], dropout: float, name: str) -> tf.keras.Sequential:
    """Hidden layers with ReLU, and what they drop in training."""
    layers: list[tf.keras.layers.Layer] = []
    for width in units:
        layers += [tf.keras.layers.Dense(width, "relu"), *([Dropout(dropout)] if dropout else [])]
    return tf.keras.Sequential(layers, name=name)
