"""Rows as a caller has them -> columns of values as they are, or a refusal that says where."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from htlnet_tf.errors import InputError
from htlnet_tf.serving.clients.column_values import described

Rows = pd.DataFrame | Sequence[Mapping[str, Any]] | Mapping[str, Any]
User = Mapping[str, Any] | pd.DataFrame
"""Column -> value, or a table of one row."""


def columns_of(
    rows: Rows, names: Sequence[str], known: Collection[str], of_what: str = ""
) -> tuple[dict[str, list[Any]], pd.Index]:
    """Finds columns in rows.

    Args:
      rows: As of `to_columns`.
      names: The columns that are needed.
      known: The columns that dicts may have.
      of_what: What a message says after a column's name, such as `" of the items"`.

    Returns:
      The needed columns, values as they are; and the index of the DataFrame, or 0 .. N-1.

    Raises:
      InputError: There are no rows, or a column is missing, unknown or ragged.
    """
    index: pd.Index | None = None
    if isinstance(rows, pd.DataFrame):
        columns, index = _from_frame(rows, names, of_what), rows.index
    elif isinstance(rows, Mapping):
        columns = _from_mapping(rows, names, known, of_what)
    elif isinstance(rows, Sequence) and not isinstance(rows, (str, bytes)):
        columns = _from_records(rows, names, known, of_what)
    else:
        raise InputError(f"rows must be a DataFrame, a list of dicts or a dict of columns, not {type(rows).__name__}")
    size = len(next(iter(columns.values())))
    if size == 0:
        raise InputError("at least one row is needed, but the input is empty")
    return columns, pd.RangeIndex(size) if index is None else index


def _from_frame(frame: pd.DataFrame, names: Sequence[str], of_what: str) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    for name in names:
        if name not in frame.columns:
            raise _missing(name, frame.columns, of_what)
        column = frame[name]
        if isinstance(column, pd.DataFrame):
            raise InputError(f"column names must be unique, but '{name}' appears {column.shape[1]} times")
        columns[name] = column.tolist()
    return columns


def _from_mapping(
    mapping: Mapping[str, Any], names: Sequence[str], known: Collection[str], of_what: str
) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    for name in names:
        if name not in mapping:
            raise _missing(name, mapping, of_what)
        columns[name] = _as_list(name, mapping[name])
    _refuse_unknown(mapping, known, of_what)
    first, size = next((name, len(values)) for name, values in columns.items())
    for name, values in columns.items():
        if len(values) != size:
            raise InputError(
                f"columns must be equally long, but '{first}' holds {size} values and '{name}' {len(values)}: "
                f"the first row without a value is {min(size, len(values))}"
            )
    return columns


def _as_list(name: str, values: Any) -> list[Any]:
    if isinstance(values, np.ndarray) and values.ndim != 1:
        raise InputError(f"column '{name}' must be one-dimensional, but has shape {values.shape}")
    if isinstance(values, np.ndarray) and values.dtype.kind in "mM":
        return list(pd.Index(values).tolist())  # NumPy would give bare numbers, in a unit of its own
    if isinstance(values, (pd.Series, pd.Index, np.ndarray)):
        return list(values.tolist())
    if isinstance(values, Sequence) and not isinstance(values, (str, bytes)):
        return list(values)
    raise InputError(f"column '{name}' must be a list or an array, but is {described(values)}")


def _from_records(
    records: Sequence[Mapping[str, Any]], names: Sequence[str], known: Collection[str], of_what: str
) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for position, record in enumerate(records):
        if not isinstance(record, Mapping):
            raise InputError(f"every row must be a dict, but row {position} is {described(record)}")
        for name, values in columns.items():
            if name not in record:
                raise InputError(f"column '{name}' is missing in row {position}{of_what}, which has {listed(record)}")
            values.append(record[name])
        if len(record) > len(columns):
            _refuse_unknown(record, known, f" in row {position}{of_what}")
    return columns


def _missing(name: str, present: Iterable[str], of_what: str) -> InputError:
    return InputError(f"column '{name}'{of_what} is missing: the model needs it, the input has {listed(present)}")


def _refuse_unknown(present: Mapping[str, Any], known: Collection[str], place: str) -> None:
    for name in present:
        if name not in known:
            raise InputError(f"column '{name}'{place} is unknown to the model, which takes {listed(known)}")


def checked_user(
    user: User, names: Collection[str], known: Collection[str], of_items: Collection[str]
) -> Mapping[str, Any]:
    """Checks what a request for candidates says of the user.

    Args:
      user: Column -> value; a Series or a DataFrame of one row will do, of the latter further columns are left out.
      names: The columns that are needed.
      known: The columns that may be there.
      of_items: The columns of the items, for a message.

    Returns:
      The user as a mapping.

    Raises:
      InputError: It is no mapping, or a column is missing or unknown.
    """
    if isinstance(user, pd.DataFrame):
        user = _only_row(user, names)
    if isinstance(user, pd.Series):
        user = user.to_dict()
    if not isinstance(user, Mapping):
        raise InputError(f"the user must be a dict of column and value, but is {described(user)}")
    for name in names:
        if name not in user:
            raise InputError(f"column '{name}' is missing in the user, which has {listed(user)}")
    for name in user:
        if name not in known:
            where = "belongs to the items" if name in of_items else "is unknown to the model"
            raise InputError(f"column '{name}' in the user {where}; a user has {listed(names)}")
    return user


def _only_row(frame: pd.DataFrame, names: Collection[str]) -> Mapping[str, Any]:
    if len(frame) != 1:
        raise InputError(f"the user must be one row, but the table of the user has {len(frame)}")
    columns = _from_frame(frame, [name for name in names if name in frame.columns], " of the user")
    return {name: values[0] for name, values in columns.items()}


def listed(names: Iterable[str]) -> str:
    """Names for a message, the first twelve of them.

    Args:
      names: Any.

    Returns:
      Their text.
    """
    texts = [f"'{name}'" for name in names]
    return ", ".join(texts[:12]) + (f" and {len(texts) - 12} more" if len(texts) > 12 else "") if texts else "none"
