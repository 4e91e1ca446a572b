"""TFRecord files of `tf.train.Example` as Arrow record batches."""

from __future__ import annotations

import contextlib
import functools
import gzip
import os
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from htlnet_tf.data.sources.listing import is_gzip, reading
from htlnet_tf.data.sources.text_values import first_not_utf8
from htlnet_tf.errors import InputError

if TYPE_CHECKING:
    import tensorflow as tf

HEADER_RECORDS = 256
"""Records of a file that are looked at for the names and types of its features."""

_BUFFER_BYTES = 1 << 20
_FRAME_BYTES = 16  # of a record, beside the example: its length and two checksums
_TYPES = {"bytes_list": pa.string(), "int64_list": pa.int64(), "float_list": pa.float32()}
_MISMATCH = re.compile(
    r"Key: (?P<column>.*), Index: (?P<index>\d+)\.\s+Data types don't match\. "
    r"Expected type: (?P<expected>\w+), Actual type: (?P<actual>\w+)",
    re.DOTALL,
)


def header(file: str) -> pa.Schema:
    """Names and types of the features in the first records of a file; null for one that has a value in none of them.

    Raises:
      InputError: The file is damaged, or a record is no `tf.train.Example`.
    """
    types: dict[str, pa.DataType] = {}
    count = num_bytes = 0
    with _reading(file, 0):
        for record in _records(file).take(HEADER_RECORDS).as_numpy_iterator():
            features = _example(file, count, record).features.feature
            for name in features:
                found = _TYPES.get(features[name].WhichOneof("kind") or "", pa.null())
                if types.get(name, pa.null()) == pa.null():
                    types[name] = found
            count, num_bytes = count + 1, num_bytes + len(record) + _FRAME_BYTES
    if count < HEADER_RECORDS:
        _require_complete(file, num_bytes)
    return pa.schema(sorted(types.items()))


def blocks(
    file: str, types: Mapping[str, pa.DataType], *, chunk_rows: int
) -> Iterator[tuple[pd.Index, pa.RecordBatch]]:
    """Reads a file in order.

    Args:
      file: The path.
      types: By name, the features to read, and their types: string, int64 or float32.
      chunk_rows: Rows per batch.

    Returns:
      Pairs: row numbers [n], and a batch of n rows; text is dictionary-encoded. A feature without a value in a record
      is null. In batches where a record has several values of a feature, the column holds lists.

    Raises:
      InputError: The file is damaged, a record is no `tf.train.Example`, or a feature is of another type.
    """
    parse = _parser(tuple((name, _tf_type(type_).name) for name, type_ in types.items()))
    # One call at a time: it works on its batch in parallel. The next batch is prepared while this one is used.
    dataset = _records(file).batch(chunk_rows).map(parse).prefetch(1)
    iterator = iter(dataset)
    first = num_bytes = 0
    while True:
        with _reading(file, first):
            try:
                lengths, parsed = next(iterator)
            except StopIteration:
                break
        rows = pd.RangeIndex(first, first + len(lengths))
        arrays = [_array(file, name, rows, *(part.numpy() for part in parsed[name])) for name in types]
        yield rows, pa.RecordBatch.from_arrays(arrays, names=list(types))
        first = rows.stop
        num_bytes += int(lengths.numpy().sum(dtype=np.int64)) + _FRAME_BYTES * len(rows)
    _require_complete(file, num_bytes)


def _records(file: str) -> tf.data.Dataset:
    import tensorflow as tf

    compression = "GZIP" if is_gzip(file) else ""
    options = tf.data.Options()
    options.autotune.enabled = False  # there is nothing to tune, and its bookkeeping costs per record
    return tf.data.TFRecordDataset(file, compression, buffer_size=_BUFFER_BYTES).with_options(options)


def _tf_type(type_: pa.DataType) -> tf.DType:
    import tensorflow as tf

    return {pa.int64(): tf.int64, pa.float32(): tf.float32}.get(type_, tf.string)


