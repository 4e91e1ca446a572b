"""Columns of timestamps: numbers, datetimes or timedeltas, compared exactly with each other and with written points.

A *point* is a timestamp as a document holds it: a number in the column's own unit, an ISO 8601 date or datetime (UTC
unless it has an offset), or an ISO 8601 duration in seconds, `"PT1.5S"`, for timedeltas.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import numbers
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from htlnet_tf.data.columns import by_value, refuse, text_of_value, without_decimals
from htlnet_tf.data.values import MISSING_WORDS
from htlnet_tf.errors import InputError
from htlnet_tf.schema.features import TimeUnit

Kind = Literal["number", "datetime", "timedelta"]
Point = int | float | str

_NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("integer", "floating", "mixed-integer-float", "decimal"), "number"),
    **dict.fromkeys(("datetime64", "datetime", "date", "string"), "datetime"),
    **dict.fromkeys(("timedelta64", "timedelta"), "timedelta"),
}
ISO = "ISO8601"
"""The format of ISO 8601, with or without time and zone, as pandas calls it."""

_NOT_ISO = ("now", "today")  # which pandas reads as the time at which it meets them
_DURATION = re.compile(r"PT(-?\d+(?:\.\d+)?)S")


@dataclasses.dataclass(frozen=True)
class Timestamps:
    """The timestamps of a column.

    Args:
      name: Of the column.
      kind: `"number"`, `"datetime"` or `"timedelta"`.
      values: int64, uint64 or float64 [N], ordered as the timestamps are; datetimes count from 1970-01-01 UTC.
      unit: What `values` count; None for numbers, whose unit only the user knows.
      first: The first timestamp and its row, for messages.
    """

    name: str
    kind: Kind
    values: np.ndarray
    unit: TimeUnit | None
    first: str

    def point(self, value: Any) -> Point:
        """One of `values` as a point.

        Raises:
          InputError: It cannot be written: ISO 8601 ends with the year 9999.
        """
        if self.unit is None:
            return value.item() if isinstance(value, np.generic) else value
        if self.kind == "timedelta":
            sign, (seconds, rest) = "-" if value < 0 else "", divmod(abs(int(value)) * _NANOSECONDS[self.unit], 10**9)
            return f"PT{sign}{seconds}" + (f".{rest:09d}".rstrip("0") if rest else "") + "S"
        text = f"{np.datetime_as_string(np.datetime64(int(value), self.unit))}Z"
        exact(text)
        return text

    def passed(self, points: Sequence[Point], *, inclusive: bool, unit: TimeUnit | None = None) -> np.ndarray:
        """How many of the points each timestamp has passed.

        Args:
          points: Points of the column's kind; dates are compared with numbers too if `unit` is given.
          inclusive: Whether a timestamp has passed the point that it equals.
          unit: What a column of numbers counts since 1970-01-01 UTC.

        Returns:
          int8 [N].

        Raises:
          InputError: A point is of another kind than the column.
        """
        count = np.zeros(len(self.values), np.int8)
        for point in points:
            last = _last(self._amount(point, unit), self.values.dtype, below=inclusive)
            count += self.values > last if last is not None else np.int8(1)
        return count

    def _amount(self, point: Point, unit: TimeUnit | None) -> Fraction:
        """A point in the unit of `values`."""
        kind, amount = exact(point)
        if kind == "datetime" and self.kind == "number" and unit is not None:
            return amount / _NANOSECONDS[unit]
        if kind != self.kind:
            raise InputError(
                f"a column of timestamps must be of the kind it is compared with; column '{self.name}' holds "
                f"{self.kind}s ({self.first}), and {point!r} is a {kind}"
            )
        return amount if self.unit is None else amount / _NANOSECONDS[self.unit]


def written(column: pd.Series[Any], format: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads times that are written by a format, each distinct value once.

    Args:
      column: Text, or whole numbers whose digits are the date; datetimes among them are what they are.
      format: As `datetime.strptime` takes it, or `ISO`; times without a zone are UTC.

    Returns:
      datetime64[us] [N] in UTC, NaT where there is none; and bool [N], which values are there but are no such time.
    """
    codes, distinct = by_value(column)
    known = {i: pd.Timestamp(v) for i, v in enumerate(distinct) if isinstance(v, datetime.date)}
    texts = pd.Series(["" if i in known else text_of_value(v) for i, v in enumerate(distinct)], dtype=object)
    missing = texts.isin(MISSING_WORDS)
    moments = pd.to_datetime(texts.where(~missing, None), utc=True, errors="coerce", format=format)
    # pandas reads these words as the time at which it meets them.
    words = texts.str.lower().isin(_NOT_ISO) if len(texts) else missing
    offends = np.append(((moments.isna() & ~missing) | words).to_numpy(bool), False)
    values = np.append(
        moments.dt.tz_convert(None).to_numpy().astype("datetime64[us]"), np.datetime64("NaT", "us")
    )  # the last one is the missing value, code -1
    values[offends] = np.datetime64("NaT", "us")
    for i, moment in known.items():
        values[i] = (moment if moment.tz is None else moment.tz_convert(None)).to_datetime64()
    return values[codes], offends[codes]


