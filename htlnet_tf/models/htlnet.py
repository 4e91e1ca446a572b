"""HTLNet: towers that hand their representation and their predicted label on down the funnel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import tensorflow as tf

from htlnet_tf.gradients import GradientAdjustment, GradientSum, GramFunction
from htlnet_tf.layers.feature_encoder import FeatureEncoder
from htlnet_tf.layers.information_fusion import InformationFusion
from htlnet_tf.layers.label_embedding import LabelEmbedding
from htlnet_tf.layers.tower import Tower
from htlnet_tf.layers.uncertainty_weights import LossWeighting
from htlnet_tf.models.base import Features, MultiTaskModel
from htlnet_tf.models.nonfinite import Policy
from htlnet_tf.schema import Multiclass, Schema


class HTLNet(MultiTaskModel):
    """HTLNet for hybrid targets.

    Tower t reads h_t = concat(e, fused_rep, fused_le): the shared input, the earlier towers' first hidden activations,
    and the embeddings of the labels they predict, each fused by attention. What is handed on passes through
    stop_gradient, so a later task never disturbs an earlier tower, and the tasks influence each other through the
    shared embedding alone, where the gradient adjustment works.

    Args:
      schema: The declared columns.
      encoder: Fitted on the training rows.
      embedding_dim: Width d of the embedding rows of features that declare none of their own.
      tower_units: Widths of each tower's hidden layers; the first is the representation's.
      label_embedding_dim: Width L of a label embedding.
      fusion_width: Width of what each Information Fusion Unit returns.
      gradient_adjustment: Gram matrix -> coefficients; None: `GradientAdjustment()` with the paper's settings, or the
        plain sum where a loss weighting stands in its place.
      loss_weighting: Losses -> weighted losses, see `ModelOptions`; None: as they are.
      tau_start: Gumbel-softmax temperature at the first step.
      tau_min: Temperature that the annealing ends at.
      tau_decay: Its exponential rate per optimizer step.
      use_label_embedding: False leaves fused_le out (ablation).
      use_representation: False leaves fused_rep out (ablation).
      fusion: `"attention"`, or `"concat"` to concatenate instead of fusing (ablation).
      stop_gradient: False lets later losses reach earlier towers (ablation); needs one backward pass per task.
      gumbel: False feeds the expected label embedding in training too (ablation).
      embedding_l2: Strength l of l * ||row||^2 for each embedding row that a batch touches.
      gradient_metrics: Show norm, cosine and coefficient of every task in `fit`.
      on_nonfinite: `"raise"` or `"skip"`, see `ModelOptions`.

    Example:
      >>> model = HTLNet(schema, encoder, embedding_dim=10)
      >>> model.compile(optimizer=LazyAdam(1e-3))
      >>> model.fit(dataset, epochs=2)

    Raises:
      InputError: The encoder was fitted for another schema.

    References:
      Tang, Qiao, Lyu, Liu, He: "Touch the Core: Exploring Task Dependence Among Hybrid Targets for Recommendation",
      RecSys 2024, arXiv:2403.17442, section 3.
    """

    def __init__(
        self,
        schema: Schema,
        encoder: FeatureEncoder,
        *,
        embedding_dim: int = 10,
        tower_units: Sequence[int] = (128, 64, 32),
        label_embedding_dim: int = 10,
        fusion_width: int = 64,
        gradient_adjustment: GramFunction | None = None,
        loss_weighting: LossWeighting | None = None,
        tau_start: float = 1.0,
        tau_min: float = 0.1,
        tau_decay: float = 1e-3,
        use_label_embedding: bool = True,
        use_representation: bool = True,
        fusion: Literal["attention", "concat"] = "attention",
        stop_gradient: bool = True,
        gumbel: bool = True,
        embedding_l2: float = 1e-5,
        gradient_metrics: bool = True,
        on_nonfinite: Policy = "raise",
        name: str = "htlnet",
    ) -> None:
        if gradient_adjustment is None:
            gradient_adjustment = GradientAdjustment() if loss_weighting is None else GradientSum()
        super().__init__(
            schema,
            encoder,
            embedding_dim=embedding_dim,
            gradient_adjustment=gradient_adjustment,
            loss_weighting=loss_weighting,
            embedding_l2=embedding_l2,
            gradient_metrics=gradient_metrics,
            on_nonfinite=on_nonfinite,
            name=name,
        )
        if fusion not in ("attention", "concat"):
            raise ValueError(f"fusion must be 'attention' or 'concat', received {fusion!r}")
        self.independent_towers = stop_gradient
        self._hand_on = tf.stop_gradient if stop_gradient else tf.identity
        self.use_label_embedding, self.use_representation = use_label_embedding, use_representation
        targets = self.schema.targets
        self.towers = [Tower(tower_units, t.num_outputs, name=f"{t.name}_tower") for t in targets]
        self.label_embeddings = [
            LabelEmbedding(
                t.num_classes if isinstance(t, Multiclass) else 2,
                label_embedding_dim,
                tau_start=tau_start,
                tau_min=tau_min,
                tau_decay=tau_decay,
                gumbel=gumbel,
                name=f"{t.name}_label_embedding",
            )
            for t in self.schema.preceding
            if use_label_embedding
        ]

        def fusions(kind: str, used: bool) -> list[Any]:
            if not used or fusion == "concat":
                return [_concat if used else None] * len(targets)
            return [None, *(InformationFusion(fusion_width, name=f"{t.name}_{kind}_fusion") for t in targets[1:])]

        self.representation_fusions = fusions("representation", use_representation)
        self.label_fusions = fusions("label", use_label_embedding)
        self.create_weights()

    def task_outputs(self, views: Sequence[tf.Tensor], training: bool) -> list[tf.Tensor]:
        """The towers' outputs in target order; see `MultiTaskModel.task_outputs`."""
        return [output for _, output in self._run_towers(views, training)]

    def attention_weights(self, features: Features) -> dict[str, dict[str, tf.Tensor]]:
        """What the Information Fusion Units attend to, in inference mode.

        Args:
          features: `"ids"` int32 [B, num_slots] and `"numeric"` float32 [B, num_numeric].

        Returns:
          By target with n > 1 preceding targets, and there by unit, `"representation"` or `"label"`: the weights of the
          preceding targets in funnel order, float32 [B, n]; each row sums to 1. A unit that the model does not use, or
          that concatenates, has none and is left out, and so is a target without any.
        """
        shared = self.shared_input(self.embedding(features["ids"]), features)
        found: dict[str, dict[str, tf.Tensor]] = {}
        targets = self.schema.targets
        for t, (handed, _) in enumerate(self._run_towers([shared] * len(targets), training=False)):
            for unit, inputs in handed.items():
                fusion = self._fusion(unit, t)
                if len(inputs) > 1 and isinstance(fusion, InformationFusion):
                    found.setdefault(targets[t].name, {})[unit] = fusion.attend(inputs)[1]
        return found

    def _run_towers(
        self, views: Sequence[tf.Tensor], training: bool
    ) -> list[tuple[dict[str, list[tf.Tensor]], tf.Tensor]]:
        """Runs the towers; per target, by unit what the earlier targets hand to it, and its output."""
        towers: list[tuple[dict[str, list[tf.Tensor]], tf.Tensor]] = []
        handed: dict[str, list[tf.Tensor]] = {}  # without the units that are not used, and empty for the first tower
        for t, (view, tower) in enumerate(zip(views, self.towers, strict=True)):
            inputs = [view, *(self._fusion(unit, t)(vectors) for unit, vectors in handed.items())]
            representation, output = tower(tf.concat(inputs, axis=1) if len(inputs) > 1 else view)
            towers.append((handed, output))
            if t < len(views) - 1:
                own = {}
                if self.use_representation:
                    own["representation"] = self._hand_on(representation)
                if self.use_label_embedding:
                    own["label"] = self.label_embeddings[t](self._hand_on(_log_probabilities(output)), training)
                handed = {unit: [*handed.get(unit, ()), vector] for unit, vector in own.items()}
        return towers

    def _fusion(self, unit: str, t: int) -> Any:
        """The Information Fusion Unit of tower t, or what stands in its place."""
        return (self.representation_fusions if unit == "representation" else self.label_fusions)[t]

    def on_step_end(self) -> None:
        """Anneals the Gumbel-softmax temperatures."""
        for unit in self.label_embeddings:
            unit.anneal()


def _log_probabilities(output: tf.Tensor) -> tf.Tensor:
    """Log pi, [B, K], of a tower's logit [B] or logits [B, K]."""
    logits = tf.stack([tf.zeros_like(output), output], axis=1) if output.shape.rank == 1 else output
    return tf.nn.log_softmax(logits)


def _concat(inputs: Sequence[tf.Tensor]) -> tf.Tensor:
    return tf.concat(list(inputs), axis=1)
