"""Values as a caller has them -> values of an input's type, or a refusal that says what would be right."""

from __future__ import annotations

import datetime
import decimal
import math
import numbers
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from htlnet_tf.errors import InputError
from htlnet_tf.serving.signatures import TensorInfo

NUMPY_DTYPES = {
    "DT_FLOAT": np.float32,
    "DT_DOUBLE": np.float64,
    "DT_INT8": np.int8,
    "DT_INT16": np.int16,
    "DT_INT32": np.int32,
    "DT_INT64": np.int64,
    "DT_UINT8": np.uint8,
    "DT_UINT32": np.uint32,
    "DT_UINT64": np.uint64,
    "DT_BOOL": np.bool_,
}
"""The dtype of an array by that of a tensor; strings have none."""

# int64 has no NaN. The smallest value stands for "missing" in this package's int64 columns.
MISSING_INT64 = -(2**63)

_INTEGER_RANGES = {
    "DT_INT8": (-(2**7), 2**7 - 1),
    "DT_INT16": (-(2**15), 2**15 - 1),
    "DT_INT32": (-(2**31), 2**31 - 1),
    "DT_INT64": (-(2**63), 2**63 - 1),
    "DT_UINT8": (0, 2**8 - 1),
    "DT_UINT32": (0, 2**32 - 1),
    "DT_UINT64": (0, 2**64 - 1),
}

# Values of these types need no conversion; a column that holds nothing else is taken as it is.
_EXACT_TYPES: dict[str, set[type]] = {
    "DT_STRING": {str, bytes},
    "DT_FLOAT": {int, float},
    "DT_DOUBLE": {int, float},
    "DT_BOOL": {bool},
}

# A decimal of a few characters can be a number of a million digits; tables hold up to 76.
_MAX_DIGITS = 4300

_LISTS = (list, tuple, set, np.ndarray)
_TIMES = (datetime.datetime, datetime.date, datetime.timedelta, np.datetime64, np.timedelta64)


class _RefusedError(Exception):
    pass


def converted(name: str, values: list[Any], info: TensorInfo, places: Callable[[int], str]) -> list[Any]:
    """Converts the values of one column to an input's type.

    Args:
      name: Of the column.
      values: One per row.
      info: The input.
      places: Position -> how a message names the row.

    Returns:
      `str` or `bytes`, `int`, `float` or `bool`, one per row.

    Raises:
      InputError: A value is not of the type, or the type cannot be sent.
    """
    types = set(map(type, values))
    if types <= _EXACT_TYPES.get(info.dtype, set[type]()) and not (int in types and _is_beyond_floats(values)):
        return values
    if types == {int} and info.dtype in _INTEGER_RANGES:
        low, high = _INTEGER_RANGES[info.dtype]
        if low <= min(values) and max(values) <= high:
            return values
    convert = _converter(name, info)
    results = []
    for position, value in enumerate(values):
        try:
            results.append(convert(value))
        except _RefusedError as refused:
            raise InputError(
                f"column '{name}' must hold {info.type_name} values{refused}, but {places(position)} holds "
                f"{described(value)}{_advice(value, info)}"
            ) from None
    return results


def described(value: Any) -> str:
    """A value and its type, short enough for a message.

    Args:
      value: Anything.

    Returns:
      Its text.
    """
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # Python writes whole numbers of up to 4300 digits, and no list of any depth
        text = "what is too long to write"
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"


def _advice(value: Any, info: TensorInfo) -> str:
    if info.dtype == "DT_STRING" and isinstance(value, _LISTS):
        # The signature says nothing of separators, and a wrong one would silently give other scores.
        return "; send a list as one text, its values joined by the separator that the model's schema declares"
    if info.dtype == "DT_INT64" and isinstance(value, _TIMES):
        return (
            "; send a time as a whole number since 1970 UTC, in the unit that the model's schema declares: "
            "for milliseconds column.dt.as_unit('ms').astype('int64')"
        )
    return ""


def _converter(name: str, info: TensorInfo) -> Callable[[Any], Any]:
    if info.dtype == "DT_STRING":
        return _string
    if info.dtype in ("DT_FLOAT", "DT_DOUBLE"):
        return _float
    if info.dtype == "DT_BOOL":
        return _bool
    if info.dtype not in _INTEGER_RANGES:
        raise InputError(f"input '{name}' has type {info.type_name}, which requests cannot carry")
    low, high = _INTEGER_RANGES[info.dtype]
    missing = MISSING_INT64 if info.dtype == "DT_INT64" else None
    return lambda value: _integer(value, low, high, missing)


def _is_beyond_floats(values: list[Any]) -> bool:
    try:
        np.asarray(values, np.float64)
    except OverflowError:
        return True
    return False


def _is_missing(value: Any) -> bool:
    if isinstance(value, decimal.Decimal):
        return value.is_nan()
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value))


def _whole_number(value: Any) -> int | None:
    if isinstance(value, _TIMES):  # NumPy counts its time differences among the integers
        return None
    if isinstance(value, (bool, np.bool_, numbers.Integral)):
        return int(value)
    if isinstance(value, decimal.Decimal):
        is_whole = value.is_finite() and value.adjusted() < _MAX_DIGITS and value == value.to_integral_value()
        return int(value) if is_whole else None
    # Beyond 2**53 a float no longer says which whole number was meant.
    if isinstance(value, numbers.Real) and float(value).is_integer() and abs(float(value)) <= 2.0**53:
        return int(float(value))
    return None


def _string(value: Any) -> str | bytes:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bytes):
        return bytes(value)
    if isinstance(value, uuid.UUID):
        return str(value)
    if _is_missing(value):
        return ""
    # Pandas turns a column of integers with a gap in it into floats: 3.0 there was 3 in the training rows.
    number = _whole_number(value)
    try:
        if number is not None:
            return str(number)
    except ValueError:  # more digits than Python writes
        pass
    raise _RefusedError


def _integer(value: Any, low: int, high: int, missing: int | None) -> int:
    if _is_missing(value):
        if missing is None:
            raise _RefusedError(", none missing")
        return missing
    number = _whole_number(value)
    if number is None:
        raise _RefusedError
    if not low <= number <= high:
        raise _RefusedError(f" between {low} and {high}")
    return number


def _float(value: Any) -> float:
    if _is_missing(value):
        return math.nan
    try:
        if isinstance(value, (numbers.Real, decimal.Decimal, np.bool_, str)) and not isinstance(value, _TIMES):
            return float(value)  # numbers that came as text, too
    except (ValueError, OverflowError):
        pass
    raise _RefusedError


def _bool(value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise _RefusedError
    return bool(value)


def utf8(name: str, values: list[Any]) -> list[bytes]:
    """Encodes the values of a string column.

    Args:
      name: Of the column.
      values: `str` or `bytes`, one per row.

    Returns:
      The bytes.

    Raises:
      InputError: A text cannot be written as UTF-8.
    """
    texts = []
    for position, value in enumerate(values):
        try:
            texts.append(value if isinstance(value, bytes) else value.encode())
        except UnicodeEncodeError:
            raise InputError(
                f"column '{name}' must hold text that UTF-8 can carry, but row {position} holds {value!r}"
            ) from None
    return texts