def format_rule(format: str) -> str:
    """What a column of written times must be, for messages."""
    return f"times are written as the format {format!r} says"


def parse(column: pd.Series[Any], format: str | None = None) -> Timestamps:
    """Reads a column of timestamps.

    They may be numbers (any unit; not bool or complex), datetimes with or without a time zone, dates, timedeltas, or
    strings (pandas categories too). Strings are accepted only if all of them are ISO 8601, such as
    `"2024-03-01T12:00:00+01:00"`; those without an offset are read as UTC.

    Args:
      column: At least one row.
      format: How they are written, see `written`; None: as above. Columns of datetimes need none.

    Raises:
      RowError: A timestamp is missing, infinite, not readable, or of another kind than the others.
    """
    if format is not None and column.dtype.kind not in "mM":
        moments, unreadable = written(column, format)
        refuse(column, unreadable, rule=format_rule(format))
        refuse(column, np.isnat(moments), rule="timestamps must not be missing")
        first = f"{column.iloc[0]!r} at row 0, index {column.index[0]!r}"
        return Timestamps(str(column.name), "datetime", moments.view(np.int64), "us", first)
    refuse(column, column.isna().to_numpy(), rule="timestamps must not be missing")
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.dtype.categories.dtype)
    column = without_decimals(column)
    inferred = pd.api.types.infer_dtype(column, skipna=False)
    kind = _KINDS.get(inferred)
    first = f"{column.iloc[0]!r} at row 0, index {column.index[0]!r}"
    if kind == "number":
        values = _integers(column) if inferred == "integer" else _floats(column)
        return Timestamps(str(column.name), kind, values, None, first)
    if kind == "datetime":
        moments = _moments(column, is_text=inferred == "string")
    elif kind == "timedelta":
        moments = pd.to_timedelta(column).to_numpy()
    else:
        # bool is a Number in Python, and an int beside a float is no mixture. What most values are is expected of all.
        types = [numbers.Number if isinstance(value, numbers.Number) else type(value) for value in column]
        expected = Counter(types).most_common(1)[0][0]
        odd = np.asarray([kind is not expected for kind in types], bool)
        rule = f"timestamps must all be numbers, all datetimes or all ISO 8601 strings, and these are {inferred}"
        refuse(column, odd if odd.any() else ~odd, rule=rule)
        raise AssertionError("refuse raises where a row offends")
    # In the column's own unit: years beyond 2262 would overflow in nanoseconds.
    unit = np.datetime_data(moments.dtype)[0]
    return Timestamps(str(column.name), kind, moments.view(np.int64), _unit(unit), first)


def merge(columns: Iterable[Timestamps]) -> Timestamps:
    """The timestamps of successive pieces of one column, in one unit; of each piece 8 bytes per row are kept.

    Raises:
      InputError: There are none, the pieces are of different kinds, or no type of 8 bytes holds them all exactly.
    """
    held: list[Timestamps] = []
    for column in columns:
        if held and column.kind != held[0].kind:
            raise InputError(
                f"timestamps must be of one kind; column '{column.name}' holds {held[0].kind}s ({held[0].first}), and "
                f"{column.kind}s further down ({column.first} of a later chunk)"
            )
        # A copy, because a view would keep other columns of the piece in memory.
        held.append(dataclasses.replace(column, values=column.values.copy()))
    if not held:
        raise InputError("a split by time needs rows to be fitted on; there are none")
    head, units = held[0], [column.unit for column in held]
    unit = next((u for u in ("ns", "us", "ms", "s") if u in units), None)
    dtypes = {column.values.dtype for column in held}
    candidates = dtypes if len(dtypes) == 1 else [np.dtype(t) for t in (np.int64, np.uint64, np.float64)]
    for dtype in candidates:
        if all(_fits(column, unit, dtype) for column in held):
            break
    else:
        raise InputError(
            f"timestamps must fit into one type of 8 bytes; column '{head.name}' has chunks of different dtypes or "
            "units, whose values no such type holds exactly: convert the column to one dtype"
        )
    values = np.empty(sum(len(column.values) for column in held), dtype)
    end = len(values)
    while held:  # each piece is released once it is copied
        piece = held.pop()
        values[end - len(piece.values) : end] = piece.values.astype(dtype) * dtype.type(_factor(piece, unit))
        end -= len(piece.values)
    return dataclasses.replace(head, values=values, unit=None if unit is None else _unit(unit))


