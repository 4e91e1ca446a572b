"""Streaming Keras metrics for `fit`; `htlnet_tf.judging.evaluation` has the exact ones over a whole split.

They judge predictions in the target's own unit, never what a tower puts out: what is trained is apart from what is
judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from htlnet_tf.objectives.sums import Sums


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


class Totals(Sums):
    """The sum of the labels and the sum of the predictions over all rows seen."""

    def __init__(self, name: str = "totals") -> None:
        super().__init__(["labels", "predictions"], name)

    def update_state(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None) -> None:
        """Adds rows: labels and predictions of shape [B], weights [B] or None."""
        self._add(sample_weight, labels=y_true, predictions=y_pred)

    def result(self) -> tf.Tensor:
        """Both, float64 [2]."""
        return tf.convert_to_tensor(self._vector)


class TermSums(Sums):
    """The sums of several terms over all rows seen.

    Args:
      number: Of the terms.
    """

    def __init__(self, number: int, name: str = "term_sums") -> None:
        super().__init__([f"term_{i}" for i in range(number)], name)

    def update_state(self, terms: tf.Tensor, sample_weight: tf.Tensor | None = None) -> None:
        """Adds rows: terms of shape [B, number], weights [B] or None."""
        columns = tf.unstack(terms, num=len(self._names), axis=1)
        self._add(sample_weight, **dict(zip(self._names, columns, strict=True)))

    def result(self) -> tf.Tensor:
        """All of them, float64 [number]."""
        return tf.convert_to_tensor(self._vector)


class NRMSE(Sums):
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
        sums = self._sums
        count = sums["count"]
        square = sums["y_squared"] / count
        variance = square - (sums["y"] / count) ** 2
        # What rounding leaves of the variance of constant labels is no spread.
        varied = tf.where(variance > 1e-12 * square, variance, float("nan"))
        return tf.sqrt(sums["error_squared"] / count / varied)


class NMAE(Sums):
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
        error, magnitude = tf.unstack(tf.convert_to_tensor(self._vector))
        return error / magnitude


class ConstantLoss(Sums):
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
        terms = {name: tf.cast(y == float(k), tf.float64) for k, name in enumerate(self._classes)}
        terms = terms or {"y": y, "y_squared": y * y}
        weighted = {name: weight * term for name, term in terms.items()}
        self._add(None, rows=weight != 0.0, weight=weight, **weighted)

    def result(self) -> tf.Tensor:
        """The loss, a float64 scalar; 0 for constant labels, or if no row takes part."""
        sums = self._sums
        weight = sums["weight"]
        if self._classes:
            counts = tf.stack([sums[name] for name in self._classes])
            total = -tf.reduce_sum(tf.math.xlogy(counts, tf.math.divide_no_nan(counts, weight)))
        else:
            square = sums["y_squared"]
            total = square - tf.math.divide_no_nan(sums["y"] ** 2, weight)
            total = tf.where(total > 1e-12 * square, total, 0.0)  # what rounding leaves of constant labels
        return tf.math.divide_no_nan(total, sums["rows"])


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
