"""Encoded rows of a stream -> shuffled batches, without ever holding more than a buffer of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from htlnet_tf.data.stream import READ_ONCE, Stream
from htlnet_tf.encoding.ahead import in_order
from htlnet_tf.encoding.encoded import EncodedRows, encode_frame
from htlnet_tf.encoding.passes import Passes, remember
from htlnet_tf.errors import InputError

if TYPE_CHECKING:
    from htlnet_tf.encoding.encoder import FeatureEncoder

_BATCHES_PER_BLOCK = 32

_MARK = "\u2063"
"""Stands around the text of an error on its way through TensorFlow, which wraps it into its own; nobody sees it."""


def stream_error(error: tf.errors.OpError) -> InputError | None:
    """What stopped a stream; None if it was something else. Of an error in a pipeline TensorFlow keeps the text alone.

    Args:
      error: Raised by a dataset, or by what reads one.
    """
    parts = str(error.message).split(_MARK)
    return InputError(parts[1]) if len(parts) > 2 else None


def stream_dataset(
    stream: Stream,
    encoder: FeatureEncoder,
    *,
    batch_size: int,
    shuffle_buffer: int,
    seed: int | None,
    drop_remainder: bool,
    files: list[int],
    training: bool = False,
    whole: bool = True,
) -> tf.data.Dataset:
    """Batches of a stream; see `make_dataset`.

    Args:
      stream: The rows.
      encoder: Fitted on the training rows.
      batch_size: Rows per batch.
      shuffle_buffer: Rows that a row may swap places with; 0: the order of the files.
      seed: Of the order of files and rows.
      drop_remainder: Leave out a smaller last batch.
      files: Positions of the files to read.
      training: As for `make_dataset`.
      whole: These are the rows of all workers, and not those of one.
    """
    passes = Passes(seed if shuffle_buffer else 0)

    def blocks() -> Iterator[tuple[object, ...]]:
        number, first, _ = passes.begin()
        random = np.random.default_rng(passes.entropy(number))
        try:
            order = list(random.permutation(files)) if shuffle_buffer else files
            encoded = in_order(stream.frames(order), lambda frame: encode_frame(frame, encoder, training=training))
            rows = shuffled(encoded, shuffle_buffer, random) if shuffle_buffer else encoded
            # The batches before the first one that is wanted are read too: only so the buffer is what it was.
            count, left_out = 0, first * batch_size
            waiting: EncodedRows | None = None
            for block in regrouped(rows, batch_size * _BATCHES_PER_BLOCK):
                if waiting is not None:
                    yield waiting.with_weights().tree
                count += len(block)
                waiting = _part(block, left_out, len(block)) if left_out < len(block) else None
                left_out = max(left_out - len(block), 0)
            # A block waits for the next one, so that the end of the pass is known before its last batch is used.
            passes.tell(number, count // batch_size if drop_remainder else -(-count // batch_size))
            if waiting is not None:
                yield waiting.with_weights().tree
            if not count:
                raise InputError(f"no rows in {[stream.source.files[i] for i in files]} (part: {stream.part or 'all'})")
            if drop_remainder and count < batch_size:
                raise InputError(f"drop_remainder leaves no batch: {count} rows, batch_size {batch_size}")
        except InputError as error:
            raise InputError(f"{_MARK}{error}{_MARK}") from error

    def batches(*block: object) -> tf.data.Dataset:
        rows = tf.shape(tf.nest.flatten(block)[0])[0]
        count = rows // batch_size if drop_remainder else -(-rows // batch_size)
        return tf.data.Dataset.range(tf.cast(count, tf.int64)).map(
            lambda i: tf.nest.map_structure(lambda t: _slice(t, i * batch_size, batch_size, drop_remainder), block)
        )

    dataset = tf.data.Dataset.from_generator(blocks, output_signature=_signature(encoder)).flat_map(batches)
    options = tf.data.Options()
    # Under a strategy with several workers each that was given rows of its own reads those, and nothing is left to
    # divide; of rows that all of them read each takes its part of every batch.
    policies = tf.data.experimental.AutoShardPolicy
    options.experimental_distribute.auto_shard_policy = policies.DATA if whole else policies.OFF
    dataset = dataset.with_options(options).prefetch(tf.data.AUTOTUNE)
    if stream.is_read_once:
        setattr(dataset, READ_ONCE, True)  # for `fit`, which would read it again at its end
    return remember(dataset, passes)


def shuffled(
    parts: Iterator[EncodedRows] | list[EncodedRows], size: int, random: np.random.Generator
) -> Iterator[EncodedRows]:
    """Passes rows through a buffer: a row that enters takes the place of a random one, which leaves.

    Args:
      parts: The rows.
      size: Rows that the buffer holds, at least 1.
      random: Source of the order.
    """
    buffer: EncodedRows | None = None
    filled = 0
    for whole in parts:
        part = whole.with_weights()
        if buffer is None:
            buffer = part.map(lambda array: np.empty((size, *array.shape[1:]), array.dtype))
        room = min(size - filled, len(part))
        _put(buffer, slice(filled, filled + room), _part(part, 0, room))
        filled += room
        for start in range(room, len(part), size):
            entering = _part(part, start, start + size)
            places = random.choice(size, len(entering), replace=False)
            leaving = _take(buffer, places)
            _put(buffer, places, entering)
            yield leaving
    if buffer is not None:
        yield _take(buffer, random.permutation(filled))


def regrouped(parts: Iterator[EncodedRows] | list[EncodedRows], size: int) -> Iterator[EncodedRows]:
    """The same rows in the same order in blocks of `size`; the last one may be smaller."""
    waiting: list[EncodedRows] = []
    count = 0
    for part in parts:
        waiting.append(part)
        count += len(part)
        if count >= size:
            rows = EncodedRows.concatenate(waiting)
            whole = count - count % size
            for start in range(0, whole, size):
                yield _part(rows, start, start + size)
            count -= whole
            waiting = [_part(rows, whole, whole + count)] if count else []
    if count:
        yield EncodedRows.concatenate(waiting)


def _part(rows: EncodedRows, start: int, stop: int) -> EncodedRows:
    return rows.map(lambda array: array[start:stop])


def _take(rows: EncodedRows, places: np.ndarray) -> EncodedRows:
    return rows.map(lambda array: array[places])


def _put(rows: EncodedRows, places: np.ndarray | slice, entering: EncodedRows) -> None:
    for kept, new in zip(rows.tree, entering.tree, strict=True):
        for name, array in kept.items():
            array[places] = new[name]


def _slice(tensor: tf.Tensor, start: tf.Tensor, size: int, whole: bool) -> tf.Tensor:
    part = tensor[start : start + size]
    return tf.ensure_shape(part, [size, *tensor.shape[1:]]) if whole else part


def _signature(encoder: FeatureEncoder) -> tuple[dict[str, tf.TensorSpec], ...]:
    features = {
        "ids": tf.TensorSpec([None, encoder.num_slots], tf.int32),
        "numeric": tf.TensorSpec([None, encoder.num_numeric], tf.float32),
    }
    kinds = {t.name: tf.int32 if t.kind == "multiclass" else tf.float32 for t in encoder.schema.targets}
    labels = {name: tf.TensorSpec([None], dtype) for name, dtype in kinds.items()}
    return features, labels, {name: tf.TensorSpec([None], tf.float32) for name in labels}