def exact(point: Point) -> tuple[Kind, Fraction]:
    """A point as an exact number: as it is, or in nanoseconds (since 1970-01-01 UTC if it is a datetime).

    Raises:
      InputError: It is no point.
    """
    if isinstance(point, str):
        duration = _DURATION.fullmatch(point)
        if duration:
            return "timedelta", Fraction(duration[1]) * 10**9
        moment = pd.to_datetime(pd.Series([point]), utc=True, errors="coerce", format="ISO8601")
        if point in _NOT_ISO or moment.isna().any():
            raise InputError(f"a date must be ISO 8601 ('2024-03-01' or '2024-03-01T12:00:00Z'); received {point!r}")
        value = moment.dt.tz_convert(None).to_numpy()
        return "datetime", Fraction(int(value.view(np.int64)[0]) * _NANOSECONDS[np.datetime_data(value.dtype)[0]])
    if isinstance(point, bool) or (isinstance(point, float) and not math.isfinite(point)):
        raise InputError(f"a point in time must be a finite number or a date; received {point!r}")
    return "number", Fraction(point)


def _last(bound: Fraction, dtype: np.dtype[Any], *, below: bool) -> Any:
    """The largest value of a type that is at most `bound`, or below it; None if there is none."""
    if dtype.kind == "f":
        try:
            value = float(bound)
        except OverflowError:
            value = math.inf if bound > 0 else -math.inf
        # Python compares a float with a fraction exactly.
        return np.nextafter(value, -np.inf) if value > bound or (below and value == bound) else value
    limits = np.iinfo(dtype)
    whole = math.ceil(bound) - 1 if below else math.floor(bound)
    return None if whole < limits.min else dtype.type(min(whole, int(limits.max)))


def _moments(column: pd.Series[Any], *, is_text: bool) -> np.ndarray:
    """Datetimes in UTC, datetime64 [N]; mixed offsets, and dates beside datetimes, are fine there."""
    moments = pd.to_datetime(column, utc=True, errors="coerce", format="ISO8601" if is_text else None)
    unreadable = (moments.isna() | column.isin(_NOT_ISO)).to_numpy(bool) if is_text else moments.isna().to_numpy()
    rule = "timestamps given as strings must all be ISO 8601 ('2024-03-01T12:00:00'), and numbers of a numeric dtype"
    refuse(column, unreadable, rule=rule)
    return moments.dt.tz_convert(None).to_numpy()


def _integers(column: pd.Series[Any]) -> np.ndarray:
    # Integers stay integers: float64 would merge nanosecond timestamps that lie within 256 ns of each other.
    if not pd.api.types.is_object_dtype(column):
        values = column.to_numpy(np.uint64 if pd.api.types.is_unsigned_integer_dtype(column) else np.int64)
        return values.astype(np.int64) if values.dtype == np.uint64 and int(values.max()) < 2**63 else values
    unsigned = max(column) >= 2**63 and min(column) >= 0
    low, high = (0, 2**64) if unsigned else (-(2**63), 2**63)
    beyond = np.asarray([not low <= int(value) < high for value in column], bool)
    refuse(column, beyond, rule="timestamps that are whole numbers must fit into 64 bits")
    return column.to_numpy(np.uint64 if unsigned else np.int64)


def _floats(column: pd.Series[Any]) -> np.ndarray:
    values = column.to_numpy(np.float64)
    refuse(column, ~np.isfinite(values), rule="timestamps must be finite")
    return values


def _fits(column: Timestamps, unit: str | None, dtype: np.dtype[Any]) -> bool:
    """Whether a type holds a column's values exactly, in another unit."""
    values = column.values
    if values.dtype.kind == "f" and dtype.kind == "f":
        return True
    low, high = values.min().item(), values.max().item()
    if dtype.kind == "f":
        return low >= -(2**53) and high <= 2**53
    if values.dtype.kind == "f" and not (values == np.floor(values)).all():
        return False
    factor, limits = _factor(column, unit), np.iinfo(dtype)
    return int(limits.min) <= low * factor and high * factor <= int(limits.max)


def _factor(column: Timestamps, unit: str | None) -> int:
    return 1 if unit is None or column.unit is None else _NANOSECONDS[column.unit] // _NANOSECONDS[unit]


def _unit(text: str) -> TimeUnit:
    return next(unit for unit in get_args(TimeUnit) if unit == text)
