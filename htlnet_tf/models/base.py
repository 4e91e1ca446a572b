"""What all multi-task models share: the embedding, the tasks, and the train step with its gradient adjustment."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_recommenders as tfrs

from htlnet_tf.data.dataset import require_same_schema
from htlnet_tf.gradients import GradientSum, GramFunction
from htlnet_tf.layers.feature_encoder import FeatureEncoder
from htlnet_tf.layers.shared_embedding import SharedEmbedding, TouchedRows
from htlnet_tf.losses import make_task, training_scale
from htlnet_tf.metrics import GradientStatistics
from htlnet_tf.optimizers import LazyAdam
from htlnet_tf.schema import Binary, Continuous, Multiclass, Schema

Features = Mapping[str, tf.Tensor]


class _Gradients(NamedTuple):
    """Of one step: at the shared input per task (or one, of the sum), and at the other weights, of the sum."""

    shared: list[tf.Tensor]
    weights: list[tf.Tensor | None]


class MultiTaskModel(tfrs.Model, abc.ABC):
    """Base of the models: a shared embedding below, one output per target on top.

    The shared parameters are the embedding rows. A step sums each task's gradient there over equal rows, forms the Gram
    matrix of the T results and lets the gradient adjustment turn it into T coefficients; every other weight gets the
    gradient of the sum of the losses. Where the towers are independent given the embedding, each gets its own copy of
    it, and one backward pass of the sum of the losses yields all T gradients; other models take one pass per task.

    Under a `tf.distribute` strategy each replica adjusts the gradients of its own rows before they are summed.

    Args:
      schema: The declared columns.
      encoder: Fitted on the training rows.
      embedding_dim: Width d of an embedding row.
      gradient_adjustment: Gram matrix -> coefficients, see `htlnet_tf.gradients`; None: the plain sum.
      embedding_l2: Strength l of l * ||row||^2, added for each embedding row that a batch touches.
      gradient_metrics: Show norm, cosine and coefficient of every task in `fit`. False with the plain sum takes the
        ordinary backward pass, which needs no per-task gradients.

    Raises:
      InputError: The encoder was fitted for another schema.
    """

    #: Whether tower t's output depends on the shared input through its own copy alone.
    independent_towers = False

    def __init__(
        self,
        schema: Schema,
        encoder: FeatureEncoder,
        *,
        embedding_dim: int = 10,
        gradient_adjustment: GramFunction | None = None,
        embedding_l2: float = 1e-5,
        gradient_metrics: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        require_same_schema(schema, encoder.schema)
        self.schema = encoder.schema
        # Keras would track the encoder's tables as part of the model's weights file.
        self._encoder = (encoder,)
        self.core_scale = training_scale(self.schema.core, encoder.statistics.core)
        self.gradient_adjustment = gradient_adjustment or GradientSum()
        self.embedding_l2 = embedding_l2
        self.embedding = SharedEmbedding(encoder.num_rows, encoder.slots, embedding_dim)
        self.tasks = {t.name: make_task(t, self.core_scale) for t in self.schema.targets}
        self._loss_means = {t.name: tf.keras.metrics.Mean(f"{t.name}_loss") for t in self.schema.targets}
        names = [t.name for t in self.schema.targets]
        self._gradient_statistics = GradientStatistics(names) if gradient_metrics else None

    @abc.abstractmethod
    def task_outputs(self, views: Sequence[tf.Tensor], training: bool) -> list[tf.Tensor]:
        """The towers' outputs in target order.

        Args:
          views: Per target, the shared input [B, F * d + num_numeric]. Where `independent_towers` holds they are copies
            and tower t must read `views[t]` only; otherwise they are one and the same tensor.
          training: Whether this is a training step.

        Returns:
          Per target, a logit [B] (binary), logits [B, K] (multiclass), or a value [B] on the trained scale (core).
        """

    @property
    def encoder(self) -> FeatureEncoder:
        """Raw columns -> what this model takes."""
        return self._encoder[0]

    def create_weights(self) -> None:
        """Creates every weight by running an empty batch; subclasses call it once their layers exist."""
        self(
            {
                "ids": tf.zeros([1, self.encoder.num_slots], tf.int32),
                "numeric": tf.zeros([1, self.encoder.num_numeric], tf.float32),
            }
        )

    def compile(self, optimizer: Any = None, **kwargs: Any) -> None:
        """As `tf.keras.Model.compile`, without a loss: the schema's targets fix it.

        Args:
          optimizer: `LazyAdam(1e-3)` if left out.
          **kwargs: `run_eagerly`, `steps_per_execution`.
        """
        super().compile(optimizer=LazyAdam(1e-3) if optimizer is None else optimizer, **kwargs)

    def call(self, features: Features, training: bool = False) -> dict[str, tf.Tensor]:
        """Predicts from encoded features.

        Args:
          features: `"ids"` int32 [B, num_slots] and `"numeric"` float32 [B, num_numeric].
          training: Run as in a training step.

        Returns:
          By target name: probabilities [B] (binary) or [B, K] (multiclass), the core [B] in its own unit.
        """
        shared = self._shared_input(self.embedding(features["ids"]), features)
        outputs = self.task_outputs([shared] * len(self.schema.targets), training)
        return {t.name: self._prediction(t, o) for t, o in zip(self.schema.targets, outputs, strict=True)}

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One optimizer step; see the class. Returns the running means of the epoch."""
        features, targets, _ = tf.keras.utils.unpack_x_y_sample_weight(data)
        touched = self.embedding.touched(features["ids"])
        shared = self._shared_input(self.embedding.embed(touched), features)
        weights = [w for w in self.trainable_variables if w is not self.embedding.table]
        per_task = self._gradient_statistics is not None or not isinstance(self.gradient_adjustment, GradientSum)
        num_tasks = len(self.schema.targets)
        copies = per_task and self.independent_towers
        with tf.GradientTape(persistent=per_task) as tape:
            tape.watch(shared)
            views = [tf.identity(shared) for _ in range(num_tasks)] if copies else [shared] * num_tasks
            losses = self._task_losses(targets, self.task_outputs(views, training=True))
            total = tf.add_n(losses)
        if copies:
            _require_independence(tape, losses, views)
            gradients = _Gradients(*_split(tape.gradient(total, [*views, *weights]), num_tasks))
        elif per_task:
            gradients = _Gradients([tape.gradient(loss, shared) for loss in losses], tape.gradient(total, weights))
        else:
            gradients = _Gradients(*_split(tape.gradient(total, [shared, *weights]), 1))
        del tape
        rows = self._row_gradient(touched, gradients.shared)
        self.optimizer.apply_gradients([(rows, self.embedding.table), *zip(gradients.weights, weights, strict=True)])
        self.on_step_end()
        return self._results(training=True)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Losses and metrics of a batch, without noise. Returns the running means."""
        features, targets, _ = tf.keras.utils.unpack_x_y_sample_weight(data)
        shared = self._shared_input(self.embedding(features["ids"]), features)
        self._task_losses(targets, self.task_outputs([shared] * len(self.schema.targets), training=False))
        return self._results(training=False)

    def compute_loss(self, inputs: Any, training: bool = False) -> tf.Tensor:
        """The sum of the tasks' mean losses, a scalar (the interface of `tfrs.Model`)."""
        features, targets, _ = tf.keras.utils.unpack_x_y_sample_weight(inputs)
        shared = self._shared_input(self.embedding(features["ids"]), features)
        return tf.add_n(self._task_losses(targets, self.task_outputs([shared] * len(self.schema.targets), training)))

    def on_step_end(self) -> None:
        """Hook for state that moves with the optimizer's steps, such as an annealed temperature."""

    def _shared_input(self, embedded: tf.Tensor, features: Features) -> tf.Tensor:
        return tf.concat([embedded, features["numeric"]], axis=1) if self.encoder.num_numeric else embedded

    def _task_losses(self, targets: Mapping[str, tf.Tensor], outputs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Mean loss per target; updates the metrics."""
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        losses = []
        for target, output in zip(self.schema.targets, outputs, strict=True):
            labels = targets[target.name]
            if isinstance(target, Continuous):
                labels = (tf.cast(labels, output.dtype) - self.core_scale.mean) / self.core_scale.std
            per_row = self.tasks[target.name](labels, output)
            self._loss_means[target.name].update_state(per_row)
            # The optimizer sums over replicas, so that each contributes its share of the mean.
            losses.append(tf.reduce_mean(per_row) / replicas)
        return losses

    def _row_gradient(self, touched: TouchedRows, gradients: Sequence[tf.Tensor]) -> tf.IndexedSlices:
        """The adjusted gradient of the touched embedding rows, with the L2 term."""
        width = self.embedding.width
        per_task = self.embedding.row_gradients(touched, [g[:, :width] for g in gradients])
        if len(gradients) == 1:
            combined = per_task[:, 0]
        else:
            gram = tf.einsum("utd,usd->ts", per_task, per_task)
            coefficients = self.gradient_adjustment(gram)
            if self._gradient_statistics is not None:
                self._gradient_statistics.update_state(gram, coefficients)
            combined = tf.einsum("utd,t->ud", per_task, coefficients)
        if self.embedding_l2:
            replicas = tf.distribute.get_strategy().num_replicas_in_sync
            combined += (2.0 * self.embedding_l2 / replicas) * touched.values
        return tf.IndexedSlices(combined, touched.unique, dense_shape=tf.shape(self.embedding.table))

    def _results(self, *, training: bool) -> dict[str, tf.Tensor]:
        losses = {mean.name: mean.result() for mean in self._loss_means.values()}
        results = {"loss": tf.add_n(list(losses.values())), **losses}
        for task in self.tasks.values():
            results.update({metric.name: metric.result() for metric in task.metrics})
        if training and self._gradient_statistics is not None:
            results.update(self._gradient_statistics.result())
        return results

    def _prediction(self, target: Binary | Multiclass | Continuous, output: tf.Tensor) -> tf.Tensor:
        if isinstance(target, Continuous):
            return output * self.core_scale.std + self.core_scale.mean
        return tf.sigmoid(output) if isinstance(target, Binary) else tf.nn.softmax(output)


def _split(gradients: Sequence[tf.Tensor], count: int) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    return list(gradients[:count]), list(gradients[count:])


def _require_independence(tape: tf.GradientTape, losses: Sequence[tf.Tensor], views: Sequence[tf.Tensor]) -> None:
    """Checks, when the step is traced, that no loss reaches another tower's copy of the shared input.

    Raises:
      RuntimeError: One does, so the single backward pass would mix the tasks' gradients.
    """
    for t, loss in enumerate(losses):
        for s, view in enumerate(views):
            if s != t and tape.gradient(loss, view) is not None:
                raise RuntimeError(
                    f"the model declares independent_towers, but the loss of target {t} depends on the input of tower "
                    f"{s}; set independent_towers = False"
                )
