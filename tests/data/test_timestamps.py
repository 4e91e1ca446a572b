"""Timestamps: what is read, comparisons that are exact in any unit, and columns in pieces."""

from __future__ import annotations

import datetime
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from htlnet_tf.data import timestamps
from htlnet_tf.errors import InputError, RowError

# 2024-03-01T12:00:00Z in seconds since 1970: 19783 days (date +%s) and half a day.
_NOON = 19_783 * 86_400 + 43_200
_INT64 = st.integers(-(2**63) + 1, 2**63 - 1)  # NumPy's "not a time" is -2**63


def _parse(values: Any, **kwargs: Any) -> timestamps.Timestamps:
    return timestamps.parse(pd.Series(values, name="t", **kwargs))


@pytest.mark.parametrize(
    ("values", "kind", "point"),
    [
        ([5, 7], "number", 5),
        (pd.array([5, 7], dtype="Int64"), "number", 5),
        (pd.Categorical([5, 7]), "number", 5),
        (np.array([2**64 - 1, 3], np.uint64), "number", 2**64 - 1),
        (pd.Series([2**64 - 1, 3], dtype=object), "number", 2**64 - 1),
        ([0.1, 7.0], "number", 0.1),
        (["2024-03-01T12:00:00+01:00", "2024-03-02"], "datetime", "2024-03-01T11:00:00.000000Z"),
        (pd.Categorical(["2024-03-01T12:00:00.5", "2024-03-02"]), "datetime", "2024-03-01T12:00:00.500000Z"),
        (pd.to_datetime(["2024-03-01 12:00"]).as_unit("s"), "datetime", "2024-03-01T12:00:00Z"),
        (pd.to_datetime(["2024-03-01 12:00:00.123456789"]), "datetime", "2024-03-01T12:00:00.123456789Z"),
        (pd.to_datetime(["2024-03-01 12:00"]).tz_localize("Europe/Berlin").as_unit("ms"), "datetime",
         "2024-03-01T11:00:00.000Z"),
        ([datetime.date(9999, 12, 31)], "datetime", "9999-12-31T00:00:00Z"),
        (pd.to_timedelta([1500, 7], unit="ms"), "timedelta", "PT1.5S"),
        (pd.to_timedelta([-1, 7], unit="ns"), "timedelta", "PT-0.000000001S"),
        (pd.Series([datetime.timedelta(days=1)], dtype=object), "timedelta", "PT86400S"),
    ],
)  # fmt: skip
def test_a_column_is_read_and_a_timestamp_of_it_written(values: Any, kind: str, point: Any) -> None:
    times = _parse(values)
    assert times.kind == kind
    assert times.point(times.values[0]) == point
    assert type(times.point(times.values[0])) is type(point)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_the_four_units_of_datetimes_compare_alike(unit: str) -> None:
    column = pd.Series(pd.to_datetime([_NOON - 1, _NOON, _NOON + 1], unit="s").as_unit(unit), name="t")
    times = timestamps.parse(column)
    assert times.unit == unit
    for noon in ("2024-03-01T12:00:00Z", "2024-03-01T13:00+01:00", "2024-03-01 12:00:00.000000000"):
        assert times.passed([noon], inclusive=True).tolist() == [0, 1, 1]
        assert times.passed([noon], inclusive=False).tolist() == [0, 0, 1]
    # Finer than seconds can say.
    assert times.passed(["2024-03-01T12:00:00.000000001Z"], inclusive=True).tolist() == [0, 0, 1]
    assert times.passed(["2024-03-01T11:59:59.999999999Z"], inclusive=False).tolist() == [0, 1, 1]


@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
@pytest.mark.parametrize("dtype", ["int64", "float64"])
def test_numbers_are_compared_with_dates_by_unit(unit: Any, factor: int, dtype: str) -> None:
    times = _parse((np.array([_NOON - 60, _NOON, _NOON + 60]) * factor).astype(dtype))
    assert times.passed(["2024-03-01T12:00Z", "2024-03-01T12:01Z"], inclusive=True, unit=unit).tolist() == [0, 1, 2]


@given(values=st.lists(_INT64, min_size=1, max_size=5), point=st.one_of(_INT64, st.floats(-1e19, 1e19)))
def test_whole_numbers_are_compared_exactly(values: list[int], point: int | float) -> None:
    times = _parse(np.array(values, np.int64))
    assert times.passed([point], inclusive=False).tolist() == [int(v > Fraction(point)) for v in values]
    assert times.passed([point], inclusive=True).tolist() == [int(v >= Fraction(point)) for v in values]


@given(
    values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5),
    point=st.one_of(st.integers(-(10**20), 10**20), st.floats(allow_nan=False, allow_infinity=False)),
)
def test_floats_are_compared_exactly(values: list[float], point: int | float) -> None:
    times = _parse(values)
    assert times.passed([point], inclusive=False).tolist() == [int(Fraction(v) > point) for v in values]
    assert times.passed([point], inclusive=True).tolist() == [int(Fraction(v) >= point) for v in values]


def test_a_point_between_two_floats() -> None:
    # Above 2**53 only even numbers are floats: 2**53 + 3 rounds up and 2**53 + 1 down.
    times = _parse([2.0**53, 2.0**53 + 2, 2.0**53 + 4])
    for inclusive in (True, False):
        assert times.passed([2**53 + 1, 2**53 + 3], inclusive=inclusive).tolist() == [0, 1, 2]


