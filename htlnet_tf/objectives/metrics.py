"""Streaming Keras metrics for `fit`; `htlnet_tf.judging.evaluation` has the exact ones over a whole split.

They judge predictions in the target's own unit, never what a tower puts out: what is trained is apart from what is
judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


class Total(tf.keras.metrics.Metric):
    """The sum of other metrics' results; it keeps nothing of its own, and what updates and resets those does this one.

    Args:
      parts: The metrics that are added up.
    """

    def __init__(self, parts: Sequence[tf.keras.metrics.Metric], name: str) -> None:
        super().__init__(name=name)
        # In a function, or Keras would track each part here and in the model.
        self._results = lambda: [part.result() for part in parts]

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Does nothing."""

    def reset_state(self) -> None:
        """Does nothing."""

    def result(self) -> tf.Tensor:
        """The sum, a scalar."""
        return tf.add_n(self._results())


class _Sums(tf.keras.metrics.Metric):
    """Sums over rows in float64, so that the order and the size of batches do not show in the result."""

    def __init__(self, names: Sequence[str], name: str) -> None:
        super().__init__(name=name, dtype=tf.float64)
        self._sums = {key: self.add_weight(name=key, initializer="zeros", dtype=tf.float64) for key in names}

    def _add(self, sample_weight: tf.Tensor | None, **values: tf.Tensor) -> None:
        for key, value in values.items():
            weighted = value if sample_weight is None else value * tf.cast(sample_weight, tf.float64)
            self._sums[key].assign_add(tf.reduce_sum(weighted))


class Totals(_Sums):
    """The sum of the labels and the sum of the predictions over all rows seen."""

    def __init__(self, name: str = "totals") -> None:
        super().__init__(["labels", "predictions"], name)

    def update_state(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None) -> None:
        """Adds rows: labels and predictions of shape [B], weights [B] or None."""
        self._add(sample_weight, labels=tf.cast(y_true, tf.float64), predictions=tf.cast(y_pred, tf.float64))

    def result(self) -> tf.Tensor:
        """Both, float64 [2]."""
        return tf.stack([self._sums["labels"], self._sums["predictions"]])


class TermSums(_Sums):
    """The sums of several terms over all rows seen.

    Args:
      number: Of the terms.
    """

    def __init__(self, number: int, name: str = "term_sums") -> None:
        super().__init__([f"term_{i}" for i in range(number)], name)

    def update_state(self, terms: tf.Tensor, sample_weight: tf.Tensor | None = None) -> None:
        """Adds rows: terms of shape [B, number], weights [B] or None."""
        columns = tf.unstack(tf.cast(terms, tf.float64), num=len(self._sums), axis=1)
        self._add(sample_weight, **dict(zip(self._sums, columns, strict=True)))

    def result(self) -> tf.Tensor:
        """All of them, float64 [number]."""
        return tf.stack(list(self._sums.values()))


class NRMSE(_Sums):
    """RMSE(y, prediction) / std(y) over all rows seen; the same in any unit, so the standardised scale serves.

    References:
      HTLNet (arXiv:2403.17442), section 4.1, with std(y) of the rows that are judged.
    """

    def __init__(self, name: str = "nrmse") -> None:
        super().__init__(["count", "y", "y_squared", "error_squared"], name)

    def update_state(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None) -> None:
        """Adds rows: labels and predictions of shape [B], weights [B] or None."""
        y, prediction = tf.cast(y_true, tf.float64), tf.cast(y_pred, tf.float64)
        self._add(
            sample_weight,
            count=tf.ones_like(y),
            y=y,
            y_squared=y * y,
            error_squared=tf.math.squared_difference(y, prediction),
        )

    def result(self) -> tf.Tensor:
        """The metric, a float64 scalar; NaN for constant labels."""
        count = self._sums["count"]
        square = self._sums["y_squared"] / count
        variance = square - (self._sums["y"] / count) ** 2
        # What rounding leaves of the variance of constant labels is no spread.
        varied = tf.where(variance > 1e-12 * square, variance, float("nan"))
        return tf.sqrt(self._sums["error_squared"] / count / varied)


class NMAE(_Sums):
    """MAE(y, prediction) / mean(|y|) over all rows seen, of labels and predictions in the target's own unit.

    References:
      HTLNet (arXiv:2403.17442), section 4.1.
    """

    def __init__(self, name: str = "nmae") -> None:
        super().__init__(["error", "magnitude"], name)

    def update_state(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None) -> None:
        """Adds rows: labels and predictions of shape [B], weights [B] or None."""
        y, prediction = tf.cast(y_true, tf.float64), tf.cast(y_pred, tf.float64)
        self._add(sample_weight, error=tf.abs(y - prediction), magnitude=tf.abs(y))

    def result(self) -> tf.Tensor:
        """The metric, a float64 scalar; NaN if every label is 0."""
        return self._sums["error"] / self._sums["magnitude"]


