"""The pooling of looked-up rows, field by field, and its transpose."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from htlnet_tf.encoding.layout import PADDING_ROW
from htlnet_tf.schema.features import Pooling


class _Run(NamedTuple):
    """Neighbouring fields that are alike, so that one operation does for all of them."""

    fields: int
    slots: int
    pooling: Pooling

    @property
    def is_max(self) -> bool:
        return self.slots > 1 and self.pooling == "max"

    def used(self, ids: tf.Tensor) -> tf.Tensor:
        """Which slots hold a value: [B, n * s] -> float32 [B, n, s, 1]."""
        return tf.cast(tf.reshape(tf.not_equal(ids, PADDING_ROW), [-1, self.fields, self.slots, 1]), tf.float32)

    def split(self, rows: tf.Tensor) -> tf.Tensor:
        """[B, n * s, d] -> [B, n, s, d]."""
        return tf.reshape(rows, [-1, self.fields, self.slots, rows.shape[-1]])

    def pool(self, rows: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """[B, n * s, d] -> [B, n, d]."""
        if self.slots == 1:
            return rows
        if self.is_max:
            return self.maximum(rows, ids)[:, :, 0]
        return tf.reduce_sum(self.split(rows) * self.weights(rows, ids), axis=2)

    def maximum(self, rows: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """The largest used component: [B, n * s, d] -> [B, n, 1, d]; 0 where no slot is used."""
        used = self.used(ids)
        largest = tf.reduce_max(tf.where(used > 0.0, self.split(rows), rows.dtype.min), axis=2, keepdims=True)
        return tf.where(tf.reduce_any(used > 0.0, axis=2, keepdims=True), largest, 0.0)

    def weights(self, rows: tf.Tensor | None, ids: tf.Tensor) -> tf.Tensor:
        """The derivative of the pooled row by each slot's: float32 [B, n, s, 1], or [B, n, s, d] of a maximum."""
        used = self.used(ids)
        if self.pooling == "sum":
            return used
        if self.is_max:
            used *= tf.cast(tf.equal(self.split(rows), self.maximum(rows, ids)), tf.float32)
        # Mean: 1 / used slots. Maximum: equal shares for equal components, as in the gradient of reduce_max.
        return used / tf.maximum(tf.reduce_sum(used, axis=2, keepdims=True), 1.0)

    def spread(self, gradient: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """The gradient at the slots: [B, n, d] -> [B, n * s, d]."""
        return tf.reshape(gradient[:, :, tf.newaxis] * weights, [-1, self.fields * self.slots, gradient.shape[-1]])


class FieldPooling:
    """Pools the rows that the fields of one table look up.

    With r_j the row in slot j of a field and J its used slots, component by component:

        mean: e = sum_J r_j / |J|        sum: e = sum_J r_j        max: e = max_J r_j

    In each case de/dr_j = w_j: 1 / |J|, 1, or for the maximum 1 / (number of slots that attain it), which is 0 for the
    others. A value that stands twice in a list fills two slots. A field with one slot is its row.

    Args:
      slots: Looked-up rows per field.
      pooling: Per field `"mean"`, `"sum"` or `"max"`.
    """

    def __init__(self, slots: Sequence[int], pooling: Sequence[Pooling]) -> None:
        # The pooling of a single row is the row, so all such fields are alike.
        kinds = [(s, p if s > 1 else "mean") for s, p in zip(slots, pooling, strict=True)]
        self._runs = [_Run(len(list(run)), *kind) for kind, run in itertools.groupby(kinds)]
        #: Whether every field has one slot, so that there is nothing to pool.
        self.is_identity = all(run.slots == 1 for run in self._runs)
        #: Whether weights depend on the rows.
        self.has_max = any(run.is_max for run in self._runs)
        # Per row of `expand`, the slots that take their gradient from it: one of a maximum, all of another field.
        repeats = [n for run in self._runs for n in ([1] * run.slots if run.is_max else [run.slots]) * run.fields]
        #: Per slot, the row of `expand` that its gradient comes from.
        self.expanded_of_slot = np.repeat(np.arange(len(repeats), dtype=np.int32), repeats)
        #: Rows per impression of `expand`.
        self.num_expanded = len(repeats)

    def pool(self, rows: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """Looked-up rows -> one per field: float32 [B, S, d] and int32 [B, S] -> [B, F, d]."""
        if self.is_identity:
            return rows
        parts = zip(self._runs, self._by_slots(rows), self._by_slots(ids), strict=True)
        return _concat([run.pool(part, part_ids) for run, part, part_ids in parts])

    def weights(self, rows: tf.Tensor | None, ids: tf.Tensor) -> list[tf.Tensor]:
        """The derivatives w_j, per run of fields that are alike.

        Args:
          rows: float32 [B, S, d]; needed where `has_max`.
          ids: int32 [B, S].
        """
        parts = [None] * len(self._runs) if rows is None else self._by_slots(rows)
        runs = zip(self._runs, parts, self._by_slots(ids), strict=True)
        return [tf.ones_like(i, tf.float32) if run.slots == 1 else run.weights(part, i) for run, part, i in runs]

    def scalar_weights(self, weights: Sequence[tf.Tensor]) -> tf.Tensor:
        """Per slot, the factor between a row of `expand` and its gradient: float32 [B, S]; 1 where that has w_j."""
        parts = []
        for run, weight in zip(self._runs, weights, strict=True):
            scalars = tf.ones_like(weight[..., 0]) if run.is_max else weight
            parts.append(tf.reshape(scalars, [-1, run.fields * run.slots]))
        return _concat(parts)

    def expand(self, gradient: tf.Tensor, weights: Sequence[tf.Tensor]) -> tf.Tensor:
        """The gradient at the slots of a maximum, for which no scalar does: [B, F, d] -> [B, num_expanded, d]."""
        return self._spread(gradient, weights, [run.is_max for run in self._runs])

    def transpose(self, gradient: tf.Tensor, weights: Sequence[tf.Tensor]) -> tf.Tensor:
        """The gradient at every looked-up row: [B, F, d] -> [B, S, d]."""
        return self._spread(gradient, weights, [run.slots > 1 for run in self._runs])

    def _spread(self, gradient: tf.Tensor, weights: Sequence[tf.Tensor], chosen: Sequence[bool]) -> tf.Tensor:
        """Puts the gradient at every slot of the chosen runs, and leaves the others as they are."""
        parts = _split(gradient, [run.fields for run in self._runs])
        runs = zip(self._runs, parts, weights, chosen, strict=True)
        return _concat([run.spread(part, weight) if at_slots else part for run, part, weight, at_slots in runs])

    def _by_slots(self, values: tf.Tensor) -> list[tf.Tensor]:
        return _split(values, [run.fields * run.slots for run in self._runs])


def _split(values: tf.Tensor, sizes: Sequence[int]) -> list[tf.Tensor]:
    return [values] if len(sizes) == 1 else tf.split(values, sizes, axis=1)


def _concat(parts: Sequence[tf.Tensor]) -> tf.Tensor:
    return parts[0] if len(parts) == 1 else tf.concat(parts, axis=1)
