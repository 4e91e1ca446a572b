"""Rows as a caller has them -> one list of values per input of a signature, or a refusal that says where."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from htlnet_tf.errors import InputError
from htlnet_tf.serving.clients.column_values import converted, described
from htlnet_tf.serving.signatures import Signature, TensorInfo

Rows = pd.DataFrame | Sequence[Mapping[str, Any]] | Mapping[str, Any]


@dataclass(frozen=True)
class Columns:
    """What is sent to a server.

    Args:
      values: Input alias -> one value per row: `str`, `bytes`, `int`, `float` or `bool`. Inputs of shape `[N, 1]` have
        one list per row.
      index: The index of the caller's DataFrame, or 0 .. N-1.
    """

    values: dict[str, list[Any]]
    index: pd.Index


def to_columns(rows: Rows, signature: Signature) -> Columns:
    """Converts rows to columns of the types that a signature asks for.

    Strings: `str` and `bytes`; integers, and floats and decimals that are whole, become their decimal text, UUIDs their
    text; None and NaN become "". int64: integers, whole floats up to 2**53 and whole decimals; None and NaN become
    -2**63, "missing". Floats: numbers, decimals too; None becomes NaN. Lists and times are refused. Columns of a
    DataFrame that the signature does not know are left out (frames carry labels and ids along); in dicts they are
    refused.

    Args:
      rows: A DataFrame, a list of dicts (one per row), or a dict of lists or arrays (one per column).
      signature: The signature that will receive them.

    Returns:
      The columns.

    Raises:
      InputError: There are no rows, a column is missing, unknown or ragged, or a value is not of the column's type; or
        the signature shares inputs between rows and there is more than one.
    """
    columns = _columns(rows, signature)
    if signature.shared and len(columns.index) > 1:
        raise InputError(
            f"the signature takes one value of {listed(sorted(signature.shared))} for all rows: use predict_candidates"
        )
    return columns


def to_candidate_columns(user: Mapping[str, Any], items: Rows, signature: Signature) -> Columns:
    """Converts one user and the items to score for that user.

    Args:
      user: Column -> value, for every input that the signature shares between rows.
      items: The other columns, in any form that `to_columns` takes; one row per item.
      signature: The signature that will receive them, with inputs of shape `[1]` and `[-1]`.

    Returns:
      The columns: one value in those of the user, one per item in the others. The index is that of the items.

    Raises:
      InputError: As in `to_columns`; or the signature has no inputs per item.
    """
    shared, own = signature.split()
    if not own.inputs:
        raise InputError(f"the signature must have inputs of shape [-1], but shares all: {listed(signature.inputs)}")
    if isinstance(user, pd.Series):
        user = user.to_dict()
    if not isinstance(user, Mapping):
        raise InputError(f"the user must be a dict of column and value, but is {described(user)}")
    for name in shared.inputs:
        if name not in user:
            raise InputError(f"column '{name}' is missing in the user, which has {listed(user)}")
    for name in user:
        if name not in shared.inputs:
            where = "belongs to the items" if name in own.inputs else "is unknown to the model"
            raise InputError(f"column '{name}' in the user {where}; a user has {listed(shared.inputs)}")
    values = {name: _inputs(name, [user[name]], info, _the_user) for name, info in shared.inputs.items()}
    columns = _columns(items, own, " of the items")
    return Columns(values | columns.values, columns.index)


def _the_user(position: int) -> str:
    return "the user"


def listed(names: Iterable[str]) -> str:
    """Names for a message, the first twelve of them.

    Args:
      names: Any.

    Returns:
      Their text.
    """
    texts = [f"'{name}'" for name in names]
    return ", ".join(texts[:12]) + (f" and {len(texts) - 12} more" if len(texts) > 12 else "") if texts else "none"


def _columns(rows: Rows, signature: Signature, of_what: str = "") -> Columns:
    index: pd.Index | None = None
    if isinstance(rows, pd.DataFrame):
        columns, index = _from_frame(rows, signature, of_what), rows.index
    elif isinstance(rows, Mapping):
        columns = _from_mapping(rows, signature, of_what)
    elif isinstance(rows, Sequence) and not isinstance(rows, (str, bytes)):
        columns = _from_records(rows, signature, of_what)
    else:
        raise InputError(f"rows must be a DataFrame, a list of dicts or a dict of columns, not {type(rows).__name__}")
    size = len(next(iter(columns.values())))
    if size == 0:
        raise InputError("at least one row is needed, but the input is empty")
    index = pd.RangeIndex(size) if index is None else index

    def place(position: int) -> str:
        label = index[position]
        return f"row {position}" if label == position else f"row {position} (index {label!r})"

    values = {name: _inputs(name, columns[name], info, place) for name, info in signature.inputs.items()}
    return Columns(values, index)


def _from_frame(frame: pd.DataFrame, signature: Signature, of_what: str) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    for name in signature.inputs:
        if name not in frame.columns:
            raise _missing(name, frame.columns, of_what)
        column = frame[name]
        if isinstance(column, pd.DataFrame):
            raise InputError(f"column names must be unique, but '{name}' appears {column.shape[1]} times")
        columns[name] = column.tolist()
    return columns


def _from_mapping(mapping: Mapping[str, Any], signature: Signature, of_what: str) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    for name in signature.inputs:
        if name not in mapping:
            raise _missing(name, mapping, of_what)
        columns[name] = _as_list(name, mapping[name])
    _refuse_unknown(mapping, signature, of_what)
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


def _from_records(records: Sequence[Mapping[str, Any]], signature: Signature, of_what: str) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {name: [] for name in signature.inputs}
    for position, record in enumerate(records):
        if not isinstance(record, Mapping):
            raise InputError(f"every row must be a dict, but row {position} is {described(record)}")
        for name, values in columns.items():
            if name not in record:
                raise InputError(f"column '{name}' is missing in row {position}{of_what}, which has {listed(record)}")
            values.append(record[name])
        if len(record) > len(columns):
            _refuse_unknown(record, signature, f" in row {position}{of_what}")
    return columns


def _missing(name: str, present: Iterable[str], of_what: str) -> InputError:
    return InputError(f"column '{name}'{of_what} is missing: the model needs it, the input has {listed(present)}")


def _refuse_unknown(present: Mapping[str, Any], signature: Signature, place: str) -> None:
    for name in present:
        if name not in signature.inputs:
            raise InputError(f"column '{name}'{place} is unknown to the model, which takes {listed(signature.inputs)}")


def _inputs(name: str, values: list[Any], info: TensorInfo, place: Callable[[int], str]) -> list[Any]:
    if info.shape is not None and len(info.shape) != 1 and (len(info.shape) != 2 or info.shape[1] != 1):
        raise InputError(f"input '{name}' of shape {list(info.shape)} cannot be sent as a column of single values")
    values = converted(name, values, info, place)
    return [[value] for value in values] if info.shape is not None and len(info.shape) == 2 else values