class ConstantLoss(_Sums):
    """The loss that the best constant prediction has on the rows seen, averaged as a target's own loss is.

    The entropy of the labels for classes, their variance for a number; a weight multiplies a row's loss, and the
    divisor is the number of rows that take part.

    Args:
      num_classes: Of the labels, 2 for a binary target; None: the labels are numbers, the loss is the squared error.
    """

    def __init__(self, num_classes: int | None, name: str = "constant_loss") -> None:
        self._classes = [f"class_{k}" for k in range(num_classes or 0)]
        super().__init__(["rows", "weight", *(self._classes or ("y", "y_squared"))], name)

    def update_state(self, y_true: tf.Tensor, sample_weight: tf.Tensor | None = None) -> None:
        """Adds rows: labels [B] on the trained scale, anything where the weight is 0; weights [B] or None."""
        y = tf.cast(y_true, tf.float64)
        weight = tf.ones_like(y) if sample_weight is None else tf.cast(sample_weight, tf.float64)
        y = tf.where(weight != 0.0, y, 0.0)  # 0 times NaN is NaN
        self._add(None, rows=tf.cast(weight != 0.0, tf.float64))
        sums = {name: tf.cast(y == float(k), tf.float64) for k, name in enumerate(self._classes)}
        self._add(weight, weight=tf.ones_like(y), **(sums or {"y": y, "y_squared": y * y}))

    def result(self) -> tf.Tensor:
        """The loss, a float64 scalar; 0 for constant labels, or if no row takes part."""
        weight = self._sums["weight"]
        if self._classes:
            counts = tf.stack([self._sums[name] for name in self._classes])
            total = -tf.reduce_sum(tf.math.xlogy(counts, tf.math.divide_no_nan(counts, weight)))
        else:
            square = self._sums["y_squared"]
            total = square - tf.math.divide_no_nan(self._sums["y"] ** 2, weight)
            total = tf.where(total > 1e-12 * square, total, 0.0)  # what rounding leaves of constant labels
        return tf.math.divide_no_nan(total, self._sums["rows"])


class RelativeLoss(tf.keras.metrics.Metric):
    """The mean over targets of the loss divided by that of the best constant prediction.

    It is the normalised cross entropy of a binary target and NRMSE^2 of the core, so every target counts alike whatever
    the scale of its loss; a target whose labels are constant is left out. 1: no better than knowing the averages. Like
    `Total` it keeps nothing of its own.

    Args:
      losses: Of each target, the metric of its mean loss.
      constants: Of each target, its `ConstantLoss`.

    References:
      He et al.: "Practical Lessons from Predicting Clicks on Ads at Facebook", ADKDD 2014, section 3 (normalised
      entropy).
    """

    def __init__(
        self, losses: Sequence[tf.keras.metrics.Metric], constants: Sequence[ConstantLoss], name: str = "relative_loss"
    ) -> None:
        super().__init__(name=name)
        # In a function, as in Total.
        self._ratios = lambda: [
            (tf.cast(loss.result(), tf.float64), constant.result())
            for loss, constant in zip(losses, constants, strict=True)
        ]

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Does nothing."""

    def reset_state(self) -> None:
        """Does nothing."""

    def result(self) -> tf.Tensor:
        """The metric, a float64 scalar; NaN if the labels of every target are constant."""
        losses, constants = (tf.stack(values) for values in zip(*self._ratios(), strict=True))
        varied = tf.reduce_sum(tf.cast(constants > 0.0, tf.float64))
        ratios = tf.reduce_sum(tf.math.divide_no_nan(losses, constants))
        return tf.where(varied > 0.0, ratios / varied, float("nan"))


class AUC(tf.keras.metrics.AUC):
    """A streaming AUC from probabilities, by 1000 buckets of equal width in the logit from -16 to 16.

    Buckets of the probability, Keras' own, put nearly all rows of a rare event into one. Undefined (NaN) as long as the
    rows seen are of one class; Keras' own says 0 then.
    """

    _RANGE = 16.0

    def __init__(self, name: str = "auc") -> None:
        super().__init__(num_thresholds=1000, name=name)

    def update_state(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None) -> Any:
        """Adds rows: labels and probabilities of shape [B], weights [B] or None."""
        # The AUC depends on the order of the predictions alone, so any increasing map to [0, 1] serves.
        logit = tf.math.log(y_pred) - tf.math.log1p(-y_pred)  # infinite at 0 and 1, which is clipped
        position = (tf.clip_by_value(logit, -self._RANGE, self._RANGE) + self._RANGE) / (2.0 * self._RANGE)
        return super().update_state(y_true, position, sample_weight)

    def result(self) -> tf.Tensor:
        """The metric, a float32 scalar."""
        positives = self.true_positives[0] + self.false_negatives[0]
        negatives = self.true_negatives[0] + self.false_positives[0]
        return tf.where((positives > 0) & (negatives > 0), super().result(), float("nan"))
