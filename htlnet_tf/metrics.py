"""Streaming Keras metrics for `fit`; `htlnet_tf.evaluation` has the exact ones over a whole split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    """MAE(y, prediction) / mean(|y|) over all rows seen, in the target's own unit.

    Args:
      mean: Added back to standardised labels and predictions.
      std: Multiplied back.

    References:
      HTLNet (arXiv:2403.17442), section 4.1.
    """

    def __init__(self, mean: float = 0.0, std: float = 1.0, name: str = "nmae") -> None:
        super().__init__(["error", "magnitude"], name)
        self.mean, self.std = mean, std

    def update_state(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None) -> None:
        """Adds rows: labels and predictions of shape [B], weights [B] or None."""
        y, prediction = tf.cast(y_true, tf.float64), tf.cast(y_pred, tf.float64)
        self._add(sample_weight, error=tf.abs(y - prediction) * self.std, magnitude=tf.abs(y * self.std + self.mean))

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


class GradientStatistics(tf.keras.metrics.Metric):
    """Per task and step: the gradient's norm, its cosine with the core's, its coefficient, and whether it conflicts.

    The result is the mean over steps; of the conflicts (a negative cosine) it is the conflict rate, which the core does
    not have with itself. One variable holds all of them: a step adds one tensor rather than 4 T scalars.

    Args:
      tasks: Target names.
      core: Position of the core target; the last by default.
    """

    QUANTITIES = ("gradient_norm", "gradient_cosine", "gradient_coefficient", "gradient_conflict_rate")

    def __init__(self, tasks: Sequence[str], core: int = -1, name: str = "gradient_statistics") -> None:
        super().__init__(name=name)
        self.tasks, self.core = tuple(tasks), core % len(tasks)
        shape = [len(self.QUANTITIES), len(tasks)]
        self._total = self.add_weight(name="total", shape=shape, initializer="zeros")
        self._steps = self.add_weight(name="steps", initializer="zeros")
        self._last = self.add_weight(
            name="last", shape=shape, initializer="zeros", aggregation=tf.VariableAggregation.MEAN
        )

    def update_state(self, gram: tf.Tensor, coefficients: tf.Tensor) -> None:
        """Adds a step: the Gram matrix before the adjustment, float32 [T, T], and the coefficients, float32 [T]."""
        norms = tf.sqrt(tf.linalg.diag_part(gram))
        cosines = tf.math.divide_no_nan(gram[:, self.core], norms * norms[self.core])
        step = tf.stack([norms, cosines, coefficients, tf.cast(cosines < 0.0, tf.float32)])
        self._total.assign_add(step)
        self._steps.assign_add(1.0)
        self._last.assign(step)

    def reset_state(self) -> None:
        """Starts a new epoch."""
        for variable in self.variables:
            variable.assign(tf.zeros_like(variable))

    def result(self) -> dict[str, tf.Tensor]:
        """The means over steps, by `{task}_{quantity}`."""
        return self._named(tf.math.divide_no_nan(self._total, self._steps))

    @property
    def steps(self) -> int:
        """Steps added in this epoch."""
        return int(self._steps.numpy())

    def last_step(self) -> dict[str, float]:
        """The last step's values, by `{task}_{quantity}`; of the conflict rate 0 or 1."""
        return self._named(self._last.numpy().tolist())

    def write_summaries(self, step: tf.Tensor) -> None:
        """Writes the last step's values to the default summary writer, if there is one: `{quantity}/{task}`."""
        for task, quantity, i, j in self._cells():
            tf.summary.scalar(f"{quantity}/{task}", self._last[i, j], step=step)

    def _named(self, table: Any) -> dict[str, Any]:
        return {f"{task}_{quantity}": table[i][j] for task, quantity, i, j in self._cells()}

    def _cells(self) -> Iterator[tuple[str, str, int, int]]:
        """Task, quantity and their place in the table."""
        for j, task in enumerate(self.tasks):
            for i, quantity in enumerate(self.QUANTITIES):
                if j != self.core or quantity != "gradient_conflict_rate":
                    yield task, quantity, i, j


class AUC(tf.keras.metrics.AUC):
    """A streaming AUC from logits, by 1000 buckets of equal width in the logit from -16 to 16.

    Buckets of the probability, Keras' own, put nearly all rows of a rare event into one. Undefined (NaN) as long as the
    rows seen are of one class; Keras' own says 0 then.
    """

    _RANGE = 16.0

    def __init__(self, name: str = "auc") -> None:
        super().__init__(num_thresholds=1000, name=name)

    def update_state(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None) -> Any:
        """Adds rows: labels and logits of shape [B], weights [B] or None."""
        # The AUC depends on the order of the predictions alone, so any increasing map to [0, 1] serves.
        position = (tf.clip_by_value(y_pred, -self._RANGE, self._RANGE) + self._RANGE) / (2.0 * self._RANGE)
        return super().update_state(y_true, position, sample_weight)

    def result(self) -> tf.Tensor:
        """The metric, a float32 scalar."""
        positives = self.true_positives[0] + self.false_negatives[0]
        negatives = self.true_negatives[0] + self.false_positives[0]
        return tf.where((positives > 0) & (negatives > 0), super().result(), float("nan"))
