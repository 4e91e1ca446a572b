"""A frame as a TFRecord file of `tf.train.Example`."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pandas as pd

from htlnet_tf.data.columns import (
    MISSING_INT64,
    by_value,
    numbers,
    plain,
    refuse,
    require_columns,
    text_of_value,
    whole,
    without_decimals,
)
from htlnet_tf.data.examples import Kind, column_bytes, example_bytes, feature_bytes
from htlnet_tf.data.raw_features import distinct_values, time_values
from htlnet_tf.data.sources.listing import is_gzip
from htlnet_tf.files import atomic_file
from htlnet_tf.schema import Binary, Categorical, Multiclass, Schema, Timestamp

_MAX_INT64 = 2**63 - 1


def write_tfrecord(frame: pd.DataFrame, path: str | Path, schema: Schema) -> None:
    """Writes the schema's columns, one `tf.train.Example` per row; packed by gzip if `path` ends in `.gz`.

    Categorical features become bytes or int64 as their dtype says (multi-valued ones several values), and so does the
    schema's user; timestamp features become int64 in their unit. Further columns of integers or booleans become int64.
    So do columns of floats whose values are all whole, if they are the schema's timestamp or a target of classes, or if
    float32 would round one. Other columns of numbers (also where one is beyond int64) become float, which in a TFRecord
    is float32 and rounds; the schema's timestamp is never rounded, and it becomes ISO 8601 text if it holds dates or
    text. A missing value is a list without values.

    Args:
      frame: Rows with the schema's columns; others are left out.
      path: The file to write; it appears whole or not at all.
      schema: The declared columns.

    Raises:
      InputError: A column is missing or holds a value its kind does not allow, a timestamp is a number that neither
        int64 nor float32 holds exactly, or the file cannot be written.
    """
    import tensorflow as tf

    require_columns(frame, schema.columns, purpose="rows for a TFRecord file")
    entries = [_entries(frame[name], schema) for name in schema.columns]
    compression = "GZIP" if is_gzip(str(path)) else None
    with atomic_file(path) as partial, tf.io.TFRecordWriter(str(partial), compression) as writer:
        for row in zip(*entries, strict=True):
            writer.write(example_bytes(row))


def _entries(column: pd.Series, schema: Schema) -> np.ndarray:
    """Each row's serialized feature, an object array of bytes [N]; one is made per distinct value."""
    feature = next((f for f in schema.inputs if f.source == column.name), None)
    worded = [t.source for t in schema.targets if isinstance(t, Binary) and t.positive is not None]
    if column.name == schema.user_source:
        feature = schema.user_column
    if isinstance(feature, Categorical):
        codes, values = distinct_values(column, feature)
    elif isinstance(feature, Timestamp) and feature.format is None:
        codes, values = pd.factorize(time_values(column, feature))
    elif column.name in worded or (format := _format_of(column, schema)) is not None:
        # A reader goes by the same schema, so it must find what a table of text has.
        codes, distinct = by_value(column.dt.strftime(format) if column.dtype.kind == "M" else column)
        values = np.asarray([text_of_value(value) for value in distinct], object)
    elif column.name == schema.time_column:
        codes, values = _factorized_times(column)
    else:
        classes = [target.source for target in schema.targets if isinstance(target, (Binary, Multiclass))]
        decimal = _decimal_of(column, schema)
        codes, values = _factorized_numbers(column, whole_as_int64=column.name in classes, decimal=decimal)
    separator = feature.separator if isinstance(feature, Categorical) else None
    name = str(column.name)
    kind: Kind = "bytes" if values.dtype == object else "int64" if values.dtype == np.int64 else "float"
    serialized = np.empty(len(values) + 1, object)  # the last one is the missing value, code -1
    serialized[:-1] = column_bytes(name, values, separator=separator)
    serialized[-1] = feature_bytes(name, kind, ())
    return serialized[codes]


def _format_of(column: pd.Series, schema: Schema) -> str | None:
    moments = (f.format for f in schema.inputs if isinstance(f, Timestamp) and f.source == column.name and f.format)
    return next(moments, schema.time_format if column.name == schema.time_column else None)


def _decimal_of(column: pd.Series, schema: Schema) -> str:
    read = (item for item in (*schema.inputs, *schema.targets) if item.source == column.name)
    return next((schema.decimal_of(item) for item in read), schema.decimal)


def _factorized_times(column: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Codes, -1 where missing, and distinct values: int64, float64 that float32 holds, or an object array of text."""
    column = without_decimals(plain(column))
    rule = "the schema's timestamp is a number that int64 or float32, all that a TFRecord has, must hold exactly"
    inferred = pd.api.types.infer_dtype(column, skipna=True)
    if inferred == "integer":
        refuse(column, ((column > _MAX_INT64) | (column <= MISSING_INT64)).to_numpy(bool, na_value=False), rule=rule)
        column = column.astype("Int64")
    if inferred in ("integer", "floating", "mixed-integer-float", "decimal"):
        codes, values = _factorized_numbers(column, whole_as_int64=True)
        if values.dtype == np.float64:
            refuse(column, np.append(_rounded(values), False)[codes], rule=rule)
        return codes, values
    codes, distinct = pd.factorize(column)
    # A time of pandas is a date to Python.
    texts = [t.isoformat() if isinstance(t, datetime.date) else t if isinstance(t, str) else None for t in distinct]
    rule = "the schema's timestamp must hold numbers, datetimes, dates or ISO 8601 text"
    refuse(column, np.asarray([*(text is None for text in texts), False])[codes], rule=rule)
    return codes, np.asarray(texts, object)


def _factorized_numbers(
    column: pd.Series, *, whole_as_int64: bool, decimal: str = "."
) -> tuple[np.ndarray, np.ndarray]:
    """Codes, -1 where missing, and distinct values: int64 or float64.

    Args:
      column: Integers, booleans, other numbers, or numbers as text.
      whole_as_int64: Whether floats that are all whole become int64 even if float32 holds them.
      decimal: The decimal mark of text.
    """
    column = without_decimals(column)
    is_unsigned = pd.api.types.is_unsigned_integer_dtype(column)
    if pd.api.types.is_integer_dtype(column) or pd.api.types.is_bool_dtype(column):
        codes, distinct = pd.factorize(column)
        values = np.asarray(distinct, np.uint64 if is_unsigned else np.int64)
        if not is_unsigned or values.max(initial=0) <= _MAX_INT64:
            return codes, values.astype(np.int64)
    codes, values = pd.factorize(numbers(column, rule=f"column '{column.name}' must hold numbers", decimal=decimal))
    fits = len(values) > 0 and bool((whole(values) & (np.abs(values) < 2.0**63)).all())
    as_int64 = fits and (whole_as_int64 or bool(_rounded(values).any()))
    return codes, values.astype(np.int64) if as_int64 else values


def _rounded(values: np.ndarray) -> np.ndarray:
    """Which numbers float32 does not hold exactly."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32) != values