@functools.lru_cache(maxsize=16)
def _parser(features: tuple[tuple[str, str], ...]) -> Callable[..., Any]:
    """Serialized examples -> their lengths, and by name row splits and values (of text distinct values and codes)."""
    import tensorflow as tf

    spec = {name: tf.io.RaggedFeature(tf.as_dtype(dtype)) for name, dtype in features}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def parse(serialized: tf.Tensor) -> Any:
        columns = {}
        for name, ragged in tf.io.parse_example(serialized, spec).items() if spec else ():
            values = tuple(tf.unique(ragged.values)) if ragged.dtype == tf.string else (ragged.values,)
            columns[name] = (ragged.row_splits, *values)
        return tf.strings.length(serialized), columns

    return parse


def _array(
    file: str, name: str, rows: pd.Index, splits: np.ndarray, values: np.ndarray, codes: np.ndarray | None = None
) -> pa.Array:
    """One feature of a batch: [N], or lists [N] if a record has several values."""
    lengths = np.diff(splits)
    flat = len(values) if codes is None else len(codes)
    if codes is not None:
        dictionary = pa.array(values.tolist(), pa.binary())
        if (wrong := first_not_utf8(dictionary)) is not None:
            row = rows[int(np.searchsorted(splits, np.argmax(codes == wrong), side="right")) - 1]
            raise InputError(
                f"'{file}', column '{name}', row {row}: text must be UTF-8; received {dictionary[wrong].as_py()!r}"
            )
        dictionary = pc.cast(dictionary, pa.string())
    several = lengths.max(initial=0) > 1
    if several or flat == len(rows):
        array = pa.array(values) if codes is None else pa.DictionaryArray.from_arrays(pa.array(codes), dictionary)
        return pa.ListArray.from_arrays(pa.array(splits), array) if several else array
    spread = np.zeros(len(rows), values.dtype if codes is None else codes.dtype)
    spread[lengths == 1] = values if codes is None else codes
    indices = pa.array(spread, mask=lengths == 0)
    return indices if codes is None else pa.DictionaryArray.from_arrays(indices, dictionary)


@contextlib.contextmanager
def _reading(file: str, first: int) -> Iterator[None]:
    """Turns TensorFlow's errors on records from row `first` on into one that names the file and, if it can, the row."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        mismatch = _MISMATCH.search(error.message)
        if mismatch is not None:
            place = f"column '{mismatch['column']}', row {first + int(mismatch['index'])}"
            rule = f"its first records have {mismatch['expected']} values, so all must"
            raise InputError(f"'{file}', {place}: {rule}; received {mismatch['actual']}") from error
        row = first
        try:
            for record in _records(file).skip(first).as_numpy_iterator():
                _example(file, row, record)
                row += 1
        except tf.errors.OpError as damage:
            reason = damage.message.rpartition("}} ")[2].partition(" [Op:")[0]
            raise InputError(f"'{file}', row {row}: cannot be read as a TFRecord file: {reason}") from error
        raise InputError(f"'{file}' cannot be read as a TFRecord file: {error.message}") from error


def _example(file: str, row: int, record: bytes) -> tf.train.Example:
    import tensorflow as tf

    try:
        return tf.train.Example.FromString(record)
    except Exception as error:  # protobuf's DecodeError has another home in each of its implementations
        raise InputError(f"'{file}', row {row}: the record is no tf.train.Example; {error}") from error


def _require_complete(file: str, num_bytes: int) -> None:
    """Checks that a file has been read to its end.

    TensorFlow takes a file that was cut off for one that ends there, if the cut is in the first 12 bytes of a record
    or, often, in a gzip stream.

    Args:
      file: The path.
      num_bytes: Of all records that were read, unpacked.

    Raises:
      InputError: The file has more.
    """
    with reading(file, "a TFRecord file"):
        size = os.stat(file).st_size  # noqa: PTH116
        if is_gzip(file):
            with open(file, "rb") as opened:  # noqa: PTH123
                opened.seek(max(0, size - 4))
                # The last four bytes are the unpacked size modulo 2**32, unless there are several streams in the file.
                if opened.read() == (num_bytes % 2**32).to_bytes(4, "little"):
                    return
            with gzip.open(file) as opened_gzip:
                try:
                    size = sum(len(part) for part in iter(lambda: opened_gzip.read(1 << 20), b""))
                except (EOFError, zlib.error) as error:
                    raise InputError(f"'{file}' cannot be read as a TFRecord file: it is cut off; {error}") from error
    if size != num_bytes:
        raise InputError(
            f"'{file}' cannot be read as a TFRecord file: it is cut off, or no such file; "
            f"its records have {num_bytes} of {size} bytes"
        )
