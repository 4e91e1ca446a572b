"""What a model keeps of one target: its objective, how it is trained, how it is judged, its level."""

from __future__ import annotations

import math
from collections.abc import Mapping

import tensorflow as tf
import tensorflow_recommenders as tfrs

from htlnet_tf.encoding.statistics import TrainingStatistics
from htlnet_tf.errors import InputError
from htlnet_tf.models.dispersion import Dispersion
from htlnet_tf.objectives import Objective, metrics
from htlnet_tf.objectives.auc import AUC
from htlnet_tf.objectives.label_statistics import LabelStatistics
from htlnet_tf.objectives.level import level_factor
from htlnet_tf.objectives.rows import RowLoss, RowLosses, taking_part
from htlnet_tf.objectives.sums import Mean
from htlnet_tf.schema import Binary, Continuous, Multiclass

# Standard deviations whose reciprocals are normal float32 numbers, with room for outliers; amounts whose squares are.
_SCALES = (2.0**-120, 2.0**120)
_RAW_SIZES = (1e-15, 1e15)


class Level(tf.keras.layers.Layer):
    """One factor that brings a target's total to that of the training rows, sum(y) / sum(prediction).

    A trained network's total is off by several per cent, and by another number for every seed. The factor is 1 until
    `MultiTaskModel.fit_level` has set it; it is part of the weights, and of the servable.
    """

    def __init__(self, *, name: str) -> None:
        super().__init__(name=name)
        self.factor = self.add_weight(name="factor", shape=[], initializer="ones", trainable=False)
        # Sums over rows and replicas, as the metrics'.
        self.sums = metrics.Totals(f"{name}_sums")
        self.built = True

    def call(self, predictions: tf.Tensor) -> tf.Tensor:
        """The predictions on the level of the training rows, float32 [B]."""
        return predictions * self.factor

    def settle(self) -> float:
        """Takes the factor from the sums over rows whose predictions had the factor 1, and returns it.

        It stays 1 where either sum is 0, and within 1e-3 .. 1e3: beyond, something else is wrong.
        """
        actual, predicted = (float(value) for value in self.sums.result().numpy())
        factor = level_factor(actual, predicted)
        self.factor.assign(factor)
        return factor


