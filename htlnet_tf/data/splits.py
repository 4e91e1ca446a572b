"""Splits a frame of logged rows by time: the model is judged on rows logged after those it was trained on."""

from __future__ import annotations

import itertools
import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from htlnet_tf.errors import InputError
from htlnet_tf.schema import Schema

_SUM_TOLERANCE = 1e-9


def time_split(
    frame: pd.DataFrame, schema: Schema, fractions: Sequence[float] = (0.8, 0.1, 0.1)
) -> tuple[pd.DataFrame, ...]:
    """Splits the rows by time into parts of the given sizes, the oldest first.

    The rows are ordered by the schema's timestamp with a stable sort, so rows of one timestamp keep their order, and
    cut at row quantiles. Rows with one and the same timestamp (the candidates of one request, say) never straddle a
    cut: **they go to the earlier part**. So with ties a part may be larger, and the next one smaller, than asked for.

    Timestamps may be numbers (any unit; not bool or complex), datetimes with or without a time zone, dates, timedeltas,
    or strings. Strings are accepted only if all of them are ISO 8601, such as `"2024-03-01T12:00:00+01:00"`; they are
    ordered as points in time and not as text, those without an offset being read as UTC.

    Args:
      frame: One row per impression, with the timestamp column. It is not changed.
      schema: Says which column is the timestamp.
      fractions: The share of the rows in each part, oldest first: at least two, each above 0, summing to 1.

    Returns:
      One frame per fraction, its rows in time order, with the index labels and the columns of `frame`.

    Raises:
      InputError: `fractions` breaks the rule above, the schema names no timestamp, the frame is empty or has no such
        column, a timestamp is missing or of another kind, or a part would be empty.

    Example:
      >>> train, valid, test = time_split(frame, schema, (0.8, 0.1, 0.1))
    """
    shares = _checked_fractions(fractions)
    times = _ordinals(_timestamp_column(frame, schema))
    order = np.argsort(times, kind="stable")
    ordered = times[order]

    num_rows = len(ordered)
    cuts = [0]
    for k in range(1, len(shares)):
        # round() and not int(): 0.7 + 0.1 is a hair below 0.8 in floating point.
        position = round(num_rows * math.fsum(shares[:k]))
        if position > 0:
            # Move the cut behind the last row of the timestamp it falls into.
            position = int(np.searchsorted(ordered, ordered[position - 1], side="right"))
        cuts.append(position)
    parts = list(itertools.pairwise([*cuts, num_rows]))

    for k, (begin, end) in enumerate(parts):
        if begin >= end:
            raise InputError(
                f"every part of a time split needs at least one row, but part {k + 1} of {len(shares)} (fraction "
                f"{shares[k]}) gets none: the frame has {num_rows} rows with {len(np.unique(ordered))} distinct values "
                f"of '{schema.timestamp}', and rows of one timestamp stay together"
            )
    return tuple(frame.iloc[order[begin:end]] for begin, end in parts)


def _checked_fractions(fractions: Sequence[float]) -> tuple[float, ...]:
    rule = "fractions must be at least two numbers above 0 that sum to 1"
    try:
        shares = tuple(float(f) for f in fractions)
    except (TypeError, ValueError) as error:
        raise InputError(f"{rule}; received {fractions!r}") from error
    if len(shares) < 2:
        raise InputError(f"{rule}; received {len(shares)} of them: {fractions!r}")
    for k, share in enumerate(shares):
        if not 0.0 < share < 1.0:  # also catches NaN
            raise InputError(f"{rule}; received {share} at position {k} of {shares}")
    if abs(math.fsum(shares) - 1.0) > _SUM_TOLERANCE:
        raise InputError(f"{rule}; received {shares}, which sum to {math.fsum(shares)}")
    return shares


def _timestamp_column(frame: pd.DataFrame, schema: Schema) -> pd.Series[Any]:
    name = schema.timestamp
    if name is None:
        raise InputError("a split by time needs the schema to name the timestamp column; its 'timestamp' is None")
    if name not in frame.columns:
        raise InputError(f"the schema's timestamp column '{name}' is not in the frame; its columns are {list(frame)}")
    column = frame[name]
    if isinstance(column, pd.DataFrame):
        raise InputError(f"the timestamp column '{name}' must be unique; the frame has {column.shape[1]} of that name")
    if column.empty:
        raise InputError("a frame to be split needs rows; received an empty one")
    missing = column.isna().to_numpy()
    if missing.any():
        raise InputError(
            f"timestamps must not be missing; column '{name}' has {int(missing.sum())} missing of {len(column)}, "
            f"the first at {_place(column, int(missing.argmax()))}"
        )
    return column


def _ordinals(column: pd.Series[Any]) -> np.ndarray:
    """Numbers that order as the timestamps do, an integer type or float64, [num_rows]."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.dtype.categories.dtype)
    kind = pd.api.types.infer_dtype(column, skipna=False)
    if kind in ("integer", "floating", "mixed-integer-float", "decimal"):
        return _finite(column)
    if kind in ("datetime64", "datetime", "date", "string"):
        # Mixed offsets and dates beside datetimes are fine once everything is UTC.
        moments = pd.to_datetime(column, utc=True, errors="coerce", format="ISO8601" if kind == "string" else None)
        unreadable = moments.isna().to_numpy()
        if unreadable.any():
            first = int(unreadable.argmax())
            raise InputError(
                f"timestamps given as strings must all be ISO 8601 ('2024-03-01T12:00:00'); column '{column.name}' has "
                f"{column.iloc[first]!r} at {_place(column, first)}. Numbers must be of a numeric dtype"
            )
        # In the column's own unit: years beyond 2262 would overflow in nanoseconds.
        return moments.dt.tz_convert(None).to_numpy().view(np.int64)
    if kind == "timedelta64":
        return column.to_numpy().view(np.int64)

    # bool is a Number in Python, and an int beside a float is no mixture.
    expected = numbers.Number if isinstance(column.iloc[0], numbers.Number) else type(column.iloc[0])
    odd = next((i for i, value in enumerate(column) if not isinstance(value, expected)), 0)
    raise InputError(
        f"timestamps must all be numbers, all datetimes or all ISO 8601 strings; column '{column.name}' holds {kind}, "
        f"{column.iloc[odd]!r} at {_place(column, odd)}"
    )


def _finite(column: pd.Series[Any]) -> np.ndarray:
    # Integers stay integers: float64 would merge nanosecond timestamps that lie within 256 ns of each other.
    if pd.api.types.infer_dtype(column, skipna=False) == "integer":
        return column.to_numpy(dtype=np.uint64 if column.dtype.kind == "u" else np.int64)
    values = column.to_numpy(dtype=np.float64)
    infinite = ~np.isfinite(values)
    if infinite.any():
        first = int(infinite.argmax())
        raise InputError(
            f"timestamps must be finite; column '{column.name}' has {values[first]} at {_place(column, first)}"
        )
    return values


def _place(column: pd.Series[Any], position: int) -> str:
    return f"row {position} (index {column.index[position]!r})"