def test_unsigned_numbers_and_points_out_of_range() -> None:
    times = _parse(np.array([2**63, 2**64 - 1], np.uint64))
    assert times.passed([2**63, 2**64 - 1, 2**64, -1, 10**400], inclusive=True).tolist() == [2, 3]
    assert _parse([0.5]).passed([10**400, -(10**400)], inclusive=True).tolist() == [1]


@given(value=_INT64, unit=st.sampled_from(["us", "ns"]), kind=st.sampled_from(["datetime64", "timedelta64"]))
def test_a_written_timestamp_is_exact(value: int, unit: str, kind: str) -> None:
    # Years 1 to 9999 in microseconds; nanoseconds never leave 1677 .. 2262.
    value %= 2 * 10**17 if unit == "us" else 2**63
    times = _parse(np.array([value], f"{kind}[{unit}]"))
    point = times.point(times.values[0])
    assert timestamps.exact(point)[1] == value * (1000 if unit == "us" else 1)
    assert times.passed([point], inclusive=True).tolist() == [1]
    assert times.passed([point], inclusive=False).tolist() == [0]


def test_a_year_that_iso_8601_cannot_write() -> None:
    times = _parse(np.array(["12000-01-01"], "datetime64[s]"))
    with pytest.raises(InputError, match=r"ISO 8601 .*received '12000-01-01T00:00:00Z'"):
        times.point(times.values[0])


@pytest.mark.parametrize(
    ("point", "message"),
    [
        (7, r"column 't' holds datetimes \(.*2024.* at row 0, index 0\), and 7 is a number"),
        ("PT7S", "is a timedelta"),
        ("now", "ISO 8601.*received 'now'"),
        ("soon", "ISO 8601.*received 'soon'"),
        ("", "ISO 8601.*received ''"),
        (float("nan"), "finite number or a date; received nan"),
        (True, "finite number or a date; received True"),
    ],
)
def test_points_that_cannot_be_compared(point: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        _parse(["2024-01-01"]).passed([point], inclusive=True)


@pytest.mark.parametrize(
    ("values", "message", "rows"),
    [
        (["2024-01-01", None], "row 1 .*must not be missing", [False, True]),
        (pd.Categorical([None, "2024-01-01"]), "row 0 .*must not be missing", [True, False]),
        (["2024-01-01", "today"], "row 1 .*ISO 8601.*received 'today'", [False, True]),
        (pd.Categorical(["2024-01-01", "soon"]), "row 1 .*ISO 8601.*received 'soon'", [False, True]),
        ([1.0, -np.inf], "row 1 .*must be finite; received -inf", [False, True]),
        (pd.Series([1, 2**64], dtype=object), "row 1 .*64 bits; received 18446744073709551616", [False, True]),
        (pd.Series([-1, 2**63], dtype=object), "row 1 .*64 bits", [False, True]),
        ([True, False], "row 0 .*these are boolean; received True", [True, True]),
        ([1j, 2j], "row 0 .*these are complex", [True, True]),
        (pd.Series([datetime.date(2024, 1, 1), 5], dtype=object), "row 1 .*received 5", [False, True]),
    ],
)
def test_rows_that_are_no_timestamps(values: Any, message: str, rows: list[bool]) -> None:
    with pytest.raises(RowError, match=f"column 't', {message}") as caught:
        _parse(values)
    assert caught.value.rows.tolist() == rows


def test_pieces_in_different_units_are_merged_exactly() -> None:
    seconds = _parse(pd.to_datetime([5, 3], unit="s").as_unit("s"))
    nanoseconds = _parse(pd.to_datetime([5_000_000_001], unit="ns"))
    merged = timestamps.merge([seconds, nanoseconds, seconds])
    assert merged.unit == "ns"
    assert merged.values.tolist() == [5 * 10**9, 3 * 10**9, 5 * 10**9 + 1, 5 * 10**9, 3 * 10**9]


@pytest.mark.parametrize(
    ("first", "second", "dtype"),
    [
        ([1], [2**63 - 1], np.int64),
        ([1], np.array([2**64 - 1], np.uint64), np.uint64),
        ([2**60 + 1], [4.0], np.int64),
        ([2**53], [0.5], np.float64),
        ([0.5], [1e300], np.float64),
    ],
)
def test_pieces_of_different_numbers_are_merged_exactly(first: Any, second: Any, dtype: Any) -> None:
    merged = timestamps.merge([_parse(first), _parse(second)])
    assert merged.values.dtype == dtype
    assert merged.values.tolist() == [int(first[0]) if dtype != np.float64 else first[0], second[0]]


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([2**53 + 1], [0.5], "column 't' has chunks of different dtypes"),
        ([-1], np.array([2**64 - 1], np.uint64), "column 't' has chunks of different dtypes"),
        (np.array(["9999-01-01"], "datetime64[s]"), np.array(["2024-01-01"], "datetime64[ns]"), "one dtype"),
        ([7], ["2024-01-01"], r"holds numbers \(.*7.* at row 0, index 0\), and datetimes further down"),
    ],
)
def test_pieces_that_do_not_go_together(first: Any, second: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        timestamps.merge([_parse(first), _parse(second)])


def test_merging_keeps_no_view_of_a_piece_and_needs_one() -> None:
    values = np.array([3, 1, 2])
    merged = timestamps.merge([_parse(values)])
    merged.values.sort()
    assert values.tolist() == [3, 1, 2]
    with pytest.raises(InputError, match="there are none"):
        timestamps.merge([])


def test_what_most_values_are_is_expected_of_all() -> None:
    with pytest.raises(RowError, match="column 't', row 0") as caught:
        timestamps.parse(pd.Series(["x", 5, 6, 7], name="t", dtype=object))
    assert caught.value.rows.tolist() == [True, False, False, False]
