"""What is missing, what is a whole number, what is a value's text: by hand."""

from __future__ import annotations

import datetime
import fractions
import subprocess
import sys
import uuid
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from htlnet_tf.data.values import fits_int64, is_missing, number, number_of_text, text, whole_number


@pytest.mark.parametrize(
    "value",
    [None, pd.NA, pd.NaT, float("nan"), np.float32("nan"), np.datetime64("NaT"), Decimal("NaN"), Decimal("sNaN")],
)
def test_missing(value: Any) -> None:
    assert is_missing(value)


@pytest.mark.parametrize("value", [0, 0.0, "", "nan", Decimal("Infinity"), False, [], b""])
def test_not_missing(value: Any) -> None:
    assert not is_missing(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (7, 7),
        (True, 1),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (7.0, 7),
        (np.float32(3.0), 3),
        (2.0**53, 2**53),
        (2.0**53 + 2, None),
        (7.5, None),
        (float("inf"), None),
        (Decimal("7.00"), 7),
        (Decimal("7E+2"), 700),
        (Decimal(2**53 + 1), 2**53 + 1),
        (Decimal(10) ** 30, 10**30),
        (Decimal("7.5"), None),
        (Decimal("1E+999999"), None),
        (Decimal("Infinity"), None),
        (Decimal("sNaN"), None),
        (fractions.Fraction(14, 2), 7),
        (fractions.Fraction(1, 2), None),
        ("7", None),
        (b"7", None),
        (1j, None),
        (np.timedelta64(7, "s"), None),
        (datetime.timedelta(7), None),
        (None, None),
    ],
)
def test_whole_numbers(value: Any, expected: int | None) -> None:
    found = whole_number(value)
    assert (found, type(found)) == (expected, type(expected))


def test_the_bounds_of_int64() -> None:
    assert [fits_int64(n) for n in (-(2**63) - 1, -(2**63), 2**63 - 1, 2**63, None)] == [
        False,
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("007", "007"),
        (7.0, "7"),
        (Decimal("7.0"), "7"),
        (Decimal(10) ** 30, "1" + "0" * 30),
        (uuid.UUID(int=10), "00000000-0000-0000-0000-00000000000a"),
        ("é".encode(), "é"),
        (b"\xff", None),
        (7.5, None),
        (None, None),
        ([1], None),
    ],
)
def test_texts(value: Any, expected: str | None) -> None:
    assert text(value) == expected


@pytest.mark.parametrize(
    ("written", "whole", "number"),
    [
        (" 7 ", "7", "7"),
        ("7.0", "7", "7"),
        ("9007199254740993", "9007199254740993", "9007199254740993"),
        ("9007199254740993.0", "9007199254740993", "9007199254740993"),
        ("1e3", "1000", "1000"),
        ("True", "1", "1"),
        ("7.5", "7.5", "7.5"),
        ("007", "None", "7"),
        ("+7", "None", "7"),
        ("9223372036854775808", "None", "9.223372036854776e+18"),
        ("inf", "inf", "inf"),
        ("nan", "None", "None"),
        ("1_000", "None", "None"),
        ("0x1f", "None", "None"),
        ("seven", "None", "None"),
    ],
)
def test_numbers_in_text(written: str, whole: str, number: str) -> None:
    assert repr(number_of_text(written, whole=True)) == whole
    assert repr(number_of_text(written, whole=False)) == number


def test_the_rules_need_no_tensorflow() -> None:
    code = "import sys, htlnet_tf.data.values, htlnet_tf.data.columns; sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (7, 7.0),
        (np.bool_(True), 1.0),
        (Decimal("0.5"), 0.5),
        (fractions.Fraction(1, 4), 0.25),
        (" 1.5 ", 1.5),
        ("007", 7.0),
        ("true", 1.0),
        ("inf", float("inf")),
        ("1_000", None),
        ("1,5", None),
        ("cheap", None),
        (b"1", None),
        (1j, None),
        ([1.0], None),
        (10**400, None),
        (np.timedelta64(1, "s"), None),
        (pd.Timestamp(0), None),
    ],
)
def test_numbers(value: Any, expected: float | None) -> None:
    assert number(value) == expected


@pytest.mark.parametrize("value", [None, pd.NA, Decimal("NaN"), "", "NaN", " null ", np.float32("nan")])
def test_numbers_that_are_missing(value: Any) -> None:
    read = number(value)
    assert read is not None and np.isnan(read)


def test_what_python_does_not_write_has_no_text() -> None:
    assert text(10**5000) is None
