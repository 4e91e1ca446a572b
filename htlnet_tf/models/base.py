"""What all multi-task models share: the embedding, the tasks, and the train step with its gradient adjustment."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from htlnet_tf import noise
from htlnet_tf.distribution import apply_summed_gradients, num_replicas, sum_over_replicas
from htlnet_tf.encoding.encoder import FeatureEncoder
from htlnet_tf.errors import InputError
from htlnet_tf.gradients import Adjustment, GradientSum, GramFunction
from htlnet_tf.gradients.statistics import GradientStatistics
from htlnet_tf.layers.cross_network import cross_network
from htlnet_tf.layers.embedding_tables import shared_embedding
from htlnet_tf.layers.input_blocks import InputBlocks
from htlnet_tf.layers.tower import Tower
from htlnet_tf.layers.uncertainty_weights import LossWeighting
from htlnet_tf.models.heads import Head
from htlnet_tf.models.keras_calls import KerasCalls
from htlnet_tf.models.nonfinite import NonFiniteGuard, Policy
from htlnet_tf.models.shown_metrics import Features, Weights
from htlnet_tf.models.task_gradients import task_gradients
from htlnet_tf.objectives.rows import RowLosses, weights_by_target
from htlnet_tf.schema import Schema, require_same_schema


class MultiTaskModel(KerasCalls):
    """Base of the models: a shared embedding below, one output per target on top.

    The shared parameters are the embedding rows. A step sums each task's gradient there over equal rows, forms the Gram
    matrix of the T results and lets the gradient adjustment turn it into T coefficients; every other weight gets the
    gradient of the sum of the losses. Where the towers are independent given the embedding, each gets its own copy of
    it, and one backward pass of the sum of the losses yields all T gradients; other models take one pass per task.

    Any part can be frozen before `compile`, `trainable = False` of the embedding (or of one of its tables), a tower or
    another layer: it stays as it is, the optimizer keeps nothing for it, and the rest is trained. The Gram matrix is
    that of the tables that are trained; if none is, nothing is adjusted and `fit` shows no gradients.

    Under a synchronous `tf.distribute` strategy a step is that of the global batch, see `htlnet_tf.distribution`: the
    rows' gradients are summed over the replicas before the Gram matrix is formed, and the weights become those that one
    worker with the whole batch gets.

    A dataset may yield `(features, targets, weights)`, with weights float32 [B] by target name, or one tensor [B] for
    all targets. A row takes part in a target where its weight is not 0; its label may be anything elsewhere. The loss
    of a target is sum(weight * row loss) / (number of rows that take part), 0 with zero gradients in a batch where none
    does; under a strategy the batch is the global one. As with Keras' `metrics`, the metrics in `fit` count the rows
    that take part alike. `{target}_loss` of an epoch is over all of its
    rows that take part (0 if there are none), however they fall into batches, and `loss` the sum of these over the
    targets; `relative_loss`, which validation has beside it, see `objectives.metrics.RelativeLoss`. Of `fit`'s
    arguments, `sample_weight` works likewise and Keras refuses `class_weight`: there are several outputs.

    Arguments beside these are those of `ModelOptions`.

    Args:
      schema: The declared columns.
      encoder: Fitted on the training rows.
      name: Of the model.

    Raises:
      InputError: The encoder was fitted for another schema, or the core is no target.
    """

    #: Of all that is drawn in training, see `htlnet_tf.noise`; an int64 variable.
    noise_seed: tf.Variable
    #: Whether tower t's output depends on the shared input through its own copy alone.
    independent_towers = False
    #: Whether `task_outputs` takes the shared input as blocks too, see `htlnet_tf.layers.input_blocks`.
    reads_blocks = False

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Keeps the arguments, for whoever writes down how to build the model again."""
        model = super().__new__(cls, *args, **kwargs)
        # Past Keras, which would track what is in them as parts of the model.
        vars(model)["constructor_arguments"] = (args, kwargs)
        return model

    def __init__(
        self,
        schema: Schema,
        encoder: FeatureEncoder,
        *,
        embedding_dim: int = 10,
        core: str | None = None,
        gradient_adjustment: GramFunction | None = None,
        loss_weighting: LossWeighting | None = None,
        embedding_l2: float = 1e-5,
        gradient_metrics: bool = False,
        on_nonfinite: Policy = "raise",
        dropout: float = 0.0,
        cross_layers: int = 0,
        cross_rank: int = 64,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        require_same_schema(schema, encoder.schema)
        if embedding_dim < 1 or embedding_l2 < 0:
            received = f"received {embedding_dim} and {embedding_l2}"
            raise ValueError(f"embedding_dim must be at least 1 and embedding_l2 not negative, {received}")
        self.schema = encoder.schema.with_outputs_of(schema)
        # Metrics are the same on all replicas; under several workers Keras would show their sum.
        self.distribute_reduction_method = "first"
        # Of what is drawn in training. Past Keras, as no part of the weights: a checkpoint keeps it beside them.
        seed = tf.random.uniform([], maxval=2**62, dtype=tf.int64)
        self.__dict__["noise_seed"] = tf.Variable(seed, trainable=False, name="noise_seed")
        # Keras would track the encoder's tables as part of the model's weights file.
        self._encoder = (encoder,)
        self.gradient_adjustment = gradient_adjustment or GradientSum()
        self.loss_weighting = loss_weighting
        self.embedding_l2 = embedding_l2
        self.embedding = self._make_embedding(embedding_dim)
        self.heads = {t.name: Head(t, encoder.statistics) for t in self.schema.targets}
        self._create_metrics()
        names = [t.name for t in self.schema.targets]
        core = core or names[-1]
        if core not in names:
            raise InputError(f"the core '{core}' is not a target; there are {names}")
        self.core = core
        # Adjustments see the core last, wherever it stands in the funnel.
        self._order = [*(i for i, name in enumerate(names) if name != core), names.index(core)]
        self.gradient_statistics = GradientStatistics(names, names.index(core)) if gradient_metrics else None
        self._guard = NonFiniteGuard(names, on_nonfinite)
        self._skipped = tf.keras.metrics.Sum("skipped_steps") if on_nonfinite == "skip" else None
        self.dropout = dropout
        self.cross = cross_network(cross_layers, cross_rank)
        self.create_shared_layers()

    def create_towers(self, units: Sequence[int]) -> list[Tower]:
        """A tower per target, with hidden layers of these widths."""
        return [
            Tower(units, head.num_outputs, dropout=self.dropout, name=f"{name}_tower")
            for name, head in self.heads.items()
        ]

    def _make_embedding(self, dim: int) -> Any:
        """The shared embedding, rows of width `dim` where a feature declares none."""
        return shared_embedding(self.encoder.layout, dim)

    @abc.abstractmethod
    def task_outputs(self, views: Sequence[tf.Tensor], training: bool) -> list[tf.Tensor]:
        """The towers' outputs in target order.

        Args:
          views: Per target, the shared input [B, width + num_numeric]. Where `independent_towers` holds they are copies
            and tower t must read `views[t]` only; otherwise they are one and the same tensor.
          training: Whether this is a training step.

        Returns:
          Per target, what its objective takes: [B], or [B, num_outputs] if there are several outputs.
        """

    def training_outputs(
        self, views: Sequence[tf.Tensor], labels: Mapping[str, tf.Tensor], weights: Weights
    ) -> list[tf.Tensor]:
        """The outputs that a training step's losses are of; those of `task_outputs`, unless a model learns from labels.

        Args:
          views: As for `task_outputs`.
          labels: By target name, [B].
          weights: float32 [B] by target name, 0 for a row that takes no part; None: every row does.
        """
        return self.task_outputs(views, training=True)

    def auxiliary_losses(self, outputs: Sequence[tf.Tensor], weights: Weights = None) -> Mapping[str, RowLosses]:
        """Hook for terms beside the targets' own losses, such as a penalty on what the towers predict.

        The mean of a term over the rows that take part in it is added to its target's loss in training: it is weighed
        with it, and counted with it in the gradient adjustment. What `fit` shows does not contain it.

        Args:
          outputs: What `task_outputs` returned.
          weights: float32 [B] by target name, 0 for a row that takes no part; None: every row does.

        Returns:
          Terms by target name; none in this class.
        """
        return {}

    @property
    def encoder(self) -> FeatureEncoder:
        """Raw columns -> what this model takes."""
        return self._encoder[0]

    def change_encoder(self, encoder: FeatureEncoder) -> None:
        """Puts another encoder in the place of the model's: of the same rows and numbers, but other statistics.

        Raises:
          InputError: Its layout is another one.
        """
        was = self.encoder
        if (encoder.layout, encoder.num_numeric, encoder.schema) != (was.layout, was.num_numeric, was.schema):
            raise InputError("an encoder takes another one's place only if its rows and numbers are the same")
        self._encoder = (encoder,)

    @property
    def members(self) -> tuple[MultiTaskModel, ...]:
        """The model itself, which is one network."""
        return (self,)

    def create_weights(self) -> None:
        """Creates every weight by running an empty batch; subclasses call it once their layers exist."""
        self(
            {
                "ids": tf.zeros([0, self.encoder.num_slots], tf.int32),
                "numeric": tf.zeros([0, self.encoder.num_numeric], tf.float32),
            }
        )

    def call(self, features: Features, training: bool = False) -> dict[str, tf.Tensor]:
        """Predicts from encoded features.

        Args:
          features: `"ids"` int32 [B, num_slots] and `"numeric"` float32 [B, num_numeric].
          training: Run as in a training step.

        Returns:
          By target name: probabilities [B] (binary) or [B, K] (multiclass), the core [B] in its own unit.
        """
        return self.predictions_of(self._outputs(features, training))

    def tower_outputs(
        self, embedded: tf.Tensor | InputBlocks, features: Features, training: bool = False
    ) -> list[tf.Tensor]:
        """The towers' outputs in target order where no gradient is needed: all read one and the same shared input.

        Args:
          embedded: The embedded fields, float32 [B, width], or their blocks.
          features: As for `shared_input`.
          training: As for `call`.
        """
        shared: Any
        if isinstance(embedded, InputBlocks) and self.reads_blocks and self._input_is_plain:
            shared = embedded.beside(features["numeric"]) if self.encoder.num_numeric else embedded
        else:
            shared = self.shared_input(embedded.dense() if isinstance(embedded, InputBlocks) else embedded, features)
        return self.task_outputs([shared] * len(self.schema.targets), training)

    def predictions_of(self, outputs: Sequence[tf.Tensor]) -> dict[str, tf.Tensor]:
        """What `call` gives, of the towers' outputs."""
        return {name: head.predict(o) for (name, head), o in zip(self.heads.items(), outputs, strict=True)}

    def make_state(self) -> None:
        """Makes the variables that a first step would make on its way: the optimizer's slots and the adjustment's own.

        A step that makes them is traced twice; and a checkpoint can be read before the first one.
        """
        if isinstance(self.gradient_adjustment, Adjustment):
            self.gradient_adjustment.build(len(self.schema.targets))
        # The legacy optimizers make theirs in their own way.
        if isinstance(self.optimizer, tf.keras.optimizers.Optimizer):
            self.optimizer.build([*self._trained_tables(), *self._other_weights()])

    def make_train_function(self, force: bool = False) -> Any:
        """As Keras', with the state made first."""
        if self.train_function is None or force:
            self.make_state()
        return super().make_train_function(force)

    # A step is all TensorFlow's operations. To look for Python's conditions on tensors, and to rewrite each function on
    # the way, would take a third of the first step's time.
    @tf.autograph.experimental.do_not_convert
    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One optimizer step; see the class. Returns the running means of the epoch."""
        with noise.of_step(self.noise_seed, self.optimizer.iterations):
            return self._step(*self._unpack(data))

    def _step(
        self, features: Features, targets: Mapping[str, tf.Tensor], sample_weights: Weights
    ) -> dict[str, tf.Tensor]:
        """A step, within which noise is drawn."""
        touched: Any = self.embedding.touched(features["ids"])
        outputs: list[tf.Tensor] = []
        losses: dict[str, RowLosses] = {}

        def losses_of(views: list[tf.Tensor]) -> list[tf.Tensor]:
            outputs[:] = self.training_outputs(views, targets, sample_weights)
            losses.update(self._row_losses(targets, outputs, sample_weights))
            return self._trained_losses(losses, outputs, sample_weights)

        tables, weights = self._trained_tables(), self._other_weights()
        adjusted = self.gradient_statistics is not None or not isinstance(self.gradient_adjustment, GradientSum)
        gradients = task_gradients(
            losses_of,
            lambda embedded: self.shared_input(embedded, features),
            self.embedding.embed(touched),
            len(self.schema.targets),
            weights,
            per_task=adjusted and bool(tables),
            independent_towers=self.independent_towers,
        )
        rows = None
        if tables:
            touched, rows = self.embedding.over_replicas(
                touched, self.embedding.row_gradients(touched, gradients.embedded)
            )
        gram = tf.zeros([1, 1]) if rows is None else self.embedding.gram(rows)
        task_losses, *of_weights = sum_over_replicas([tf.stack(gradients.losses), *gradients.weights])

        def update(where: tf.Tensor | None) -> None:
            combined = [] if rows is None else self._combine(rows, gram, touched, where)
            apply_summed_gradients(self.optimizer, [*combined, *of_weights], [*tables, *weights], where=where)

        def show() -> None:
            self.on_step_end()
            self._update_metrics(targets, outputs, sample_weights, losses, training=True)

        applied = self._guard.run(
            self.optimizer.iterations,
            task_losses,
            tf.sqrt(tf.linalg.diag_part(gram)),
            [g for g in of_weights if g is not None],
            update,
            show,
        )
        if self._skipped is not None:
            # The same on all replicas, whose counts are added up.
            self._skipped.update_state(tf.cast(~applied, tf.float32) / num_replicas())
        return self._step_results(training=True)

    @tf.autograph.experimental.do_not_convert
    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Losses and metrics of a batch, without noise. Returns the running means."""
        features, targets, sample_weights = self._unpack(data)
        outputs = self._outputs(features, training=False)
        for head, output, weights in self._by_head(outputs, sample_weights):
            head.update_level(head.labels(targets), output, weights)
        losses = self._row_losses(targets, outputs, sample_weights)
        self._update_metrics(targets, outputs, sample_weights, losses, training=False)
        return self._step_results(training=False)

    def compute_loss(self, inputs: Any, training: bool = False) -> tf.Tensor:
        """The sum of what is trained per target, a scalar (the interface of `tfrs.Model`)."""
        features, targets, sample_weights = self._unpack(inputs)
        return tf.add_n(self._task_losses(targets, self._outputs(features, training), sample_weights))

    def on_step_end(self) -> None:
        """Hook for state that moves with the optimizer's steps, such as an annealed temperature."""

    def _trained_tables(self) -> tuple[tf.Variable, ...]:
        """The embedding tables that are not frozen."""
        return self.embedding.trained_tables if self.trainable else ()

    def _other_weights(self) -> list[tf.Variable]:
        """The trainable weights that are no embedding rows."""
        return [w for w in self.trainable_variables if not any(w is table for table in self.embedding.tables)]

    def _unpack(self, data: Any) -> tuple[Features, Mapping[str, tf.Tensor], Weights]:
        """Features, targets, and sample weights by target name."""
        features, targets, weights = tf.keras.utils.unpack_x_y_sample_weight(data)
        return features, targets, weights_by_target(weights, (t.name for t in self.schema.targets))

    def _outputs(self, features: Features, training: bool) -> list[tf.Tensor]:
        return self.tower_outputs(self.embedding(features["ids"]), features, training)

    @property
    def _input_is_plain(self) -> bool:
        """Whether the shared input is the fields and the numbers side by side, and nothing is made of them before."""
        return self.cross is None and type(self).shared_input is MultiTaskModel.shared_input

    def create_shared_layers(self) -> None:
        """Hook: makes the layers that an overridden `shared_input` uses; the constructor calls it before the towers."""

    def shared_input(self, embedded: tf.Tensor, features: Features) -> tf.Tensor:
        """What all towers read; may be overridden, with layers that are trained, to put them between fields and towers.

        Conditions on tensors are `tf.cond` here and in the layers: AutoGraph does not look at a step.

        The gradient adjustment stays at the embedding rows, which each task's gradient reaches alone through these
        layers; the layers get the gradient of the sum of the losses, as the towers do. `SingleTask` cannot have one: it
        knows the fields of each target by their place.

        Args:
          embedded: The embedded fields, float32 [B, width].
          features: `"numeric"`, float32 [B, num_numeric]; in training also `"ids"`, int32 [B, num_slots].

        Returns:
          float32 [B, W]; in this class the fields and the numbers side by side, W = width + num_numeric, behind the
          `cross_layers` if there are any.

        Example:
          >>> class Crossed(htl.HTLNet):
          ...     def create_shared_layers(self):
          ...         self.cross = tfrs.layers.feature_interaction.Cross()
          ...
          ...     def shared_input(self, embedded, features):
          ...         return self.cross(super().shared_input(embedded, features))
        """
        shared = tf.concat([embedded, features["numeric"]], axis=1) if self.encoder.num_numeric else embedded
        return shared if self.cross is None else self.cross(shared)

    def _row_losses(
        self, targets: Mapping[str, tf.Tensor], outputs: Sequence[tf.Tensor], weights: Weights
    ) -> dict[str, RowLosses]:
        """Each row's losses by target."""
        return {
            name: head.row_losses(head.labels(targets), output, weight)
            for name, (head, output, weight) in zip(self.heads, self._by_head(outputs, weights), strict=True)
        }

    def _task_losses(
        self, targets: Mapping[str, tf.Tensor], outputs: Sequence[tf.Tensor], weights: Weights = None
    ) -> list[tf.Tensor]:
        return self._trained_losses(self._row_losses(targets, outputs, weights), outputs, weights)

    def _trained_losses(
        self, rows: Mapping[str, RowLosses], outputs: Sequence[tf.Tensor], weights: Weights
    ) -> list[tf.Tensor]:
        """What is trained per target, scalars: the mean loss over the rows that take part, added to and weighed."""
        auxiliary = self.auxiliary_losses(outputs, weights)
        # Of the global batch, of whose means a replica contributes its share.
        parts = [*rows.values(), *auxiliary.values()]
        (counts,) = sum_over_replicas([tf.stack([part.rows for part in parts])])
        of_targets, of_auxiliary = tf.split(counts, [len(rows), len(auxiliary)])
        losses = {
            name: of_target.mean(count)
            for (name, of_target), count in zip(rows.items(), tf.unstack(of_targets), strict=True)
        }
        for (name, term), count in zip(auxiliary.items(), tf.unstack(of_auxiliary), strict=True):
            losses[name] += term.mean(count)
        if self.loss_weighting is None:
            return list(losses.values())
        return list(self.loss_weighting(list(losses.values()), list(tf.unstack(of_targets > 0.0))))

    def _combine(self, rows: Any, gram: tf.Tensor, touched: Any, where: tf.Tensor | None) -> list[tf.IndexedSlices]:
        """Per table, the adjusted gradient of the touched embedding rows from the tasks', with the L2 term.

        `where` is the condition under which it is applied; None: it is. Elsewhere it is 0, and no state moves.
        """

        def combine() -> list[tf.IndexedSlices]:
            coefficients = None
            if gram.shape[0] > 1:
                coefficients = self._coefficients(gram)
                if self.gradient_statistics is not None:
                    self.gradient_statistics.update_state(gram, coefficients)
                    self.gradient_statistics.write_summaries(self.optimizer.iterations)
            return self.embedding.combine(touched, rows, coefficients, l2=self.embedding_l2)

        def nothing() -> list[tf.IndexedSlices]:
            return self.embedding.combine(touched, tf.nest.map_structure(lambda r: tf.zeros_like(r[:1]), rows), None)

        return combine() if where is None else tf.cond(where, combine, nothing)

    def _coefficients(self, gram: tf.Tensor) -> tf.Tensor:
        """What the adjustment makes of the Gram matrix, in target order."""
        if self._order == sorted(self._order):
            return self.gradient_adjustment(gram)
        ordered = tf.gather(tf.gather(gram, self._order), self._order, axis=1)
        return tf.gather(self.gradient_adjustment(ordered), tf.math.invert_permutation(self._order))
