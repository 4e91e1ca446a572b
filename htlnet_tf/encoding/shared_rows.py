"""Encoded rows in a folder that workers on other machines read with operations of tf.data alone.

The batches of `make_dataset` begin in Python, in the process that made them. Workers under a `ParameterServerStrategy`
run no Python: what they read must be in files.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from htlnet_tf.distribution import current_worker
from htlnet_tf.encoding.encoded import EncodedRows, Rows, encode_rows
from htlnet_tf.errors import InputError
from htlnet_tf.files import atomic_directory, local_path
from htlnet_tf.schema import Schema, require_same_schema

if TYPE_CHECKING:
    from htlnet_tf.encoding.encoder import FeatureEncoder

_ABOUT = "rows.json"
_BLOCKS = "blocks"
_BLOCK_ROWS = 65_536  # some 13 MB


def save_encoded(
    rows: Rows | EncodedRows,
    schema: Schema,
    encoder: FeatureEncoder,
    path: str | Path,
    *,
    workers: int,
    seed: int = 0,
    training: bool = True,
) -> Path:
    """Encodes rows once and writes them for workers to read, see `encoded_for_workers`.

    The rows are dealt out at random to blocks of at most 65,536, as many for each worker; so any of them is a sample of
    all rows. They are encoded in memory, at some 200 bytes per row.

    Args:
      rows: Logged impressions with the features and the targets: a frame, or the stream of `open_stream`; or rows that
        `encoder` has encoded already.
      schema: The declared columns.
      encoder: Fitted on the training rows, for the same schema.
      path: The folder, which the coordinator and all workers reach by this path. If it has these very rows already,
        nothing is written.
      workers: At most that many share the rows.
      seed: Of how they are dealt out.
      training: The rows are those that the encoder was fitted on, as for `make_dataset`.

    Returns:
      The folder, as an absolute path.

    Raises:
      InputError: The folder has other rows, there are fewer rows than workers, or as for `make_dataset`.
    """
    require_same_schema(schema, encoder.schema)
    if workers < 1:
        raise InputError(f"workers must be at least 1, received {workers}")
    encoded = rows if isinstance(rows, EncodedRows) else encode_rows(rows, encoder, training=training)
    if len(encoded) < workers:
        raise InputError(f"{len(encoded)} rows are too few for {workers} workers")
    folder = local_path(path).absolute()
    about: dict[str, Any] = {
        "encoder": encoder.digest(),
        "rows": _digest(encoded),
        "num_rows": len(encoded),
        "num_blocks": workers * math.ceil(len(encoded) / (workers * _BLOCK_ROWS)),
        "seed": seed,
    }
    if (folder / _ABOUT).exists():
        if _about(folder) != about:
            raise InputError(
                f"'{folder}' has other rows, or dealt out in another way: name another folder, or remove it"
            )
        return folder
    with atomic_directory(folder) as partial:
        _blocks(encoded, about["num_blocks"], seed).save(str(partial / _BLOCKS), shard_func=lambda number, _: number)
        (partial / _ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")
    return folder


def encoded_for_workers(
    path: str | Path,
    encoder: FeatureEncoder,
    *,
    batch_size: int = 1024,
    shuffle: bool = True,
    seed: int = 0,
    drop_remainder: bool = False,
) -> Any:
    """Batches of what `save_encoded` wrote, for `fit` and `evaluate` under a `ParameterServerStrategy`.

    Each worker reads its own part of the blocks, block by block, without an end: `steps_per_epoch` says how many
    batches an epoch has. In a pass it visits its blocks in a new random order, and the rows of each likewise. A worker
    that was started again begins with its first pass.

    Args:
      path: The folder.
      encoder: The rows must have been encoded by it.
      batch_size: Rows per batch; the last one of a block may be smaller.
      shuffle: As told. False: in the order in which the rows lie there, which is random but always the same.
      seed: Of the orders, with the worker's number.
      drop_remainder: Leave out the last batch of a block if it is smaller.

    Returns:
      A `tf.keras.utils.experimental.DatasetCreator`.

    Raises:
      InputError: There are no such rows in the folder, another encoder has encoded them, or `drop_remainder` leaves no
        batch.

    Example:
      >>> rows = htl.data.save_encoded(train, schema, encoder, "/shared/rows", workers=2)
      >>> model.fit(htl.data.encoded_for_workers(rows, encoder), steps_per_epoch=1000, epochs=2)
    """
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, received {batch_size}")
    folder = local_path(path).absolute()
    about = _about(folder)
    if about["encoder"] != encoder.digest():
        raise InputError(f"the rows in '{folder}' were encoded by another encoder than the one given")
    smallest = about["num_rows"] // about["num_blocks"]
    if drop_remainder and smallest < batch_size:
        raise InputError(f"drop_remainder leaves no batch of a block of {smallest} rows, batch_size {batch_size}")

    def dataset(context: tf.distribute.InputContext) -> tf.data.Dataset:
        worker, workers = current_worker(context)
        if workers > about["num_blocks"]:
            raise InputError(f"the rows in '{folder}' are for at most {about['num_blocks']} workers, not {workers}")
        return _batches(folder, about["num_blocks"], worker, workers, batch_size, seed, shuffle, drop_remainder)

    return tf.keras.utils.experimental.DatasetCreator(dataset)


def batches_of_all(path: str | Path, batch_size: int) -> int:
    """How many batches of what `save_encoded` wrote all workers together have in a pass.

    Args:
      path: The folder.
      batch_size: Rows per batch; the last one of a block may be smaller.

    Raises:
      InputError: There are no such rows in the folder.
    """
    about = _about(local_path(path).absolute())
    smallest, larger = divmod(about["num_rows"], about["num_blocks"])
    sizes = ((smallest + 1, larger), (smallest, about["num_blocks"] - larger))
    return sum(math.ceil(size / batch_size) * count for size, count in sizes)


def _batches(
    folder: Path,
    num_blocks: int,
    worker: tf.Tensor | int,
    workers: int,
    batch_size: int,
    seed: int,
    shuffle: bool,
    drop_remainder: bool,
) -> tf.data.Dataset:
    """One worker's batches, without an end."""
    own_seed = tf.cast(worker, tf.int64) + 1

    def own(files: tf.data.Dataset) -> tf.data.Dataset:
        files = files.shard(workers, worker)
        if shuffle:
            # Of blocks that are its own each worker may have the first, the second, ... when others have theirs.
            files = files.shuffle(num_blocks, seed=seed)
        return files.flat_map(lambda blocks: blocks)

    def of_block(element: tuple[Any, Any], pass_seed: tf.Tensor) -> tf.data.Dataset:
        _, block = element
        num_rows = tf.shape(tf.nest.flatten(block)[0], out_type=tf.int64)[0]

        def batch(start: tf.Tensor) -> Any:
            positions = tf.range(start, tf.minimum(start + batch_size, num_rows))
            if shuffle:
                # As in make_dataset: a permutation evaluated point by point.
                positions = tf.raw_ops.RandomIndexShuffle(
                    index=positions, seed=pass_seed, max_index=num_rows - 1, rounds=24
                )
            return tf.nest.map_structure(lambda tensor: tf.gather(tensor, positions), block)

        stop = num_rows - num_rows % batch_size if drop_remainder else num_rows
        return tf.data.Dataset.range(0, stop, batch_size).map(batch, num_parallel_calls=tf.data.AUTOTUNE)

    blocks = tf.data.Dataset.load(str(folder / _BLOCKS), reader_func=own).repeat()
    # tf.data takes no tensor for a seed where TensorFlow's global one is 0, and the worker's number is one.
    seeds = tf.data.Dataset.random(seed=seed).batch(3, drop_remainder=True).map(lambda drawn: drawn * own_seed)
    return tf.data.Dataset.zip((blocks, seeds)).flat_map(of_block).prefetch(tf.data.AUTOTUNE)


def _blocks(encoded: EncodedRows, num_blocks: int, seed: int) -> tf.data.Dataset:
    """Pairs of a block's number and its rows, which follow one another in a random order."""
    order = np.random.default_rng(seed).permutation(len(encoded))

    def blocks() -> Iterator[tuple[int, Any]]:
        for number, rows in enumerate(np.array_split(order, num_blocks)):
            yield number, encoded.map(lambda array: array[rows]).tree  # noqa: B023

    spec = tf.nest.map_structure(lambda array: tf.TensorSpec([None, *array.shape[1:]], array.dtype), encoded.tree)
    return tf.data.Dataset.from_generator(blocks, output_signature=(tf.TensorSpec([], tf.int64), spec))


def _digest(encoded: EncodedRows) -> str:
    """SHA-256, in hex, of all arrays."""
    found = hashlib.sha256()
    for arrays in encoded.tree:
        for name in sorted(arrays):
            found.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}".encode())
            found.update(np.ascontiguousarray(arrays[name]).data)
    return found.hexdigest()


def _about(folder: Path) -> dict[str, Any]:
    try:
        about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"'{folder}' has no rows of `htlnet_tf.data.save_encoded`: {error}") from error
    return dict(about)
