"""Rows -> a `tf.data.Dataset` of encoded batches, fast enough to stay ahead of the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from htlnet_tf.data.stream import Stream
from htlnet_tf.encoding.encoded import EncodedRows, Rows, encode_rows
from htlnet_tf.encoding.passes import Passes, remember
from htlnet_tf.encoding.streaming import stream_dataset
from htlnet_tf.errors import InputError
from htlnet_tf.schema import Schema, require_same_schema

if TYPE_CHECKING:
    from htlnet_tf.encoding.encoder import FeatureEncoder


def make_dataset(
    rows: Rows | EncodedRows,
    schema: Schema,
    encoder: FeatureEncoder,
    *,
    batch_size: int = 1024,
    shuffle: bool = False,
    seed: int | None = None,
    drop_remainder: bool = False,
    cache: bool | None = None,
    shuffle_buffer: int = 262_144,
    num_shards: int = 1,
    shard_index: int = 0,
    training: bool | None = None,
) -> tf.data.Dataset:
    """Encodes and batches rows.

    Rows in memory (a frame, or a stream with `cache`) are encoded once, up front, and kept as ids; an epoch shuffles
    row *numbers* and gathers a batch at a time, which is an order of magnitude faster than shuffling and batching rows.

    A stream without `cache` is read and encoded anew in each epoch, in chunks; shuffling visits the files in a random
    order and passes the rows through a buffer, so rows that lie further apart than the buffer keep their order. Files
    that are themselves sorted, by user say, want a buffer larger than such a group.

    Args:
      rows: Logged impressions with the features and the targets: a frame, or the stream of `open_stream`; or rows that
        `encoder` has encoded already.
      schema: The declared columns.
      encoder: Fitted on the training rows, for the same schema.
      batch_size: Rows per batch.
      shuffle: Visit the rows in a new random order each epoch.
      seed: Makes the orders reproducible: that of the n-th time that the dataset is iterated is a function of the seed
        and n. None: one that is drawn from `tf.random.set_seed`'s.
      drop_remainder: Leave out the last batch if it is smaller; all batches then have the static size `batch_size`.
      cache: Keep the encoded rows in memory (some 200 bytes per row); None: those of a frame, not those of a stream.
      shuffle_buffer: Rows in the buffer of a stream that is not cached.
      num_shards: Workers that share the rows of a stream; 1: each reads all of them and takes its part of every batch.
      shard_index: Which of them this one is: it has every `num_shards`-th file, or, where there are fewer files than
        workers, a part of each, see `Stream.shard`.
      training: The rows are those that the encoder was fitted on, for a model to learn from: history statistics leave
        out a row's own label. None: as `shuffle`.

    Returns:
      A dataset of pairs (features, targets), or of triples with weights where labels are masked or rows weighted, and
      always for a stream that is not cached. Features: `"ids"` int32 [B, num_slots] and `"numeric"` float32
      [B, num_numeric]. Targets, by name: float32 [B], or int32 [B] for `Multiclass`; the core in its own unit. Weights,
      by target name: float32 [B], see `htlnet_tf.data.labels.label_values`.

    Raises:
      InputError: A column is missing or holds a value its kind does not allow, there are no rows, or the
        encoder was fitted for another schema. What is wrong with a stream that is not cached
        shows while it is read; `fit` of the models raises it.

    Example:
      >>> strategy.distribute_datasets_from_function(
      ...     lambda context: make_dataset(stream, schema, encoder, num_shards=context.num_input_pipelines,
      ...                                  shard_index=context.input_pipeline_id))
    """
    if batch_size < 1 or shuffle_buffer < 1:
        raise InputError(f"batch_size and shuffle_buffer must be at least 1, received {batch_size}, {shuffle_buffer}")
    require_same_schema(schema, encoder.schema)
    is_training = shuffle if training is None else training
    if not isinstance(rows, Stream):
        if num_shards != 1 or cache is False:
            raise InputError("num_shards and cache=False are for streams; received rows in memory")
        encoded = rows if isinstance(rows, EncodedRows) else encode_rows(rows, encoder, training=is_training)
        return _in_memory(encoded, batch_size, shuffle, seed, drop_remainder)
    stream, files = dataclasses.replace(rows, schema=encoder.schema).shard(num_shards, shard_index)
    if cache:
        if num_shards != 1:
            raise InputError("cache keeps all rows, so it takes no shards; shard the stream or leave cache out")
        return _in_memory(encode_rows(stream, encoder, training=is_training), batch_size, shuffle, seed, drop_remainder)
    return stream_dataset(
        stream,
        encoder,
        batch_size=batch_size,
        shuffle_buffer=shuffle_buffer if shuffle else 0,
        seed=seed,
        drop_remainder=drop_remainder,
        files=files,
        training=is_training,
        whole=num_shards == 1,
    )


def _in_memory(
    encoded: EncodedRows, batch_size: int, shuffle: bool, seed: int | None, drop_remainder: bool
) -> tf.data.Dataset:
    # The input pipeline runs on the host; pinning the rows there keeps them out of a GPU's memory.
    with tf.device("/CPU:0"):
        rows = tf.nest.map_structure(tf.constant, encoded.tree)
    num_rows = len(encoded)
    num_batches = num_rows // batch_size if drop_remainder else -(-num_rows // batch_size)
    if num_batches == 0:
        raise InputError(f"drop_remainder leaves no batch: {num_rows} rows, batch_size {batch_size}")
    passes = Passes(seed if shuffle else 0, num_batches)

    def batch(number: tf.Tensor, pass_seed: tf.Tensor) -> tf.Tensor:
        start = number % num_batches * batch_size
        if drop_remainder:
            positions = start + tf.range(batch_size, dtype=tf.int64)
        else:
            positions = tf.range(start, tf.minimum(start + batch_size, num_rows))
        if shuffle:
            # A pseudo-random permutation evaluated point by point: no buffer of row numbers, however many there are.
            # 24 rounds and not tf.random.experimental.index_shuffle, whose 4 leave neighbours correlated (0.4 at 1 M).
            positions = tf.raw_ops.RandomIndexShuffle(
                index=positions, seed=pass_seed, max_index=tf.constant(num_rows - 1, tf.int64), rounds=24
            )
        return tf.nest.map_structure(lambda tensor: tf.gather(tensor, positions), rows)

    def begin() -> Iterator[tuple[int, int, np.ndarray]]:
        number, first, filled = passes.begin()
        yield first, num_batches + (first if filled else 0), _three(passes.entropy(number))

    def in_order(first: tf.Tensor, stop: tf.Tensor, pass_seed: tf.Tensor) -> tf.data.Dataset:
        return tf.data.Dataset.range(first, stop).map(
            lambda number: batch(number, pass_seed), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )

    numbers = tf.TensorSpec([], tf.int64)
    begun = tf.data.Dataset.from_generator(begin, output_signature=(numbers, numbers, tf.TensorSpec([3], tf.int64)))
    options = tf.data.Options()
    # Of several workers each takes its part of every batch.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    dataset = begun.flat_map(in_order).with_options(options)
    bounded = dataset.apply(tf.data.experimental.assert_cardinality(num_batches)).prefetch(tf.data.AUTOTUNE)
    return remember(bounded, passes, dataset.prefetch(tf.data.AUTOTUNE))


def _three(entropy: np.random.SeedSequence) -> np.ndarray:
    return entropy.generate_state(3, np.uint64).view(np.int64)
