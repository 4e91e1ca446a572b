"""One column of one chunk in a form that is counted alike, whatever dtype the reader gave it.

Chunks of one table may differ in dtype: whole numbers become floats where a gap is, text becomes dictionary encoded.
So values are compared by a 64-bit hash that depends on the value alone: 3, 3.0 and True differ from "3", not from
each other except that True equals 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from htlnet_tf.schema.features import UNITS_PER_SECOND, TimeUnit

Kind = Literal["number", "bool", "text", "list", "time", "duration", "empty"]

MISSING_HASH = np.uint64(0)
# How a missing value is coded in the sample, where numbers are kept by the bits of their float64.
MISSING_CODE = np.array([np.nan]).view(np.uint64)[0]
LIST_SEPARATOR = ","  # what the package joins lists by when a schema does not say otherwise
_DAY_MS = 86_400_000


@dataclass(frozen=True)
class Values:
    """One column of one chunk.

    Args:
      kind: What the present values are; `"empty"` if there are none.
      missing: bool [N]; NaN, None, the empty string and the empty list are missing.
      hashes: uint64 [N], equal for equal values.
      numbers: float64 [N], NaN where missing, for numbers, booleans, durations (seconds) and times (milliseconds since
        1970 UTC); None for text and lists.
      raw: [N], the values as people know them; whole numbers are exact, lists joined by a comma.
      unreadable: How many present values are not the numbers they should be; they count as missing.
    """

    kind: Kind
    missing: np.ndarray
    hashes: np.ndarray
    numbers: np.ndarray | None
    raw: np.ndarray
    unreadable: int = 0

    @property
    def codes(self) -> np.ndarray:
        """uint64 [N]: the bits of the number, or the hash of the text; `MISSING_CODE` where missing."""
        if self.numbers is None:
            return np.where(self.missing, MISSING_CODE, self.hashes)
        # Adding 0.0 turns -0.0 into 0.0.
        return np.where(self.missing, MISSING_CODE, (self.numbers + 0.0).view(np.uint64))


def read_column(column: pd.Series, *, as_numbers: bool = False) -> Values:
    """Brings a column into the common form.

    Args:
      column: Of any dtype that pandas holds.
      as_numbers: Parse text as numbers, as a target's column is.
    """
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        if not pd.api.types.is_string_dtype(dtype.categories.dtype) and dtype.categories.dtype != object:
            column = column.astype(dtype.categories.dtype if not column.hasnans else object)
        elif not as_numbers and pd.api.types.infer_dtype(dtype.categories, skipna=True) == "string":
            return _texts(column)
        else:
            column = column.astype(object)
    if column.dtype == object:
        column, kind = _settled(column)
        if kind in ("text", "list") and not as_numbers:
            return _texts(column, kind)
    if pd.api.types.is_bool_dtype(column.dtype):
        return _numbers(column.astype("boolean").astype("Int64"), "bool")
    if pd.api.types.is_numeric_dtype(column.dtype):
        return _numbers(column, "number")
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return _times(column)
    if column.dtype.kind == "m":
        return _numbers(column.dt.total_seconds(), "duration")
    if not as_numbers:
        return _texts(column)
    parsed = pd.to_numeric(column, errors="coerce")
    present = ~(column.isna().to_numpy() | (column == "").fillna(False).to_numpy(bool))
    values = _numbers(parsed, "number")
    return Values(
        values.kind, values.missing, values.hashes, values.numbers, values.raw, int((values.missing & present).sum())
    )


def days_since_1970(values: Values) -> tuple[np.ndarray, np.ndarray]:
    """The day (UTC) of every value that is a time between 2000 and 2100.

    The unit of a number (s, ms, us or ns since 1970) follows from its size: the four ranges do not overlap.

    Returns:
      int64 [N] days since 1970, and bool [N], whether the value is such a time.
    """
    if values.numbers is None:
        times = pd.to_datetime(pd.Series(values.raw, dtype=object), errors="coerce", format="ISO8601", utc=True)
        milliseconds = times.dt.tz_localize(None).astype("datetime64[ms]").astype("int64").to_numpy()
        known = times.notna().to_numpy() & ~values.missing
        return np.where(known, milliseconds, 0) // _DAY_MS, known
    if values.kind == "time":
        return np.where(values.missing, 0, values.numbers).astype(np.int64) // _DAY_MS, ~values.missing
    days, known = np.zeros(len(values.missing), np.int64), np.zeros(len(values.missing), bool)
    for unit, per_second in EPOCH_UNITS.items():
        low, high = epoch_range(unit)
        inside = (values.numbers >= low) & (values.numbers < high)
        days[inside] = (values.numbers[inside] // (86_400 * per_second)).astype(np.int64)
        known |= inside
    return days, known


EPOCH_UNITS = UNITS_PER_SECOND
"""How many of the unit make a second."""


def epoch_range(unit: TimeUnit) -> tuple[int, int]:
    """The numbers that stand for the years 2000 to 2099 in a unit: first, and one past the last."""
    return 946_684_800 * EPOCH_UNITS[unit], 4_102_444_800 * EPOCH_UNITS[unit]


def _settled(column: pd.Series) -> tuple[pd.Series, Kind]:
    """A column of Python objects in the dtype that its values have, and whether it is text or lists."""
    inferred = pd.api.types.infer_dtype(column, skipna=True)
    if inferred in ("integer", "floating", "mixed-integer-float", "decimal", "boolean", "integer-na"):
        if inferred == "boolean":
            return column.astype("boolean"), "bool"
        if inferred in ("integer", "integer-na"):
            return column.astype("Int64"), "number"
        return column.astype(float), "number"
    if inferred in ("datetime", "datetime64", "date"):
        return pd.to_datetime(column, utc=True), "time"
    if inferred == "empty":
        return column, "text"
    if any(isinstance(value, (list, tuple, np.ndarray)) for value in column):
        return column.map(_joined), "list"
    return column.map(str, na_action="ignore"), "text"


def _joined(value: Any) -> Any:
    if isinstance(value, (list, tuple, np.ndarray)):
        return LIST_SEPARATOR.join(str(v) for v in value if not pd.isna(v))
    return None if pd.isna(value) else str(value)


def _texts(column: pd.Series, kind: Kind = "text") -> Values:
    places, distinct = pd.factorize(column)
    texts = np.asarray(distinct, object)
    known = np.append(texts != "", False).astype(bool)  # place -1 is "missing"
    hashes = np.append(
        pd.util.hash_array(texts, categorize=False) if len(texts) else np.zeros(0, np.uint64), MISSING_HASH
    )
    missing = ~known[places]
    return Values(
        "empty" if missing.all() else kind,
        missing,
        np.where(missing, MISSING_HASH, hashes[places]),
        None,
        np.append(texts, np.array([None], object))[places],
    )


def _times(column: pd.Series) -> Values:
    if column.dt.tz is not None:
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    missing = column.isna().to_numpy()
    microseconds = column.astype("datetime64[us]").astype("int64").to_numpy()
    numbers = np.where(missing, np.nan, microseconds / 1000.0)
    hashes = np.where(missing, MISSING_HASH, pd.util.hash_array(microseconds))
    raw = column.dt.strftime("%Y-%m-%d %H:%M:%S").to_numpy(object)
    return Values("empty" if missing.all() else "time", missing, hashes, numbers, raw)


def _numbers(column: pd.Series, kind: Kind) -> Values:
    missing = column.isna().to_numpy()
    numbers = column.to_numpy(np.float64, na_value=np.nan)
    if pd.api.types.is_unsigned_integer_dtype(column.dtype):
        raw = column.to_numpy(np.uint64, na_value=0)
        hashes = pd.util.hash_array(raw)
    elif pd.api.types.is_integer_dtype(column.dtype):
        raw = column.to_numpy(np.int64, na_value=0)
        hashes = pd.util.hash_array(raw)
    else:
        raw = numbers
        # A whole number has the hash it has in a column of whole numbers.
        whole = np.isfinite(numbers) & (np.floor(numbers) == numbers) & (np.abs(numbers) < 2.0**63)
        hashes = pd.util.hash_array(np.where(whole, numbers, 0.0).astype(np.int64))
        hashes[~whole] = pd.util.hash_array(numbers[~whole])
    return Values("empty" if missing.all() else kind, missing, np.where(missing, MISSING_HASH, hashes), numbers, raw)
