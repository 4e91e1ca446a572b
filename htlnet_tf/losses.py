"""Each target's loss and streaming metrics, as the `tfrs.tasks.Ranking` of that target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tensorflow_recommenders as tfrs

from htlnet_tf import metrics
from htlnet_tf.data.statistics import Moments
from htlnet_tf.schema import Binary, Continuous, Multiclass

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


def training_scale(target: Continuous, statistics: Moments) -> Moments:
    """The shift and scale that the core is trained on: its moments, or 0 and 1 if it is not standardised."""
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
