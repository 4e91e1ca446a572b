"""Streaming metrics that are sums over rows, whatever batches the rows come in."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


class Vector(tf.keras.metrics.Metric):
    """A metric whose whole state is one vector in float64.

    A step of training has a handful of metrics per target, and each variable and operation counts.

    Args:
      size: Of the vector.
    """

    def __init__(self, size: int, name: str) -> None:
        super().__init__(name=name, dtype=tf.float64)
        self._vector = self.add_weight(name="sums", shape=[size], initializer="zeros", dtype=tf.float64)

    def reset_state(self) -> None:
        """Begins anew."""
        self._vector.assign(tf.zeros(self._vector.shape, tf.float64))


class Sums(Vector):
    """Sums over rows in float64, so that the order and the size of batches do not show in the result.

    Args:
      names: What the sums are called.
    """

    def __init__(self, names: Sequence[str], name: str) -> None:
        super().__init__(len(names), name)
        self._names = tuple(names)

    def _add(self, sample_weight: tf.Tensor | None, **values: tf.Tensor) -> None:
        """Adds rows: what is summed, [B] each, and weights [B] or None."""
        rows = tf.stack([tf.cast(values[name], tf.float64) for name in self._names])
        if sample_weight is not None:
            rows *= tf.cast(sample_weight, tf.float64)
        self._vector.assign_add(tf.reduce_sum(rows, axis=1))

    @property
    def _sums(self) -> dict[str, tf.Tensor]:
        return dict(zip(self._names, tf.unstack(tf.convert_to_tensor(self._vector)), strict=True))


class Mean(Sums):
    """The mean of numbers over all rows seen; 0 if there were none."""

    def __init__(self, name: str = "mean") -> None:
        super().__init__(["values", "rows"], name)

    def update_state(self, values: tf.Tensor, sample_weight: tf.Tensor | None = None) -> None:
        """Adds rows: numbers [B], weights [B] or None."""
        self._add(sample_weight, values=values, rows=tf.ones_like(values))

    def result(self) -> tf.Tensor:
        """The mean, a float64 scalar."""
        sums = self._sums
        return tf.math.divide_no_nan(sums["values"], sums["rows"])
