"""Values as a caller has them -> values of an input's type, or a refusal that says what would be right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from htlnet_tf.data.values import (
    HIGHEST_INT64,
    LOWEST_INT64,
    MISSING_INT64,
    MISSING_STRING,
    TIMES,
    is_missing,
    number,
    text,
    whole_number,
)
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

_INTEGER_RANGES = {
    "DT_INT8": (-(2**7), 2**7 - 1),
    "DT_INT16": (-(2**15), 2**15 - 1),
    "DT_INT32": (-(2**31), 2**31 - 1),
    "DT_INT64": (LOWEST_INT64, HIGHEST_INT64),
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

_LISTS = (list, tuple, set, np.ndarray)


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
    # The signature says nothing of separators and units, and a wrong one would silently give other scores.
    if info.dtype == "DT_STRING" and isinstance(value, _LISTS):
        return (
            "; send a list as one text, its values joined by the separator that the model's schema declares, or give "
            "that schema, schema="
        )
    if info.dtype == "DT_INT64" and isinstance(value, TIMES):
        return (
            "; send a time as a whole number since 1970 UTC, in the unit that the model's schema declares: "
            "for milliseconds column.dt.as_unit('ms').astype('int64'), or give that schema, schema="
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


def _string(value: Any) -> str | bytes:
    if isinstance(value, bytes):
        return bytes(value)  # of any content: serialized messages are bytes too
    if is_missing(value):
        return MISSING_STRING
    written = text(value)
    if written is None:
        raise _RefusedError
    return str(written)


def _integer(value: Any, low: int, high: int, missing: int | None) -> int:
    if is_missing(value):
        if missing is None:
            raise _RefusedError(", none missing")
        return missing
    exact = whole_number(value)
    if exact is None:
        raise _RefusedError
    if not low <= exact <= high:
        raise _RefusedError(f" between {low} and {high}")
    return exact


def _float(value: Any) -> float:
    read = number(value)
    if read is None:
        raise _RefusedError
    return read


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
