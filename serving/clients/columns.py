"""Rows -> one list of values per input of a signature, by the signature alone, or a refusal that says where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from htlnet_tf.errors import InputError
from htlnet_tf.serving.clients.column_values import converted
from htlnet_tf.serving.clients.rows import Rows, User, checked_user, columns_of, listed
from htlnet_tf.serving.signatures import THRESHOLDS_INPUT, Signature, TensorInfo


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
    require_own_values(signature, len(columns.index))
    return columns


def require_own_values(signature: Signature, rows: int) -> None:
    """Checks that a signature takes a value per row.

    Raises:
      InputError: It shares inputs between rows, and there is more than one.
    """
    if signature.shared and rows > 1:
        call = "exceedance" if THRESHOLDS_INPUT in signature.shared else "predict_candidates"
        raise InputError(
            f"the signature takes one value of {listed(sorted(signature.shared))} for all rows: use {call}"
        )


def to_candidate_columns(user: User, items: Rows, signature: Signature) -> Columns:
    """Converts one user and the items to score for that user.

    Args:
      user: Column -> value, for every input that the signature shares between rows; or a table of one row.
      items: The other columns, in any form that `to_columns` takes; one row per item.
      signature: The signature that will receive them, with inputs of shape `[1]` and `[-1]`.

    Returns:
      The columns: one value in those of the user, one per item in the others. The index is that of the items.

    Raises:
      InputError: As in `to_columns`; or the signature has no inputs per item.
    """
    shared, own = split_for_candidates(signature)
    user = checked_user(user, shared.inputs, shared.inputs, own.inputs)
    values = {name: _inputs(name, [user[name]], info, _the_user) for name, info in shared.inputs.items()}
    columns = _columns(items, own, " of the items")
    return Columns(values | columns.values, columns.index)


def split_for_candidates(signature: Signature) -> tuple[Signature, Signature]:
    """A signature with the inputs of the user alone, and with those of the items alone.

    Raises:
      InputError: It has no inputs per item.
    """
    shared, own = signature.split()
    if not own.inputs:
        raise InputError(f"the signature must have inputs of shape [-1], but shares all: {listed(signature.inputs)}")
    return shared, own


def _the_user(position: int) -> str:
    return "the user"


def _columns(rows: Rows, signature: Signature, of_what: str = "") -> Columns:
    columns, index = columns_of(rows, list(signature.inputs), signature.inputs, of_what)

    def place(position: int) -> str:
        label = index[position]
        return f"row {position}" if label == position else f"row {position} (index {label!r})"

    values = {name: _inputs(name, columns[name], info, place) for name, info in signature.inputs.items()}
    return Columns(values, index)


def _inputs(name: str, values: list[Any], info: TensorInfo, place: Callable[[int], str]) -> list[Any]:
    if info.shape is not None and len(info.shape) != 1 and (len(info.shape) != 2 or info.shape[1] != 1):
        raise InputError(f"input '{name}' of shape {list(info.shape)} cannot be sent as a column of single values")
    return in_shape(converted(name, values, info, place), info)


def in_shape(values: list[Any], info: TensorInfo) -> list[Any]:
    """Values of an input, each in a list of its own if the input is of shape `[N, 1]`."""
    return [[value] for value in values] if info.shape is not None and len(info.shape) == 2 else values
