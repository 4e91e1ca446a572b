"""What form text has where it is no plain number, label or ISO time, told by the first rows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import numpy as np
import pandas as pd

from htlnet_tf.data import timestamps
from htlnet_tf.data.columns import MISSING_WORDS, by_value
from htlnet_tf.inspection import names
from htlnet_tf.inspection.readings import Puzzle, Reading
from htlnet_tf.schema import Binary

# Distinct texts that are looked at to tell a column's form; every further row is then read by it.
MAX_TRIED = 20_000
_DAYS = (
    *("%d.%m.%Y", "%d.%m.%y", "%d/%m/%Y", "%m/%d/%Y", "%d/%m/%y", "%m/%d/%y", "%d-%m-%Y", "%m-%d-%Y"),
    *("%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%d %b %Y", "%d-%b-%Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y"),
)
_TIMES = (
    *("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %H:%M:%S%z", " %H:%M:%S %z", "T%H:%M:%S", "T%H:%M:%S%z"),
    *(", %H:%M", ", %H:%M:%S", " %I:%M %p", " %I:%M:%S %p", ":%H:%M:%S %z"),
)
_FORMATS = (*(day + time for day in _DAYS for time in _TIMES), "%d/%b/%Y:%H:%M:%S %z", "%Y%m%d%H%M%S")
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}.*)?")
_OFFSET = re.compile(r"\d\d:\d\d(?::\d\d(?:\.\d+)?)? ?(?:([+-])(\d{2}):?(\d{2})|Z)$")
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,?\d+([eE][+-]?\d+)?", re.ASCII)
# A list of codes has no code "05" and none below 0.
_TELLING_FRACTION = re.compile(r"[+-]?\d*,0\d+|-\d*,\d+")
# Of so many distinct texts or more, a few may be of another form: those rows are told to be mended.
_MANY, _SHARE = 50, 0.98
_YES = frozenset(("y", "yes", "true", "t", "on", "j", "ja"))
_NO = frozenset(("n", "no", "false", "f", "off", "nein"))
_LOOSE_NUMBER = re.compile(r"[€$£¥]? ?[+-]?\d{1,3}([.,' ]?\d{3})*([.,]\d+)? ?(%|€|\$|£|[A-Za-z]{1,3})?")


def find_reading(name: str, parts: Sequence[pd.Series], *, is_label: bool) -> Reading | Puzzle | None:
    """What the first rows of a column say of its form; None if it is read as it is.

    Args:
      name: Of the column.
      parts: The first rows.
      is_label: Whether it has been named as a target.
    """
    zoned = [part for part in parts if isinstance(part.dtype, pd.DatetimeTZDtype)]
    if zoned:
        return _with_offsets(Reading("time"), Counter(hours for part in zoned for hours in _zone_offsets(part)))
    texts = _distinct(parts)
    if texts is None:
        return _whole_days(name, parts)
    shown = [text for text in texts if text not in MISSING_WORDS]
    if not shown:
        return None
    flag = _flag(shown)
    if flag is not None or (is_label and len(shown) == 2 and not all(_is_number(text) for text in shown)):
        return flag or Puzzle(
            f"it holds the words {shown[0]!r} and {shown[1]!r}: write the schema by hand, with positive: "
            f"{shown[0]!r} or {shown[1]!r} at this target"
        )
    if _most(bool(_ISO.fullmatch(text)) for text in shown) and _are_times(shown, timestamps.ISO):
        return _with_offsets(Reading("time"), _text_offsets(shown))
    found = _format(shown)
    if found is not None:
        return found
    if _are_decimal(name, shown):
        return Reading("decimal")
    if len(shown) > 50 and all(_LOOSE_NUMBER.fullmatch(text) for text in shown) and _is_marked(shown):
        example = next(text for text in shown if not _is_number(text))
        return Puzzle(
            f"numbers with a unit or grouped digits, {example!r}: write them as plain numbers, 1234.5 (or 1234,5 and "
            "decimal: ',')"
        )
    return None


def _are_decimal(name: str, shown: Sequence[str]) -> bool:
    """Whether text is numbers with a decimal comma, and not lists of codes."""
    numbers = [text for text in shown if _DECIMAL_COMMA.fullmatch(text)]
    fractions = [text.partition(",")[2] for text in numbers if "," in text]
    if not fractions or not _most(bool(_DECIMAL_COMMA.fullmatch(text)) for text in shown):
        return False
    if names.is_amount_like(name) or names.is_outcome_like(name) or names.core_rank(name) is not None:
        return True
    rounded_alike = len(fractions) == len(numbers) >= _MANY and len({len(text) for text in fractions}) == 1
    return rounded_alike or any(_TELLING_FRACTION.fullmatch(text) for text in numbers)


def _most(fits: Iterable[bool]) -> bool:
    listed = list(fits)
    return sum(listed) >= (_SHARE if len(listed) >= _MANY else 1.0) * len(listed)


def _distinct(parts: Sequence[pd.Series]) -> list[str] | None:
    """The distinct texts of the first rows, the first seen first; None if the column holds something else."""
    found: dict[str, None] = {}
    for part in parts:
        if not part.notna().any():
            continue
        if part.dtype == object and pd.api.types.infer_dtype(part, skipna=True) != "string":
            return None  # lists among them, which have no hash
        codes, distinct = by_value(part)
        used = [distinct[code] for code in pd.unique(codes[codes >= 0])]
        if not all(isinstance(value, str) for value in used):
            return None
        found.update(dict.fromkeys(value.strip() for value in used[: MAX_TRIED - len(found)]))
    return list(found) or None


def _whole_days(name: str, parts: Sequence[pd.Series]) -> Reading | None:
    """Whole numbers that are days, 20240501, in a column whose name says that it is a time."""
    if names.timestamp_rank(name) is None and not names.is_day(name):
        return None
    for part in parts:
        if not pd.api.types.is_integer_dtype(part.dtype):
            return None
        values = part.dropna()
        if not values.between(19_000_101, 21_001_231).all() or timestamps.written(values, "%Y%m%d")[1].any():
            return None
    return Reading("time", format="%Y%m%d")


def _flag(shown: Sequence[str]) -> Reading | None:
    """Two words that are opposites, such as yes and no."""
    if len(shown) != 2 or set(shown) == {"0", "1"}:
        return None
    lower = [text.lower() for text in shown]
    positive = next((text for text in shown if text.lower() in _YES), None)
    if positive is None or not set(lower) & _NO:
        return None
    negative = shown[1 - shown.index(positive)]
    usual = Binary("label", positive=positive).happened(negative) is False
    return Reading("flag", positive=positive, negative=None if usual else negative)


def _format(shown: Sequence[str]) -> Reading | Puzzle | None:
    first = shown[:5]
    fitting = [f for f in _FORMATS if 2 * sum(_fits(text, f) for text in first) > len(first)]
    fitting = [f for f in fitting if _are_times(shown, f)]
    if not fitting:
        return None
    if len({_moments(shown, f).tobytes() for f in fitting[:2]}) > 1:
        return Puzzle(
            "dates of which the day and the month cannot be told apart: declare it as kind timestamp with format: "
            f"'{fitting[0]}' or '{fitting[1]}'"
        )
    return _with_offsets(Reading("time", format=fitting[0]), _text_offsets(shown))


def _are_times(shown: Sequence[str], format: str) -> bool:
    return _most(~timestamps.written(pd.Series(shown, dtype=object), format)[1])


def _moments(shown: Sequence[str], format: str) -> np.ndarray:
    return timestamps.written(pd.Series(shown, dtype=object), format)[0]


def _fits(text: str, format: str) -> bool:
    if format == "%Y%m%d" and len(text) != 8:
        return False  # 202415 is a number
    try:
        datetime.strptime(text, format)
    except ValueError:
        return False
    return True


def _zone_offsets(column: pd.Series) -> list[float]:
    local = column.dropna().dt
    gaps = local.tz_localize(None) - local.tz_convert("UTC").dt.tz_localize(None)
    return (gaps.dt.total_seconds() / 3600).tolist()


def _text_offsets(texts: Sequence[str]) -> Counter[float]:
    found: Counter[float] = Counter()
    for text in texts:
        match = _OFFSET.search(text)
        if match:
            sign, hours, minutes = match.groups()
            found[(int(hours) + int(minutes) / 60) * (-1 if sign == "-" else 1) if sign else 0.0] += 1
    return found


def _with_offsets(reading: Reading, offsets: Mapping[float, int]) -> Reading:
    if not offsets:
        return reading
    most = max(offsets, key=lambda hours: offsets[hours])
    return Reading(reading.kind, reading.format, offset_hours=most, offsets=len(offsets))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_marked(shown: Sequence[str]) -> bool:
    """Whether what keeps text from being a number is a unit or grouping, rather than nothing."""
    return any(re.search(r"[€$£¥%]|[A-Za-z]$|\d[.,' ]\d{3}", text) and not _is_number(text) for text in shown)
