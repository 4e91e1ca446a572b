"""One raw value -> its canonical form: the rules that frames, Arrow columns, CSV text and requests share.

Neither TensorFlow nor a schema is needed here, so that clients of a server may ask too.
"""

from __future__ import annotations

import datetime
import decimal
import math
import numbers
import re
import uuid
from typing import Any

import numpy as np
import pandas as pd

MISSING_WORDS = ("NaN", "nan", "NULL", "null", "NA", "None", "")
"""Text that stands for a missing value where a column holds no text."""

LOWEST_INT64, HIGHEST_INT64 = -(2**63), 2**63 - 1

# JSON and TensorFlow have no null for text and whole numbers, so missing values have a fixed code in each raw type.
MISSING_STRING = ""
MISSING_INT64 = LOWEST_INT64
MISSING_FLOAT = float("nan")

TIMES = (datetime.datetime, datetime.date, datetime.timedelta, np.datetime64, np.timedelta64)
"""Types of points in time and of their differences, which NumPy counts among the integers."""

EXACT_FLOAT = 2**53
"""Up to here a float64 says which whole number was meant."""

# 007 is another value than 7, and 0x1f is no number to a person.
_CODE = re.compile(r"[+-]?0[0-9xX]")


def is_missing(value: Any) -> bool:
    """Whether a value stands for none: None, NA, NaT, and NaN of any type, Decimal's among them.

    The empty string is missing too, but only a column says whether a text may be so.
    """
    if value is None or value is pd.NA or value is pd.NaT:
        return True
    if isinstance(value, (float, np.floating)):
        return math.isnan(value)
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return bool(np.isnat(value))
    return isinstance(value, decimal.Decimal) and value.is_nan()


def whole_number(value: Any) -> int | None:
    """The whole number, of any size, that a value is; None if it is none.

    Whole numbers are integers and booleans of Python and NumPy, floats without a fraction up to 2**53 (beyond, a float
    no longer says which one was meant), and decimals and fractions without one, exactly. Text is none: `"007"` is
    another value than 7. Nor are times, though NumPy counts its differences among the integers.
    """
    if isinstance(value, TIMES):
        return None
    if isinstance(value, (bool, np.bool_, numbers.Integral)):
        return int(value)
    if isinstance(value, decimal.Decimal):
        # Decimal("1E+999999") is whole, but no computer writes it.
        is_whole = value.is_finite() and value.adjusted() < 400 and value == value.to_integral_value()
        return int(value) if is_whole else None
    if isinstance(value, numbers.Rational):
        return int(value.numerator) if value.denominator == 1 else None
    if isinstance(value, (float, np.floating)) and float(value).is_integer() and abs(float(value)) <= EXACT_FLOAT:
        return int(value)
    return None


def fits_int64(number: int | None) -> bool:
    """Whether there is a number and int64 holds it."""
    return number is not None and LOWEST_INT64 <= number <= HIGHEST_INT64


def text(value: Any) -> str | None:
    """The text of a discrete value; None if it has none.

    Text and UTF-8 bytes are their own, a UUID is written 8-4-4-4-12 in lower case, and whole numbers in digits: `1.0`
    in a column with gaps was `1`. A number of more digits than Python writes has none.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return None
    number = whole_number(value)
    try:
        return None if number is None else str(number)
    except ValueError:  # more than 4300 digits
        return None


def number(value: Any) -> float | None:
    """The number that a value is, text included, NaN where it is missing; None if it is none, as times are.

    Text is read as in `number_of_text`, and the words for a missing value are one.
    """
    if is_missing(value):
        return MISSING_FLOAT
    if isinstance(value, str):
        said = MISSING_FLOAT if value.strip() in MISSING_WORDS else number_of_text(value, whole=False)
        return None if said is None else float(said)
    if isinstance(value, TIMES) or not isinstance(value, (numbers.Real, decimal.Decimal, np.bool_)):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def number_of_text(written: str, *, whole: bool) -> int | float | None:
    """The number that a text says; None if it says none.

    Blanks around it do not count; digits are not grouped; `true` and `false` are 1 and 0.

    Args:
      written: The text.
      whole: Of a column of whole numbers: there is neither a plus sign nor are there leading zeros, and a number with a
        fraction is returned as the float that it is.

    Returns:
      int if int64 holds the number and it is whole, else float; None too for a whole number beyond int64 if `whole`.
    """
    lower = written.strip().lower()
    if whole and (lower.startswith("+") or _CODE.match(lower)):
        return None
    if lower in ("true", "false"):
        return int(lower == "true")
    try:
        number = float(lower)
    except ValueError:
        return None
    if "_" in lower or math.isnan(number):  # Python reads 1_000 as digits that are grouped
        return None
    try:
        exact = whole_number(decimal.Decimal(lower)) if math.isfinite(number) else None
    except decimal.InvalidOperation:
        exact = None
    if exact is not None and fits_int64(exact):
        return exact
    return number if not whole or not number.is_integer() else None
