"""A table's columns as the arrays the model's graph takes: one rule for every dtype that pandas can hold.

The raw form of a column is what a request to the exported model carries: `string`, `int64` or `float32` of shape [N].
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from htlnet_tf.data.values import (  # noqa: F401 (the codes for "missing" belong to the raw form of a column)
    MISSING_FLOAT,
    MISSING_INT64,
    MISSING_STRING,
    MISSING_WORDS,
    is_missing,
    number,
    text,
    whole_number,
)
from htlnet_tf.errors import InputError, RowError

Arrays = dict[str, np.ndarray]

_DECIMAL_COMMA = re.compile(r"[+-]?(\d+(,\d*)?|,\d+)([eE][+-]?\d+)?", re.ASCII)


def require_columns(frame: pd.DataFrame, names: Iterable[str], *, purpose: str) -> None:
    """Checks that a frame is not empty and has the columns.

    Raises:
      InputError: `frame` is no DataFrame, has no rows, or lacks a column, or has it twice; names the column.
    """
    if not isinstance(frame, pd.DataFrame):
        raise InputError(f"{purpose}: a pandas DataFrame is needed, received {type(frame).__name__}")
    counts = Counter(frame.columns)
    for name in names:
        count = counts[name]
        if count == 0:
            raise InputError(f"{purpose}: column '{name}' is missing; the frame has {_shortened(list(frame.columns))}")
        if count > 1:
            raise InputError(f"{purpose}: column '{name}' appears {count} times in the frame")
    if len(frame) == 0:
        raise InputError(f"{purpose}: the frame has no rows")


def numbers(column: pd.Series, *, rule: str, decimal: str = ".") -> np.ndarray:
    """A column as float64 [N], NaN where it is missing; text is parsed.

    Args:
      column: Of any dtype. Text that stands for a missing value is missing.
      rule: What it must be.
      decimal: The decimal mark of text. With `","` a point in it is an error, and no number is grouped.

    Raises:
      InputError: A value is not a number, or the column holds times.
    """
    column = unwrapped(column)
    if decimal == "," and column.dtype.kind not in "mMbiufc":
        return _with_decimal_commas(column, rule=f"{rule}, with a decimal comma where it is text")
    column = plain(column)
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return float64(column)
    if column.dtype.kind in "mM":  # pandas would turn these into nanoseconds without a word
        if column.isna().all():  # of no value, so neither is its type
            return np.full(len(column), np.nan)
        raise InputError(f"column '{column.name}': {rule}; received {column.dtype}")
    try:
        parsed = pd.to_numeric(column, errors="coerce")
    except (OverflowError, TypeError):  # a whole number of hundreds of digits, a list
        parsed = pd.Series(np.nan, column.index, np.float64)
    values = float64(parsed)
    # What pandas knows no number in: words for a missing value, true and false, fractions; or there is none.
    unread = np.flatnonzero(np.isnan(values) & column.notna().to_numpy())
    if len(unread):
        read = [number(value) for value in column.iloc[unread]]
        offends = np.zeros(len(column), bool)
        offends[unread] = [one is None for one in read]
        refuse(column, offends, rule=rule)
        values = values.copy()
        values[unread] = read
    return values


def by_value(column: pd.Series) -> tuple[np.ndarray, list[Any]]:
    """A column by its distinct values: each row's position among them, -1 where it is missing, and the values.

    Raises:
      RowError: A value is a list.
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        return np.asarray(column.cat.codes, np.intp), column.cat.categories.tolist()
    column = unwrapped(column)
    try:
        codes, distinct = pd.factorize(column)
    except TypeError:
        lists = np.asarray([not isinstance(value, Hashable) for value in column], bool)
        refuse(column, lists, rule="values must be text or numbers, no lists")
        raise
    return codes, distinct.tolist()


def text_of_value(value: Any) -> str:
    """A value as the text that a CSV file would have, without blanks around it; booleans in lower case, whole numbers
    without a fraction.
    """
    if isinstance(value, (bool, np.bool_)):
        return str(value).lower()
    written = text(value)
    return (str(value) if written is None else written).strip()