class Head(tf.keras.layers.Layer):
    """One target of a model.

    Args:
      target: As declared.
      statistics: Of the training rows.

    Raises:
      InputError: The amounts are so small or large that float32 does not hold what is computed of them.

    Attributes:
      objective: Fitted to the training rows.
      task: The loss of a row from its outputs, and the metrics named `{target}_...` that `fit` shows.
      level: Of a target that is not negative, unless it is declared without.
      dispersion: Of a target with quantiles whose objective needs it.
    """

    def __init__(self, target: Binary | Multiclass | Continuous, statistics: TrainingStatistics) -> None:
        super().__init__(name=f"{target.name}_head_of_target")
        self.target = (target,)  # in a tuple, so that Keras does not track it
        self._objective = (_fitted(target, statistics),)
        judged = _METRICS[type(target)](target.name)
        self.task = tfrs.tasks.Ranking(loss=RowLoss(self.objective), metrics=judged, name=f"{target.name}_task")
        self.level: Level | None = None
        self.dispersion: Dispersion | None = None
        classes: int | None = 2
        self._standard = (0.0, 1.0)
        if isinstance(target, Continuous):
            labels, classes = statistics.labels[target.name], None
            self._standard = (labels.mean, labels.std)
            if target.has_level:
                self.level = Level(name=f"{target.name}_level")
            if target.quantiles and self.objective.has_dispersion:
                terms = self.objective.num_dispersion_terms
                self.dispersion = Dispersion(terms, name=f"{target.name}_dispersion")
                self._objective = (self.objective.dispersed(self.dispersion.value),)
        elif isinstance(target, Multiclass):
            classes = target.num_classes
        self.mean_loss = Mean(f"{target.name}_loss")
        self.judged_loss = Mean(f"{target.name}_judged_loss")
        self.constant_loss = metrics.ConstantLoss(classes, f"{target.name}_constant_loss")
        self.built = True

    @property
    def objective(self) -> Objective:
        """How the target is learned."""
        return self._objective[0]

    @property
    def judged(self) -> list[tf.keras.metrics.Metric]:
        """The metrics of predictions that `fit` shows."""
        return list(self.task.metrics)

    @property
    def num_outputs(self) -> int:
        """Outputs of the target's tower."""
        return self.objective.num_outputs

    def labels(self, targets: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """The target's labels [B], as they are."""
        # Keras makes [B, 1] of labels that come as pandas columns, which would broadcast against outputs [B].
        return tf.reshape(targets[self.target[0].name], [-1])

    def row_losses(self, labels: tf.Tensor, outputs: tf.Tensor, weights: tf.Tensor | None) -> RowLosses:
        """What is trained.

        Args:
          labels: [B], in the target's unit; anything, NaN too, where the weight is 0.
          outputs: The tower's, [B] or [B, K].
          weights: float32 [B], 0 for a row that takes no part; None: every row takes part with weight 1.
        """
        part = taking_part(self._in_units(labels), outputs, weights)
        return part.weighted(self.task(part.labels, part.outputs, compute_metrics=False))

    def update_metrics(
        self, labels: tf.Tensor, outputs: tf.Tensor, weights: tf.Tensor | None, losses: RowLosses, *, training: bool
    ) -> None:
        """Adds a batch to what `fit` shows.

        The metrics count the rows that take part alike. In validation the target's relative loss is prepared too.

        Args:
          labels: As for `row_losses`, as the following.
          outputs: The tower's.
          weights: By row.
          losses: What `row_losses` gave of them.
          training: Whether this is a step of training.
        """
        part = taking_part(labels, outputs, weights)
        self.mean_loss.update_state(losses.values, sample_weight=losses.observed)
        predictions = self.predict(part.outputs)
        for metric in self.judged:
            metric.update_state(part.labels, predictions, sample_weight=part.observed)
        if training:
            return
        if isinstance(self.target[0], Continuous):
            shift, scale = self._standard
            standard = (part.labels - shift) / scale
            squares = tf.math.squared_difference(standard, (predictions - shift) / scale)
            losses = part.weighted(squares)
            self.constant_loss.update_state(standard, weights)
        else:
            self.constant_loss.update_state(labels, weights)
        self.judged_loss.update_state(losses.values, sample_weight=losses.observed)

    @property
    def is_settled(self) -> bool:
        """Whether there is something that is taken from the training rows after training, see `settle`."""
        return self.level is not None or self.dispersion is not None

    def update_level(self, labels: tf.Tensor, outputs: tf.Tensor, weights: tf.Tensor | None) -> None:
        """Adds a batch to the sums that level and dispersion are of; the arguments are those of `row_losses`."""
        if not self.is_settled:
            return
        part = taking_part(labels, outputs, weights)
        if self.level is not None:
            self.level.sums.update_state(part.labels, self._in_unit(part.outputs), sample_weight=weights)
        if self.dispersion is not None:
            terms = self.objective.dispersion_terms(self._in_units(part.labels), part.outputs)
            self.dispersion.sums.update_state(terms, sample_weight=weights)

    def settle(self) -> float:
        """Takes level and dispersion from the sums; returns the level, 1 where there is none."""
        level = 1.0 if self.level is None else self.level.settle()
        if self.dispersion is not None:
            self.dispersion.settle(self.objective, level)
        return level

    def predict(self, outputs: tf.Tensor) -> tf.Tensor:
        """What leaves the model: probabilities, [B] or [B, K], or an amount in the target's unit, float32 [B]."""
        values = self._in_unit(outputs)
        return values if self.level is None else self.level(values)

    def quantile(self, outputs: tf.Tensor, levels: tf.Tensor) -> tf.Tensor:
        """Quantiles of an amount in its unit and on its level, float32 [B, K]; see `Objective.quantile`.

        Args:
          outputs: The tower's, [B] or [B, K].
          levels: float32 [K], or [B, K].
        """
        shift, scale = self.objective.units
        return (self.objective.quantile(outputs, levels) * scale + shift) * self._factor

    def exceedance(self, outputs: tf.Tensor, thresholds: tf.Tensor) -> tf.Tensor:
        """P(y > t) of an amount, with its level, float32 [B, K]; see `Objective.exceedance`.

        Args:
          outputs: The tower's, [B] or [B, K].
          thresholds: In the target's unit, float32 [K], or [B, K].
        """
        shift, scale = self.objective.units
        return self.objective.exceedance(outputs, (thresholds / self._factor - shift) / scale)

    @property
    def _factor(self) -> tf.Tensor | float:
        return self.level.factor if self.level is not None and self.objective.scales_distribution else 1.0

    def _in_units(self, labels: tf.Tensor) -> tf.Tensor:
        if not isinstance(self.target[0], Continuous):
            return labels
        shift, scale = self.objective.units
        return (tf.cast(labels, tf.float32) - shift) / scale

    def _in_unit(self, outputs: tf.Tensor) -> tf.Tensor:
        values = self.objective.predict(outputs)
        shift, scale = self.objective.units
        if not isinstance(self.target[0], Continuous):
            return values
        return values * scale + shift if shift else values * scale


def _fitted(target: Binary | Multiclass | Continuous, statistics: TrainingStatistics) -> Objective:
    if not isinstance(target, Continuous):
        return target.learned_by
    labels = statistics.labels[target.name]
    _require_float32(target, labels)
    return target.learned_by.fitted(labels, non_negative=target.non_negative, standardise=target.standardise)


def _require_float32(target: Continuous, labels: LabelStatistics) -> None:
    """Refuses amounts that are so small or large that float32 does not hold what is computed of them."""
    if target.standardise:
        low, high, size, remedy = *_SCALES, labels.std, ""
    else:
        # The rows of constant amounts have the deviation 1 by definition; it says nothing of their size.
        size = math.hypot(labels.mean, 0.0 if labels.std == 1.0 else labels.std) or 1.0
        low, high, remedy = *_RAW_SIZES, ", or leave out standardise: false"
    if not low <= size <= high:
        raise InputError(
            f"target '{target.name}': amounts of the size {size:g} leave the range of float32 in training; give the "
            f"column in another unit{remedy}"
        )


_METRICS = {
    Binary: lambda name: [AUC(f"{name}_auc")],
    Multiclass: lambda name: [tf.keras.metrics.SparseCategoricalAccuracy(name=f"{name}_accuracy")],
    Continuous: lambda name: [metrics.NRMSE(f"{name}_nrmse"), metrics.NMAE(f"{name}_nmae")],
}
