"""HTLNet: towers that hand their representation and their predicted label on down the funnel."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import tensorflow as tf

from htlnet_tf.encoding.encoder import FeatureEncoder
from htlnet_tf.gradients import GradientAdjustment, GradientSum, GramFunction
from htlnet_tf.layers.information_fusion import InformationFusion
from htlnet_tf.layers.input_blocks import InputBlocks
from htlnet_tf.layers.label_embedding import LabelEmbedding
from htlnet_tf.layers.state_rows import StateRows, alike, combined
from htlnet_tf.layers.uncertainty_weights import LossWeighting
from htlnet_tf.models.base import MultiTaskModel
from htlnet_tf.models.label_states import Given, Handed, LabelStates, Run
from htlnet_tf.models.nonfinite import Policy
from htlnet_tf.models.shown_metrics import Features, Weights
from htlnet_tf.schema import Multiclass, Schema

_TAU_DECAY = 1e-3

LabelEmbeddingForm = Literal["marginal", "soft", "hard", "expected"]


class HTLNet(MultiTaskModel):
    """HTLNet for hybrid targets.

    Tower t reads h_t = concat(e, fused_rep, fused_le): the shared input, the earlier towers' first hidden activations,
    and the embeddings of the labels they predict, each fused by attention. What is handed on passes through
    stop_gradient, so a later task never disturbs an earlier tower, and the tasks influence each other through the
    shared embedding alone, where the gradient adjustment works.

    The published label embedding is of a predicted label, `paper=True`. It says little that the features do not, and on
    real rows nothing was seen to come of it. The default form is not the paper's: the towers learn from the true labels
    what an amount is like given each state of the funnel, and serving averages over the states.

    Args:
      schema: The declared columns.
      encoder: Fitted on the training rows.
      embedding_dim: Width d of the embedding rows of features that declare none of their own.
      tower_units: Widths of each tower's hidden layers; the first is the representation's.
      label_embedding_dim: Width L of a label embedding.
      fusion_width: Width of what each Information Fusion Unit returns.
      core: Target that plays the core's part in the gradient adjustment; None: the last one.
      gradient_adjustment: Gram matrix -> coefficients; None: `GradientAdjustment()`, or the plain sum where a loss
        weighting stands in its place.
      loss_weighting: Losses -> weighted losses, see `ModelOptions`; None: as they are.
      tau_start: Gumbel-softmax temperature at the first step.
      tau_min: Temperature that the annealing ends at.
      tau_decay: Its exponential rate per optimizer step. None: such that the annealing ends after `tau_share` of the
        steps that `fit` is to make, or 1e-3 where `fit` does not know their number.
      tau_share: Share of the steps after which the temperature is `tau_min`. Early stopping ends most trainings long
        before their last epoch, hence a quarter.
      use_label_embedding: False leaves fused_le out (ablation).
      use_representation: False leaves fused_rep out (ablation).
      fusion: `"attention"`, or `"concat"` to concatenate instead of fusing (ablation).
      stop_gradient: False lets later losses reach earlier towers (ablation); needs one backward pass per task.
      label_embedding: What later towers read of the label of an earlier step. `"marginal"`: the true label in training;
        in inference each tower is run once per state of the labels before it, and the predictions are averaged by the
        states' predicted probabilities, which is the law of total expectation. `"soft"`, `"hard"` and `"expected"`: the
        predicted label, see `LabelEmbedding`.
      label_start: Standard deviation of the label embeddings' start values.
      paper: The published form: `label_embedding="soft"`, start values of the label embeddings as small as Keras', and
        the guard C of the gradient adjustment as published, `relative_clip=False`, unless one is given.
      embedding_l2: Strength l of l * ||row||^2 for each embedding row that a batch touches.
      gradient_metrics: Show norm, cosine and coefficient of every task in `fit`.
      on_nonfinite: `"raise"` or `"skip"`, see `ModelOptions`.
      dropout: Share of each tower's hidden activations that is dropped in training, see `ModelOptions`.
      cross_layers: Cross layers before the towers, see `ModelOptions`.
      cross_rank: Their rank.

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

    reads_blocks = True

    def __init__(
        self,
        schema: Schema,
        encoder: FeatureEncoder,
        *,
        embedding_dim: int = 10,
        tower_units: Sequence[int] = (128, 64, 32),
        label_embedding_dim: int = 10,
        fusion_width: int = 64,
        core: str | None = None,
        gradient_adjustment: GramFunction | None = None,
        loss_weighting: LossWeighting | None = None,
        tau_start: float = 1.0,
        tau_min: float = 0.1,
        tau_decay: float | None = None,
        tau_share: float = 0.25,
        use_label_embedding: bool = True,
        use_representation: bool = True,
        fusion: Literal["attention", "concat"] = "attention",
        stop_gradient: bool = True,
        label_embedding: LabelEmbeddingForm = "marginal",
        label_start: float = 1.0,
        paper: bool = False,
        embedding_l2: float = 1e-5,
        gradient_metrics: bool = True,
        on_nonfinite: Policy = "raise",
        dropout: float = 0.0,
        cross_layers: int = 0,
        cross_rank: int = 64,
        name: str = "htlnet",
    ) -> None:
        if gradient_adjustment is None and loss_weighting is None:
            gradient_adjustment = GradientAdjustment(relative_clip=not paper)
        elif gradient_adjustment is None:
            gradient_adjustment = GradientSum()
        super().__init__(
            schema,
            encoder,
            embedding_dim=embedding_dim,
            core=core,
            gradient_adjustment=gradient_adjustment,
            loss_weighting=loss_weighting,
            embedding_l2=embedding_l2,
            gradient_metrics=gradient_metrics,
            on_nonfinite=on_nonfinite,
            dropout=dropout,
            cross_layers=cross_layers,
            cross_rank=cross_rank,
            name=name,
        )
        if fusion not in ("attention", "concat"):
            raise ValueError(f"fusion must be 'attention' or 'concat', received {fusion!r}")
        if paper:
            label_embedding, label_start = "soft", 0.03
        if label_embedding not in get_args(LabelEmbeddingForm):
            raise ValueError(
                f"label_embedding must be one of {get_args(LabelEmbeddingForm)}, received {label_embedding!r}"
            )
        if not 0 < tau_share <= 1:
            raise ValueError(f"tau_share must be in (0, 1], received {tau_share}")
        self._tau_share = tau_share if tau_decay is None else None
        self.independent_towers = stop_gradient
        self._hand_on = tf.stop_gradient if stop_gradient else tf.identity
        self.use_label_embedding, self.use_representation = use_label_embedding, use_representation
        targets = self.schema.targets
        names = [t.name for t in targets]
        self._after = [
            [i for i in range(t) if target.after is None or names[i] in target.after]
            for t, target in enumerate(targets)
        ]
        self.towers = self.create_towers(tower_units)
        self.label_embeddings = {
            t.name: LabelEmbedding(
                t.num_classes if isinstance(t, Multiclass) else 2,
                label_embedding_dim,
                tau_start=tau_start,
                tau_min=tau_min,
                tau_decay=_TAU_DECAY if tau_decay is None else tau_decay,
                form="expected" if label_embedding == "marginal" else label_embedding,
                start=label_start,
                name=f"{t.name}_label_embedding",
            )
            for t in self.schema.steps
            if use_label_embedding
        }
        self.label_states: LabelStates | None = None
        if label_embedding == "marginal" and use_label_embedding:
            self.label_states = LabelStates(self.schema, self.heads, self.label_embeddings, self._after)

        def fusions(kind: str, used: bool) -> list[Any]:
            if not used or fusion == "concat":
                return [_concat if used else None] * len(targets)
            return [None, *(InformationFusion(fusion_width, name=f"{name}_{kind}_fusion") for name in names[1:])]

        self.representation_fusions = fusions("representation", use_representation)
        self.label_fusions = fusions("label", use_label_embedding)
        self.create_weights()

    def task_outputs(self, views: Sequence[tf.Tensor], training: bool) -> list[tf.Tensor]:
        """The towers' outputs in target order; see `MultiTaskModel.task_outputs`."""
        if self.label_states is not None:
            return self._expect(views, training)[0]
        towers = self._in_order(views, lambda t, output: self._embed(t, output, training), training)
        return [output for _, output in towers]

    def training_outputs(
        self, views: Sequence[tf.Tensor], labels: Mapping[str, tf.Tensor], weights: Weights
    ) -> list[tf.Tensor]:
        """As `task_outputs`; in the marginal form the towers read the true labels of the targets before them."""
        if self.label_states is None:
            return self.task_outputs(views, training=True)

        def embed(t: int, output: tf.Tensor) -> tf.Tensor:
            name = self.schema.targets[t].name
            weight = None if weights is None else weights.get(name)
            observed = None if weight is None else tf.not_equal(weight, 0.0)
            true = self.heads[name].labels(labels)
            return self.label_embeddings[name].of_labels(true, observed, self._log_probabilities(t, output))

        return [output for _, output in self._in_order(views, embed, training=True)]

    def attention_weights(self, features: Features) -> dict[str, dict[str, tf.Tensor]]:
        """What the Information Fusion Units attend to, in inference mode.

        In the marginal form it is the mean over the states of the labels, by their probabilities.

        Args:
          features: `"ids"` int32 [B, num_slots] and `"numeric"` float32 [B, num_numeric].

        Returns:
          By target with n > 1 preceding targets, and there by unit, `"representation"` or `"label"`: the weights of the
          preceding targets in funnel order, float32 [B, n]; each row sums to 1. A unit that the model does not use, or
          that concatenates, has none and is left out, and so is a target without any.
        """
        shared = self.shared_input(self.embedding(features["ids"]), features)
        views = [shared] * len(self.schema.targets)
        passes: list[tuple[list[tuple[int, tf.Tensor]], Handed]]
        if self.label_states is not None:
            _, passes = self._expect(views, training=False)
        else:
            towers = self._in_order(views, lambda t, output: self._embed(t, output, training=False), training=False)
            passes = [([], handed) for handed, _ in towers]
        found: dict[str, dict[str, tf.Tensor]] = {}
        for t, (states, handed) in enumerate(passes):
            for unit, inputs in handed.items():
                fusion = self._fusion(unit, t)
                if len(inputs) > 1 and isinstance(fusion, InformationFusion):
                    _, weights = fusion.attend(inputs)
                    if isinstance(weights, StateRows):
                        of_states = weights.in_states()
                        weights = tf.add_n([p[:, tf.newaxis] * of_states[place] for place, p in states])
                    found.setdefault(self.schema.targets[t].name, {})[unit] = weights
        return found

    def _expect(self, views: Sequence[tf.Tensor | InputBlocks], training: bool) -> Any:
        """See `LabelStates.expect`."""
        assert self.label_states is not None
        # Each tower's product with the shared input is made once, and not once per state.
        blocks = [InputBlocks.of(view) for view in views]

        def run_tower(t: int, own: Sequence[Mapping[str, Given]]) -> Run:
            return self._run_tower(t, blocks[t], own, training)

        return self.label_states.expect(run_tower)

    def _in_order(
        self, views: Sequence[tf.Tensor], embed: Callable[[int, tf.Tensor], tf.Tensor], training: bool
    ) -> list[tuple[Handed, tf.Tensor]]:
        """Runs each tower once; per target what the earlier ones hand to it, and its output.

        Args:
          views: As for `task_outputs`.
          embed: From a target's position and output to its label embedding.
          training: Whether this is a training step.
        """
        results: list[tuple[Handed, tf.Tensor]] = []
        own: list[dict[str, Given]] = []
        for t in range(len(views)):
            handed, representation, output = self._run_tower(t, views[t], own, training)
            results.append((handed, output))
            given: dict[str, Given] = {"representation": representation} if self.use_representation else {}
            if self.schema.targets[t].name in self.label_embeddings:
                given["label"] = embed(t, output)
            own.append(given)
        return results

    def _run_tower(
        self,
        t: int,
        view: tf.Tensor | InputBlocks,
        own: Sequence[Mapping[str, Given]],
        training: bool,
    ) -> Run:
        """Runs one tower.

        Args:
          t: The target's position.
          view: The shared input, [B, width], or its blocks.
          own: What each earlier target hands on, by unit: [B, ...], or in each of S states, which all rows are run in.
          training: Whether this is a training step.

        Returns:
          What it reads of the earlier targets, by unit; its representation, behind the stop-gradient; its output.
        """
        handed: Handed = {}
        for unit in ("representation", "label"):
            vectors = [own[i][unit] for i in self._after[t] if unit in own[i]]
            if vectors and self._fusion(unit, t) is not None:
                handed[unit] = vectors
        fused = [self._fusion(unit, t)(vectors) for unit, vectors in handed.items()]
        representation, output = self.towers[t](view, training, fused)
        return handed, self._hand_on(representation), output

    def _embed(self, t: int, output: tf.Tensor, training: bool) -> tf.Tensor:
        """The embedding of the label that target t predicts."""
        return self.label_embeddings[self.schema.targets[t].name](self._log_probabilities(t, output), training)

    def _log_probabilities(self, t: int, output: tf.Tensor) -> tf.Tensor:
        """Log pi, [B, K], behind the stop-gradient."""
        objective: Any = self.heads[self.schema.targets[t].name].objective
        return objective.log_probabilities(self._hand_on(output))

    def _fusion(self, unit: str, t: int) -> Any:
        """The Information Fusion Unit of tower t, or what stands in its place."""
        return (self.representation_fusions if unit == "representation" else self.label_fusions)[t]

    def on_fit_start(self, steps: int | None) -> None:
        """Plans the annealing of the label embeddings by the steps that are ahead."""
        if steps is not None and self._tau_share is not None:
            for unit in self.label_embeddings.values():
                unit.plan(math.ceil(steps * self._tau_share))

    def on_step_end(self) -> None:
        """Anneals the Gumbel-softmax temperatures."""
        for unit in self.label_embeddings.values():
            unit.anneal()


def _concat(inputs: Sequence[Any]) -> Any:
    if isinstance(inputs[0], StateRows):
        return combined(inputs, lambda of_each: tf.concat(alike(of_each), axis=-1))
    return tf.concat(list(inputs), axis=1)
