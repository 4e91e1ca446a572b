"""Which rows take part in a target, with which weight, and what their losses come to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import tensorflow as tf

from htlnet_tf.objectives.objective import Objective


class RowLosses(NamedTuple):
    """A target's losses in a batch.

    Attributes:
      values: Each row's loss times its weight, float32 [B]; 0 for a row that takes no part.
      observed: 1 for a row that takes part, else 0, float32 [B]; None: every row does.
    """

    values: tf.Tensor
    observed: tf.Tensor | None

    @property
    def rows(self) -> tf.Tensor:
        """The number of rows that take part, a float32 scalar."""
        if self.observed is None:
            return tf.cast(tf.size(self.values), tf.float32)
        return tf.reduce_sum(self.observed)

    def mean(self, rows: tf.Tensor | None = None) -> tf.Tensor:
        """The sum of the weighted losses over the number of rows that take part, a scalar; 0 if none does.

        The divisor is a number of rows and not a sum of weights, as in Keras: a weight of 2 counts like two rows in the
        sum, and weights of a mean other than 1 change the size of the loss.

        Args:
          rows: Of a batch that these rows are a part of, the number of rows that take part, a float32 scalar; the
            result is this part's share of its mean. None: these rows are the batch.
        """
        return tf.reduce_sum(self.values) / tf.maximum(self.rows if rows is None else rows, 1.0)


class RowLoss(tf.keras.losses.Loss):
    """An objective's loss as Keras', one number per row; Keras' own losses average over the last axis.

    The train step averages, since Keras' own mean is refused under tf.distribute outside compile().

    Args:
      objective: Of the target.
    """

    def __init__(self, objective: Objective) -> None:
        super().__init__(reduction=tf.keras.losses.Reduction.NONE)
        self._objective = objective

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """The losses [B] of labels [B] in the objective's units and outputs [B] or [B, K]."""
        return self._objective.loss(y_true, y_pred)


class Part(NamedTuple):
    """The rows of a batch that take part in a target, with what stands elsewhere put out of harm's way.

    Attributes:
      labels: [B], 0 for a row that takes no part.
      outputs: [B] or [B, K], likewise.
      observed: 1 for a row that takes part, else 0, float32 [B]; None: every row does.
      weights: float32 [B]; None: 1 for all.
    """

    labels: tf.Tensor
    outputs: tf.Tensor
    observed: tf.Tensor | None
    weights: tf.Tensor | None

    def weighted(self, losses: tf.Tensor) -> RowLosses:
        """Losses per row, [B], times the weights."""
        return RowLosses(losses if self.weights is None else losses * self.weights, self.observed)


def taking_part(labels: tf.Tensor, outputs: tf.Tensor, weights: tf.Tensor | None) -> Part:
    """Leaves out the rows that take no part in a target.

    Args:
      labels: [B]; anything, NaN too, where the weight is 0.
      outputs: The tower's, [B] or [B, K].
      weights: float32 [B], 0 for a row that takes no part; None: every row takes part with weight 1.
    """
    if weights is None:
        return Part(labels, outputs, None, None)
    observed = tf.not_equal(weights, 0.0)
    wide = observed if outputs.shape.rank == 1 else observed[:, tf.newaxis]
    # Left out before the loss and not by its factor 0 alone: the gradient of a loss of NaN or infinity is NaN times 0.
    labels = tf.where(observed, labels, tf.zeros_like(labels))
    outputs = tf.where(wide, outputs, tf.zeros_like(outputs))
    return Part(labels, outputs, tf.cast(observed, tf.float32), tf.cast(weights, tf.float32))


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
