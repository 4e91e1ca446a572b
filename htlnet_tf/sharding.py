"""Tables that lie in shards: which variables are split over parameter servers, and the rows of a table in its shards.

A shard is a variable of its own, with a contiguous part of the table's rows ("div"); the first of them have one row
more where the rows do not divide evenly.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, Union

import tensorflow as tf

Table = Union[tf.Variable, Any]
"""A variable, or TensorFlow's `ShardedVariable`, for which there is no public name."""

_MAKES_A_TABLE: ContextVar[bool] = ContextVar("_MAKES_A_TABLE", default=False)


class TablePartitioner(tf.distribute.experimental.partitioners.Partitioner):
    """Splits embedding tables over parameter servers, by rows, and leaves all other weights whole.

    TensorFlow's own partitioners know the shape of a variable alone, and would split the kernel of a wide tower too, to
    be sent together again for each step.

    Args:
      shards: Parts that a table is split into, at most; the number of parameter servers, as a rule.
      min_shard_bytes: A table has fewer shards, or is not split at all, where they would have less than that.

    Example:
      >>> strategy = tf.distribute.ParameterServerStrategy(resolver, variable_partitioner=htl.TablePartitioner(2))
    """

    def __init__(self, shards: int, *, min_shard_bytes: int = 256 << 10) -> None:
        if shards < 1 or min_shard_bytes < 1:
            raise ValueError(f"shards and min_shard_bytes must be at least 1, received {shards} and {min_shard_bytes}")
        self._by_size = tf.distribute.experimental.partitioners.MinSizePartitioner(min_shard_bytes, shards)

    def __call__(self, shape: tf.TensorShape, dtype: tf.DType, axis: int = 0) -> list[int]:
        """Parts of a variable along each axis."""
        if not _MAKES_A_TABLE.get():
            return [1] * shape.rank
        return list(self._by_size(shape, dtype, axis))


@contextlib.contextmanager
def makes_a_table() -> Iterator[None]:
    """A variable that is made within may be split."""
    token = _MAKES_A_TABLE.set(True)
    try:
        yield
    finally:
        _MAKES_A_TABLE.reset(token)


def shards_of(table: Table) -> tuple[tf.Variable, ...]:
    """The variables that a table consists of, in the order of its rows: itself where it is not split."""
    return tuple(table.variables) if getattr(table, "is_sharded_variable", False) else (table,)


def look_up(table: Table, ids: tf.Tensor) -> tf.Tensor:
    """The rows of a table, each read where it is and no others: [...] -> [..., d].

    Args:
      table: [rows, d], in one or more shards.
      ids: Integers of any shape.
    """
    shards = shards_of(table)
    if len(shards) == 1:
        return tf.gather(shards[0], ids)
    return tf.nn.embedding_lookup(list(shards), ids)


def by_shard(table: Table, slices: tf.IndexedSlices) -> list[tf.IndexedSlices]:
    """Rows of a table as rows of each of its shards.

    Args:
      table: [rows, d], in one or more shards.
      slices: Of the table's rows.

    Returns:
      Per shard, those that lie in it, counted from its own first row; distinct where they were.
    """
    shards = shards_of(table)
    if len(shards) == 1:
        return [slices]
    sizes = [int(shard.shape[0]) for shard in shards]
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    rows = slices.indices
    places = tf.searchsorted(tf.constant(starts, rows.dtype), rows, side="right") - 1
    own_rows = tf.dynamic_partition(rows, places, len(shards))
    own_values = tf.dynamic_partition(slices.values, places, len(shards))
    return [
        tf.IndexedSlices(values, indices - start, dense_shape=tf.constant(shard.shape.as_list()))
        for shard, start, indices, values in zip(shards, starts, own_rows, own_values, strict=True)
    ]
