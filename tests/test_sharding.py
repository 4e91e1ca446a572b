"""Shards of a table against the table, without servers: rows, gradients and steps of LazyAdam."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import htlnet_tf as htl
from htlnet_tf.layers.shared_embedding import SharedEmbedding
from htlnet_tf.optimizers.lazy_adam import _rows_are_distinct
from htlnet_tf.sharding import by_shard, look_up, makes_a_table, shards_of

ROWS, DIM = 11, 3
VALUES = np.arange(ROWS * DIM, dtype=np.float32).reshape(ROWS, DIM)
BOUNDS = [0, 4, 8, 11]  # "div": the first shards have the rows that are left over


def sharded() -> Any:
    """The table in three shards, as parameter servers have it."""
    spans = enumerate(itertools.pairwise(BOUNDS))
    parts = [tf.Variable(VALUES[a:b], name=f"table/part_{i}") for i, (a, b) in spans]
    return tf.__internal__.distribute.ShardedVariable(parts)


def test_rows_are_looked_up_where_they_are() -> None:
    table, ids = sharded(), np.array([[10, 0, 4], [3, 3, 8]])
    for read in (look_up, tf.function(look_up)):
        np.testing.assert_array_equal(read(table, tf.constant(ids)), VALUES[ids])
        np.testing.assert_array_equal(read(tf.Variable(VALUES), tf.constant(ids)), VALUES[ids])
    assert look_up(table, tf.zeros([0, 2], tf.int32)).shape == (0, 2, DIM)


def test_a_look_up_does_not_put_the_table_together() -> None:
    graph = tf.function(look_up).get_concrete_function(sharded(), tf.TensorSpec([None], tf.int32)).graph
    assert "ReadVariableOp" not in {operation.type for operation in graph.get_operations()}


def test_rows_of_each_shard_are_counted_from_its_own_first() -> None:
    rows = tf.constant([9, 3, 4, 0, 10])
    parts = by_shard(sharded(), tf.IndexedSlices(tf.constant(VALUES)[:5], rows))
    assert [part.indices.numpy().tolist() for part in parts] == [[3, 0], [0], [1, 2]]
    assert [part.values.numpy()[:, 0].tolist() for part in parts] == [[3.0, 9.0], [6.0], [0.0, 12.0]]
    assert [part.dense_shape.numpy().tolist() for part in parts] == [[4, 3], [4, 3], [3, 3]]
    whole = tf.IndexedSlices(tf.constant(VALUES)[:5], rows)
    assert by_shard(tf.Variable(VALUES), whole) == [whole]


def layer_of(table: Any) -> SharedEmbedding:
    layer = SharedEmbedding(ROWS, [1, 2], DIM, pooling=["mean", "max"])
    layer(tf.zeros([1, 3], tf.int32))
    layer.table = table
    return layer


def test_lazy_adam_makes_the_steps_that_it_makes_on_one_table() -> None:
    batches = np.random.default_rng(0).integers(0, ROWS, [6, 4, 3])
    trained = []
    for table in (tf.Variable(VALUES), sharded()):
        layer, optimizer = layer_of(table), htl.LazyAdam(0.1)
        optimizer.build(layer.tables)

        @tf.function
        def step(ids: tf.Tensor, layer: Any = layer, optimizer: Any = optimizer) -> None:
            touched = layer.touched(ids)
            embedded = layer.embed(touched)
            gradients = layer.row_gradients(touched, [tf.sin(embedded), tf.cos(embedded)])
            slices = layer.combine(touched, gradients, tf.constant([0.5, 2.0]), l2=0.01)
            assert all(_rows_are_distinct(part) for part in slices)  # or they would be summed once more
            optimizer.apply_gradients(zip(slices, layer.tables, strict=True))

        for ids in batches:
            step(tf.constant(ids, tf.int32))
        trained.append([np.concatenate([v.numpy() for v in group]) for group in _states(layer, optimizer)])
    for one, many in zip(*trained, strict=True):
        np.testing.assert_allclose(many, one, rtol=1e-6, atol=1e-7)
    assert not np.array_equal(trained[0][0], VALUES)


def _states(layer: Any, optimizer: Any) -> list[list[tf.Variable]]:
    """The table, first and second moments, by shard."""
    slots = [optimizer.slots(table) for table in layer.tables]
    return [list(layer.tables), [m for m, _ in slots], [v for _, v in slots]]


@pytest.mark.parametrize("repeated", ["gathered", "with an offset each"])
def test_rows_that_may_occur_twice_are_not_taken_for_distinct(repeated: str) -> None:
    @tf.function
    def distinct(ids: tf.Tensor) -> tf.Tensor:
        unique, inverse = tf.unique(ids)
        rows = tf.gather(unique, inverse) if repeated == "gathered" else unique - tf.range(tf.size(unique))
        parts = by_shard(sharded_rows, tf.IndexedSlices(tf.zeros([tf.size(rows), DIM]), rows))
        return tf.constant([_rows_are_distinct(part) for part in parts])

    sharded_rows = sharded()
    assert not distinct(tf.constant([1, 1, 9])).numpy().any()


def test_the_partitioner_splits_tables_by_size_and_nothing_else() -> None:
    split = htl.TablePartitioner(4, min_shard_bytes=1000)
    shape = tf.TensorShape([1000, 1])
    assert split(shape, tf.float32) == [1, 1]
    with makes_a_table():
        assert split(shape, tf.float32) == [4, 1]
        assert split(tf.TensorShape([500, 1]), tf.float32) == [2, 1]
        assert split(tf.TensorShape([100, 1]), tf.float32) == [1, 1]
    assert split(shape, tf.float32) == [1, 1]


@pytest.mark.parametrize("arguments", [{"shards": 0}, {"shards": 2, "min_shard_bytes": 0}])
def test_a_partitioner_without_a_part_is_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1, received"):
        htl.TablePartitioner(**arguments)


def test_a_variable_is_its_own_only_shard() -> None:
    variable = tf.Variable(VALUES)
    assert shards_of(variable) == (variable,)
    assert len(shards_of(sharded())) == 3