def _with_decimal_commas(column: pd.Series, *, rule: str) -> np.ndarray:
    codes, distinct = by_value(column)
    parsed = np.full(len(distinct) + 1, np.nan)  # the last one is the missing value, code -1
    offends = np.zeros(len(distinct) + 1, bool)
    for i, value in enumerate(distinct):
        if not isinstance(value, str):
            read = number(value)
            parsed[i], offends[i] = MISSING_FLOAT if read is None else read, read is None
        elif _DECIMAL_COMMA.fullmatch(value.strip()):
            parsed[i] = float(value.replace(",", "."))
        else:
            offends[i] = value.strip() not in MISSING_WORDS
    refuse(column, offends[codes], rule=rule)
    return parsed[codes]


def beyond_float32(values: np.ndarray) -> np.ndarray:
    """Which numbers float32 cannot hold; NaN is none of them."""
    return np.abs(values) > np.finfo(np.float32).max


def normal_float32(values: np.ndarray) -> np.ndarray:
    """Numbers as TensorFlow's arithmetic takes them: those closer to 0 than 1.2e-38, the smallest normal float32, are 0
    (its threads flush denormal numbers), so what is counted here must say so too.
    """
    return np.where(np.abs(values) < np.finfo(np.float32).tiny, 0.0, values)


def whole(values: np.ndarray) -> np.ndarray:
    """Which numbers are finite and whole."""
    return np.isfinite(values) & (np.floor(values) == values)


def float64(column: pd.Series) -> np.ndarray:
    """A numeric column as float64 [N], NaN where it is missing."""
    return column.to_numpy(np.float64, na_value=np.nan)


def plain(column: pd.Series) -> pd.Series:
    """Without the wrapping of pandas' categories; object values hold gaps that their dtype may not."""
    return column.astype(object) if isinstance(column.dtype, pd.CategoricalDtype) else column


def unwrapped(column: pd.Series) -> pd.Series:
    """Without Arrow's types that pandas has no type of its own for: decimals, UUIDs, bytes, lists, nested values become
    the objects that they are in Python.
    """
    if not isinstance(column.dtype, pd.ArrowDtype):
        return column
    type_ = column.dtype.pyarrow_dtype
    is_ = pa.types
    known = (is_.is_integer, is_.is_floating, is_.is_boolean, is_.is_string, is_.is_large_string, is_.is_temporal)
    if any(test(type_) for test in known):
        return column
    result = pd.Series(column.array.__arrow_array__().to_pylist(), column.index, object, column.name)
    result.attrs = column.attrs
    return result


def without_decimals(column: pd.Series) -> pd.Series:
    """A column of Decimals as integers of any size if all are whole, else as float64; any other as it is."""
    column = unwrapped(column)
    if column.dtype != object or pd.api.types.infer_dtype(column, skipna=True) != "decimal":
        return column
    exact = [None if is_missing(value) else whole_number(value) for value in column]
    is_whole = [number is not None or is_missing(value) for number, value in zip(exact, column, strict=True)]
    result = pd.Series(exact, column.index, object, column.name) if all(is_whole) else column.astype(np.float64)
    result.attrs = column.attrs
    return result


def refuse(column: pd.Series, offends: np.ndarray, *, rule: str) -> None:
    """Raises for the rows of a column that break a rule.

    Args:
      column: The column, for its name, index and values.
      offends: bool [N], the rows that break the rule.
      rule: What the column must be.

    Raises:
      RowError: There is such a row; names the column, the rule, and the first row with its value.
    """
    if offends.any():
        row = int(np.argmax(offends))
        count = int(offends.sum())
        value = column.iloc[row]
        # A chunk of a file has the file in its attributes and the row numbers of the file as its index.
        file = column.attrs.get("file")
        place = f"column '{column.name}', row {row} (index {column.index[row]})"
        if file is not None:
            place = f"{file}, column '{column.name}', row {column.index[row]}"
        more = f" (and {count - 1} more such rows)" if count > 1 else ""
        raise RowError(
            f"{place}: {rule}; received {_shown(value)}{more}",
            column=str(column.name),
            rows=offends,
            rule=rule,
            value=value,
        )


def _shown(value: Any) -> str:
    return repr(value.item() if isinstance(value, np.generic) else value)


def _shortened(names: list[Any], limit: int = 12) -> str:
    shown = ", ".join(map(repr, names[:limit]))
    return f"[{shown}, ... {len(names) - limit} more]" if len(names) > limit else f"[{shown}]"
