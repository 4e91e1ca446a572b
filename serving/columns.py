"""Rows as a caller has them -> one list of JSON-ready values per input of a signature, or a refusal that says where."""

from __future__ import annotations

import base64
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from htlnet_tf.errors import InputError
from htlnet_tf.serving.signatures import Signature, TensorInfo

Rows = pd.DataFrame | Sequence[Mapping[str, Any]] | Mapping[str, Any]

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
    "DT_STRING": {str},
    "DT_FLOAT": {int, float},
    "DT_DOUBLE": {int, float},
    "DT_BOOL": {bool},
}


@dataclass(frozen=True)
class Columns:
    """What is sent to a server.

    Args:
      values: Input alias -> one JSON-ready value per row.
      index: The index of the caller's DataFrame, or 0 .. N-1.
    """

    values: dict[str, list[Any]]
    index: pd.Index


class _RefusedError(Exception):
    pass


def to_columns(rows: Rows, signature: Signature) -> Columns:
    """Converts rows to columns of the types that a signature asks for.

    Strings: `str`; integers, and floats that are whole, become their decimal text; None and NaN become "". int64:
    integers and whole floats; None and NaN become -2**63, "missing". Floats: numbers; None becomes NaN. Columns of a
    DataFrame that the signature does not know are left out (frames carry labels and ids along); in dicts they are
    refused.

    Args:
      rows: A DataFrame, a list of dicts (one per row), or a dict of lists or arrays (one per column).
      signature: The signature that will receive them.

    Returns:
      The columns. Inputs of shape `[N, 1]` get one list per row.

    Raises:
      InputError: There are no rows, a column is missing, unknown or ragged, or a value is not of the column's type.
    """
    index: pd.Index | None = None
    if isinstance(rows, pd.DataFrame):
        columns, index = _from_frame(rows, signature), rows.index
    elif isinstance(rows, Mapping):
        columns = _from_mapping(rows, signature)
    elif isinstance(rows, Sequence) and not isinstance(rows, (str, bytes)):
        columns = _from_records(rows, signature)
    else:
        raise InputError(f"rows must be a DataFrame, a list of dicts or a dict of columns, not {type(rows).__name__}")
    size = len(next(iter(columns.values())))
    if size == 0:
        raise InputError("at least one row is needed, but the input is empty")
    values = {name: _converted(name, columns[name], info) for name, info in signature.inputs.items()}
    return Columns(values, pd.RangeIndex(size) if index is None else index)


def _from_frame(frame: pd.DataFrame, signature: Signature) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    for name in signature.inputs:
        if name not in frame.columns:
            raise _missing(name, frame.columns)
        column = frame[name]
        if isinstance(column, pd.DataFrame):
            raise InputError(f"column names must be unique, but '{name}' appears {column.shape[1]} times")
        columns[name] = column.tolist()
    return columns


def _from_mapping(mapping: Mapping[str, Any], signature: Signature) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    for name in signature.inputs:
        if name not in mapping:
            raise _missing(name, mapping)
        columns[name] = _as_list(name, mapping[name])
    _refuse_unknown(mapping, signature)
    first, size = next((name, len(values)) for name, values in columns.items())
    for name, values in columns.items():
        if len(values) != size:
            raise InputError(
                f"columns must be equally long, but '{first}' holds {size} values and '{name}' {len(values)}: "
                f"the first row without a value is {min(size, len(values))}"
            )
    return columns


def _as_list(name: str, values: Any) -> list[Any]:
    if isinstance(values, (pd.Series, pd.Index)):
        return list(values.tolist())
    if isinstance(values, np.ndarray) and values.ndim != 1:
        raise InputError(f"column '{name}' must be one-dimensional, but has shape {values.shape}")
    if isinstance(values, np.ndarray):
        return list(values.tolist())
    if isinstance(values, Sequence) and not isinstance(values, (str, bytes)):
        return list(values)
    raise InputError(f"column '{name}' must be a list or an array, but is {_described(values)}")


def _from_records(records: Sequence[Mapping[str, Any]], signature: Signature) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {name: [] for name in signature.inputs}
    for position, record in enumerate(records):
        if not isinstance(record, Mapping):
            raise InputError(f"every row must be a dict, but row {position} is {_described(record)}")
        for name, values in columns.items():
            if name not in record:
                raise InputError(f"column '{name}' is missing in row {position}, which has {_listed(record)}")
            values.append(record[name])
        if len(record) > len(columns):
            _refuse_unknown(record, signature, f" in row {position}")
    return columns


def _missing(name: str, present: Any) -> InputError:
    return InputError(f"column '{name}' is missing: the model needs it, the input has {_listed(present)}")


def _refuse_unknown(present: Mapping[str, Any], signature: Signature, place: str = "") -> None:
    for name in present:
        if name not in signature.inputs:
            raise InputError(f"column '{name}'{place} is unknown to the model, which takes {_listed(signature.inputs)}")


def _listed(names: Any) -> str:
    texts = [f"'{name}'" for name in names]
    return ", ".join(texts[:12]) + (f" and {len(texts) - 12} more" if len(texts) > 12 else "") if texts else "none"


def _described(value: Any) -> str:
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"


def _converted(name: str, values: list[Any], info: TensorInfo) -> list[Any]:
    if info.shape is not None and len(info.shape) != 1 and (len(info.shape) != 2 or info.shape[1] != 1):
        raise InputError(f"input '{name}' of shape {list(info.shape)} cannot be sent as a column of single values")
    if not set(map(type, values)) <= _EXACT_TYPES.get(info.dtype, set[type]()):
        convert = _converter(name, info)
        converted = []
        for position, value in enumerate(values):
            try:
                converted.append(convert(value))
            except _RefusedError as refused:
                raise InputError(
                    f"column '{name}' must hold {info.type_name} values{refused}, but row {position} holds "
                    f"{_described(value)}"
                ) from None
        values = converted
    return [[value] for value in values] if info.shape is not None and len(info.shape) == 2 else values


def _converter(name: str, info: TensorInfo) -> Callable[[Any], Any]:
    if info.dtype == "DT_STRING":
        return _string
    if info.dtype in ("DT_FLOAT", "DT_DOUBLE"):
        return _float
    if info.dtype == "DT_BOOL":
        return _bool
    if info.dtype not in _INTEGER_RANGES:
        raise InputError(f"input '{name}' has type {info.type_name}, which JSON requests cannot carry")
    low, high = _INTEGER_RANGES[info.dtype]
    missing = MISSING_INT64 if info.dtype == "DT_INT64" else None
    return lambda value: _integer(value, low, high, missing)


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value))


def _whole_number(value: Any) -> int | None:
    if isinstance(value, (bool, np.bool_, numbers.Integral)):
        return int(value)
    # Beyond 2**53 a float no longer says which whole number was meant.
    if isinstance(value, numbers.Real) and float(value).is_integer() and abs(float(value)) <= 2.0**53:
        return int(float(value))
    return None


def _string(value: Any) -> str | dict[str, str]:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode("ascii")}
    if _is_missing(value):
        return ""
    # Pandas turns a column of integers with a gap in it into floats: 3.0 there was 3 in the training rows.
    number = _whole_number(value)
    if number is None:
        raise _RefusedError
    return str(number)


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
        if isinstance(value, (numbers.Real, np.bool_, str)):
            return float(value)  # numbers that came as text, too
    except ValueError:
        pass
    raise _RefusedError


def _bool(value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise _RefusedError
    return bool(value)
