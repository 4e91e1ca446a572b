"""A frame as a TFRecord file of `tf.train.Example`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from htlnet_tf.data.columns import MISSING_INT64, numbers, require_columns
from htlnet_tf.data.raw_features import distinct_values, time_values
from htlnet_tf.files import atomic_file
from htlnet_tf.schema import Categorical, Schema, Timestamp


def write_tfrecord(frame: pd.DataFrame, path: str | Path, schema: Schema) -> None:
    """Writes the schema's columns, one `tf.train.Example` per row; packed by gzip if `path` ends in `.gz`.

    Categorical features become bytes or int64 as their dtype says (multi-valued ones several values), timestamp
    features int64 in their unit, other whole numbers int64, further numbers float, which is float32 in a TFRecord, and
    the schema's timestamp, unless it is a number, ISO 8601 text. A missing value is a list without values.

    Args:
      frame: Rows with the schema's columns; others are left out.
      path: The file to write; it appears whole or not at all.
      schema: The declared columns.

    Raises:
      InputError: A column is missing or holds a value its kind does not allow, or the file cannot be written.
    """
    import tensorflow as tf

    require_columns(frame, schema.columns, purpose="rows for a TFRecord file")
    entries = [_entries(frame[name], schema) for name in schema.columns]
    compression = "GZIP" if str(path).lower().endswith(".gz") else None
    with atomic_file(path) as partial, tf.io.TFRecordWriter(str(partial), compression) as writer:
        for row in zip(*entries, strict=True):
            features = b"".join(row)
            # Field 1 of an Example, length-delimited: its Features, whose map entries may stand in any order.
            writer.write(b"\x0a" + _varint(len(features)) + features)


def _entries(column: pd.Series, schema: Schema) -> np.ndarray:
    """Each row's serialized map entry of one feature, an object array of bytes [N]; one is made per distinct value."""
    import tensorflow as tf

    feature = next((f for f in schema.inputs if f.name == column.name), None)
    if isinstance(feature, Categorical):
        codes, values = distinct_values(column, feature)
    elif isinstance(feature, Timestamp):
        codes, values = pd.factorize(time_values(column, feature))
    elif pd.api.types.is_numeric_dtype(column) or column.name != schema.timestamp:
        codes, values = _factorized_numbers(column)
    else:
        codes, values = pd.factorize(column.map(lambda t: t if isinstance(t, str) else t.isoformat()).to_numpy(object))
    if values.dtype == np.int64:
        lists = [{"int64_list": tf.train.Int64List(value=() if v == MISSING_INT64 else (v,))} for v in values.tolist()]
        lists.append({"int64_list": tf.train.Int64List()})
    elif values.dtype == np.float64:
        lists = [{"float_list": tf.train.FloatList(value=(v,))} for v in values.tolist()]
        lists.append({"float_list": tf.train.FloatList()})
    else:
        separator = feature.separator if isinstance(feature, Categorical) else None
        tokens = [text.split(separator) if text and separator else [text] * bool(text) for text in values]
        lists = [{"bytes_list": tf.train.BytesList(value=[t.encode() for t in ts])} for ts in tokens]
        lists.append({"bytes_list": tf.train.BytesList()})
    serialized = np.empty(len(lists), object)  # the last one is the missing value, code -1
    serialized[:] = [
        tf.train.Features(feature={str(column.name): tf.train.Feature(**kind)}).SerializeToString() for kind in lists
    ]
    return serialized[codes]


def _factorized_numbers(column: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Codes, -1 where missing, and distinct values: int64 of a column of integers or booleans, else float64."""
    dtype = column.dtype
    is_whole = pd.api.types.is_integer_dtype(dtype) or pd.api.types.is_bool_dtype(dtype)
    if is_whole and not pd.api.types.is_unsigned_integer_dtype(dtype):
        codes, values = pd.factorize(column)
        return codes, np.asarray(values, np.int64)
    return pd.factorize(numbers(column, rule=f"column '{column.name}' must hold numbers"))


def _varint(number: int) -> bytes:
    """A number as Protocol Buffers write it: seven bits per byte, low ones first, the high bit set on all but one."""
    digits = []
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*digits, number))
