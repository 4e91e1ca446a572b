"""Each target's loss and streaming metrics, as the `tfrs.tasks.Ranking` of that target."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_recommenders as tfrs

from htlnet_tf import metrics
from htlnet_tf.data.statistics import Moments
from htlnet_tf.errors import InputError
from htlnet_tf.schema import Binary, Continuous, Multiclass

# Standard deviations whose reciprocals are normal float32 numbers, with room for outliers; amounts whose squares are.
_SCALES = (2.0**-120, 2.0**120)
_RAW_SIZES = (1e-15, 1e15)
# One loss per row: the train step averages, since Keras' own mean is refused under tf.distribute outside compile().
_PER_ROW = tf.keras.losses.Reduction.NONE


def make_task(target: Binary | Multiclass | Continuous, core: Moments) -> tfrs.tasks.Ranking:
    """The task of a target: its loss, and the metrics named `{target}_...` that `fit` shows.

    Args:
      target: `Binary`: cross entropy from a logit, AUC. `Multiclass`: cross entropy from K logits, accuracy.
        `Continuous`: squared error on the scale it is trained on, NRMSE and NMAE.
      core: The scale of the core target, `training_scale`.

    Returns:
      A task that maps labels [B] and outputs [B] or [B, K] to losses of shape [B].
    """
    return _TASKS[type(target)](target, core)


def constant_loss(target: Binary | Multiclass | Continuous) -> metrics.ConstantLoss:
    """The metric of the best constant's loss, which a target's own loss is measured against."""
    classes = None if isinstance(target, Continuous) else target.num_classes if isinstance(target, Multiclass) else 2
    return metrics.ConstantLoss(classes, f"{target.name}_constant_loss")


class RowLosses(NamedTuple):
    """A target's losses in a batch.

    Attributes:
      values: Each row's loss times its weight, float32 [B]; 0 for a row that takes no part.
      observed: 1 for a row that takes part, else 0, float32 [B]; None: every row does.
    """

    values: tf.Tensor
    observed: tf.Tensor | None

    @property
    def any_observed(self) -> tf.Tensor:
        """Whether a row takes part, a boolean scalar."""
        return tf.size(self.values) > 0 if self.observed is None else tf.reduce_any(self.observed > 0.0)

    def mean(self, replicas: int = 1) -> tf.Tensor:
        """The sum of the weighted losses over the number of rows that take part, a scalar; 0 if none does.

        The divisor is a number of rows and not a sum of weights, as in Keras: a weight of 2 counts like two rows in the
        sum, and weights of a mean other than 1 change the size of the loss.

        Args:
          replicas: Under `tf.distribute`, their number; the result is this replica's share of the mean over them.
        """
        if self.observed is None:
            rows = tf.cast(tf.maximum(tf.size(self.values), 1) * replicas, self.values.dtype)
        else:
            rows = tf.maximum(tf.reduce_sum(self.observed), 1.0) * float(replicas)
        return tf.reduce_sum(self.values) / rows


def row_losses(
    task: tfrs.tasks.Ranking,
    labels: tf.Tensor,
    outputs: tf.Tensor,
    weights: tf.Tensor | None,
    *,
    compute_metrics: bool,
) -> RowLosses:
    """Runs a target's task on the rows that take part in it.

    Args:
      task: From `make_task`.
      labels: [B], on the trained scale; anything, NaN too, where the weight is 0.
      outputs: The tower's, [B] or [B, K].
      weights: float32 [B], 0 for a row that takes no part; None: every row takes part with weight 1.
      compute_metrics: Update the task's metrics, from the rows that take part, which count alike there.
    """
    if weights is None:
        return RowLosses(task(labels, outputs, compute_metrics=compute_metrics), None)
    observed = tf.not_equal(weights, 0.0)
    wide = observed if outputs.shape.rank == 1 else observed[:, tf.newaxis]
    # Left out before the loss and not by its factor 0 alone: the gradient of a loss of NaN or infinity is NaN times 0.
    labels = tf.where(observed, labels, tf.zeros_like(labels))
    outputs = tf.where(wide, outputs, tf.zeros_like(outputs))
    part = tf.cast(observed, outputs.dtype)
    losses = task(labels, outputs, sample_weight=part, compute_metrics=compute_metrics)
    return RowLosses(losses * tf.cast(weights, losses.dtype), part)


def weights_by_target(weights: Any, targets: Iterable[str]) -> dict[str, tf.Tensor] | None:
    """The third element of a dataset as float32 [B] by target name; None if there is none.

    Args:
      weights: None, a dict by target name (a target that is left out has the weight 1 in every row), or one tensor [B]
        for all targets.
      targets: The target names.

    Raises:
      ValueError: A key is no target, or a tensor has more than one weight per row.
    """
    if weights is None:
        return None
    names = list(targets)
    given = weights if isinstance(weights, dict) else dict.fromkeys(names, weights)
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise ValueError(f"sample weights must be given by target name; received {unknown}, the targets are {names}")
    for name, weight in given.items():
        if not tf.TensorShape(weight.shape[1:]).is_compatible_with([1] * (len(weight.shape) - 1)):
            raise ValueError(f"sample weights of '{name}' must have the shape [B], received {weight.shape}")
    return {name: tf.reshape(tf.cast(weight, tf.float32), [-1]) for name, weight in given.items()}


def training_scale(target: Continuous, statistics: Moments) -> Moments:
    """The shift and scale that the core is trained on: its moments, or 0 and 1 if it is not standardised.

    Raises:
      InputError: The amounts are so small or large that float32 does not hold what is computed of them.
    """
    if target.standardise:
        low, high, size, remedy = *_SCALES, statistics.std, ""
    else:
        # The rows of constant amounts have the deviation 1 by definition; it says nothing of their size.
        size = math.hypot(statistics.mean, 0.0 if statistics.std == 1.0 else statistics.std) or 1.0
        low, high, remedy = *_RAW_SIZES, ", or leave out standardise: false"
    if not low <= size <= high:
        raise InputError(
            f"target '{target.name}': amounts of the size {size:g} leave the range of float32 in training; give the "
            f"column in another unit{remedy}"
        )
    return statistics if target.standardise else Moments(mean=0.0, std=1.0)


def _binary(target: Binary, _: Moments) -> tfrs.tasks.Ranking:
    return tfrs.tasks.Ranking(
        loss=_RowLoss(tf.nn.sigmoid_cross_entropy_with_logits),
        metrics=[metrics.AUC(f"{target.name}_auc")],
        name=f"{target.name}_task",
    )


def _multiclass(target: Multiclass, _: Moments) -> tfrs.tasks.Ranking:
    return tfrs.tasks.Ranking(
        loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=_PER_ROW),
        metrics=[tf.keras.metrics.SparseCategoricalAccuracy(name=f"{target.name}_accuracy")],
        name=f"{target.name}_task",
    )


def _continuous(target: Continuous, core: Moments) -> tfrs.tasks.Ranking:
    return tfrs.tasks.Ranking(
        loss=_RowLoss(tf.math.squared_difference),
        metrics=[metrics.NRMSE(f"{target.name}_nrmse"), metrics.NMAE(core.mean, core.std, f"{target.name}_nmae")],
        name=f"{target.name}_task",
    )


class _RowLoss(tf.keras.losses.Loss):
    """A loss of one number per row; Keras' own losses average over the last axis, which is the batch here."""

    def __init__(self, function: Callable[..., tf.Tensor]) -> None:
        super().__init__(reduction=_PER_ROW)
        self._function = function

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return self._function(tf.cast(y_true, y_pred.dtype), y_pred)


_TASKS: dict[type, Callable[[Any, Moments], tfrs.tasks.Ranking]] = {
    Binary: _binary,
    Multiclass: _multiclass,
    Continuous: _continuous,
}
