"""What `fit` shows of the tasks' gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf


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
        # The same on all replicas.
        of_first = tf.VariableAggregation.ONLY_FIRST_REPLICA
        self._total = self.add_weight(name="total", shape=shape, initializer="zeros", aggregation=of_first)
        self._steps = self.add_weight(name="steps", initializer="zeros", aggregation=of_first)
        self._last = self.add_weight(name="last", shape=shape, initializer="zeros", aggregation=of_first)

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
        return self._named(_cells_of(tf.math.divide_no_nan(self._total, self._steps)))

    @property
    def steps(self) -> int:
        """Steps added in this epoch."""
        return int(self._steps.numpy())

    def last_step(self) -> dict[str, float]:
        """The last step's values, by `{task}_{quantity}`; of the conflict rate 0 or 1."""
        return self._named(self._last.numpy().tolist())

    def write_summaries(self, step: tf.Tensor) -> None:
        """Writes the last step's values to the default summary writer, if there is one: `{quantity}/{task}`."""
        last = _cells_of(tf.convert_to_tensor(self._last))
        for task, quantity, i, j in self._cells():
            tf.summary.scalar(f"{quantity}/{task}", last[i][j], step=step)

    def _named(self, table: Any) -> dict[str, Any]:
        return {f"{task}_{quantity}": table[i][j] for task, quantity, i, j in self._cells()}

    def _cells(self) -> Iterator[tuple[str, str, int, int]]:
        """Task, quantity and their place in the table."""
        for j, task in enumerate(self.tasks):
            for i, quantity in enumerate(self.QUANTITIES):
                if j != self.core or quantity != "gradient_conflict_rate":
                    yield task, quantity, i, j


def _cells_of(table: tf.Tensor) -> list[list[tf.Tensor]]:
    """The scalars of a table, by one operation: a slice for each would be five."""
    rows, columns = table.shape
    cells = tf.unstack(tf.reshape(table, [-1]))
    return [cells[i * columns : (i + 1) * columns] for i in range(rows)]
