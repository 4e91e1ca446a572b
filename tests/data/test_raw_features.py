"""Feature columns of every dtype -> raw arrays, and what is refused."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from htlnet_tf.data.raw_features import categorical_dtype, distinct_values, numeric_values, time_values
from htlnet_tf.errors import InputError, RowError
from htlnet_tf.schema import Categorical, Numeric, Timestamp

C = Categorical("c")


def int64(column: pd.Series) -> np.ndarray:
    codes, values = distinct_values(column, dataclasses.replace(C, dtype="int64"))
    return values[codes]


def strings(column: pd.Series, feature: Categorical = C) -> np.ndarray:
    codes, values = distinct_values(column, dataclasses.replace(feature, dtype="string"))
    return values[codes]


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (pd.Series([1, 2]), "int64"),
        (pd.Series([True, False]), "int64"),
        (pd.Series([1.0, np.nan]), "int64"),
        (pd.Series([1, None], dtype="Int64"), "int64"),
        (pd.Series([1, None], dtype=object), "int64"),
        (pd.Series(["a", None]), "string"),
        (pd.Series(["1", "2"]), "string"),
        (pd.Series(["a", 1], dtype=object), "string"),
        (pd.Series(["a", "b"], dtype="category"), "string"),
        (pd.Series([3, 4], dtype="category"), "int64"),
        (pd.Series([3, None, 4], dtype="Int64").astype("category"), "int64"),
    ],
)
def test_the_dtype_of_a_categorical_comes_from_the_values(values: pd.Series, dtype: str) -> None:
    assert categorical_dtype(values.rename("c"), C) == dtype


def test_missing_values_have_a_code_per_dtype() -> None:
    assert int64(pd.Series([7.0, np.nan], name="c")).tolist() == [7, -(2**63)]
    assert int64(pd.Series([7, None], dtype="Int64", name="c")).tolist() == [7, -(2**63)]
    assert strings(pd.Series(["x", None, ""], name="c")).tolist() == ["x", "", ""]
    assert np.isnan(numeric_values(pd.Series([1.0, None], name="c"), Numeric("c"))[1])


def test_categories_with_gaps() -> None:
    column = pd.Series([3, None, 4], dtype="Int64", name="c").astype("category")
    assert int64(column).tolist() == [3, -(2**63), 4]
    text = pd.Series(["x", None], name="c").astype("category")
    assert strings(text).tolist() == ["x", ""]


def test_whole_numbers_become_their_decimal_text() -> None:
    text = strings(pd.Series([1.0, 2, np.nan, "007"], dtype=object, name="c"))
    assert text.tolist() == ["1", "2", "", "007"]


def test_the_ends_of_int64_are_kept() -> None:
    values = pd.Series([2**63 - 1, -(2**63) + 1], name="c")
    assert int64(values).tolist() == [2**63 - 1, -(2**63) + 1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.5, 2.0], r"column 'c', row 0 \(index 0\): .* whole numbers.*received 1.5"),
        ([1.0, np.inf], r"row 1 .*received inf"),
    ],
)
def test_a_categorical_of_fractions_is_refused(values: list[Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        categorical_dtype(pd.Series(values, name="c"), C)


def test_another_type_than_fitted_is_refused_by_row() -> None:
    with pytest.raises(InputError, match=r"column 'c', row 1 \(index 1\): .*int64.*received 'x'"):
        int64(pd.Series([1, "x"], name="c", dtype=object))
    with pytest.raises(InputError, match=r"row 0 .*strings or whole numbers; received 1.5"):
        strings(pd.Series([1.5, "x"], name="c", dtype=object))
    with pytest.raises(InputError, match=r"row 0 .*whole numbers"):
        int64(pd.Series([2**63], name="c", dtype="uint64"))


def test_numeric_rules() -> None:
    assert numeric_values(pd.Series([-124, 3]), Numeric("c", missing_values=[-124]))[0] != -124
    with pytest.raises(InputError, match=r"row 1 .*must be finite in float32; received inf"):
        numeric_values(pd.Series([1.0, np.inf], name="c"), Numeric("c"))
    with pytest.raises(InputError, match=r"row 0 .*log1p, so it must not be negative; received -1.0"):
        numeric_values(pd.Series([-1.0], name="c"), Numeric("c", log1p=True))
    with pytest.raises(InputError, match=r"row 1 .*numeric; received 'x'"):
        numeric_values(pd.Series(["1", "x"], name="c"), Numeric("c"))


def test_a_slice_of_categories_knows_only_what_it_holds() -> None:
    column = pd.Series(["a", None, "b", "c"], name="c", dtype="category").iloc[1:3]
    codes, values = distinct_values(column, Categorical("c", dtype="string"))
    assert values.tolist() == ["b", ""]
    assert codes.tolist() == [1, 0]


def test_lists_become_strings_with_the_separator() -> None:
    tag = Categorical("tag", separator=",")
    column = pd.Series([["a", "b"], [], None, (1, 2.0, None), np.array(["c"]), "d,e"], name="tag", dtype=object)
    assert strings(column, tag).tolist() == ["a,b", "", "", "1,2", "c", "d,e"]
    with pytest.raises(RowError, match=r"column 'tag', row 1 .*joined by ','.*received \['a,b'\]"):
        strings(pd.Series([["a"], ["a,b"]], name="tag"), tag)
    with pytest.raises(RowError, match=r"row 0 .*lists strings or whole numbers"):
        strings(pd.Series([[1.5]], name="tag"), tag)
    with pytest.raises(RowError, match=r"row 0 .*for lists declare a separator"):
        strings(pd.Series([["a"]], name="c"))


def test_an_error_carries_the_rows_that_offend() -> None:
    with pytest.raises(RowError) as caught:
        int64(pd.Series([1, "x", None, "x"], dtype=object, name="c"))
    assert caught.value.rows.tolist() == [False, True, False, True]
    assert (caught.value.column, caught.value.value) == ("c", "x")


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_points_in_time_count_in_the_declared_unit(unit: Any) -> None:
    # 2024-03-01T12:00:00Z is 1,709,294,400 s since 1970, by `date -d ... +%s`.
    expected = 1_709_294_400 * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    feature = Timestamp("t", unit=unit)
    texts = pd.Series(["2024-03-01T12:00:00Z", None, "2024-03-01T13:00:00+01:00"], name="t")
    zoned = pd.Series(pd.to_datetime(texts, utc=True, format="ISO8601")).dt.tz_convert("Asia/Shanghai")
    for column in (texts, zoned, zoned.dt.tz_convert(None), texts.astype("category")):
        assert time_values(column, feature).tolist() == [expected, -(2**63), expected]
    assert time_values(pd.Series([expected, None], dtype="Int64"), feature).tolist() == [expected, -(2**63)]
    with pytest.raises(RowError, match=r"row 1 .*is a timestamp.*received 'yesterday'"):
        time_values(pd.Series(["2024-03-01", "yesterday"], name="t"), feature)
    with pytest.raises(RowError, match=r"row 1 .*received 'now'"):
        time_values(pd.Series(["2024-03-01", "now"], name="t"), feature)
    with pytest.raises(RowError, match=r"row 0 .*received 1.5"):
        time_values(pd.Series([1.5], name="t"), feature)


def test_numbers_too_large_are_refused_by_row() -> None:
    with pytest.raises(RowError, match=r"row 1 .*whole numbers"):
        int64(pd.Series([1, 1e300, "x"], dtype=object, name="c"))
    with pytest.raises(RowError, match=r"row 1 .*is numeric"):
        numeric_values(pd.Series([1, 10**400], dtype=object, name="c"), Numeric("c"))
    with pytest.raises(RowError, match=r"row 1 .*end in 2262"):
        time_values(pd.Series(["2024-03-01", "3000-01-01"], name="t"), Timestamp("t", unit="ns"))


@pytest.mark.parametrize(
    ("feature", "count", "unreadable"),
    [
        (Timestamp("t", unit="s"), 3, "soon"),
        (Timestamp("t", unit="s", format="%H:%M:%S %d.%m.%Y"), "00:00:03 01.01.1970", 7),
    ],
)
def test_times_of_a_request_stand_side_by_side(feature: Timestamp, count: Any, unreadable: Any) -> None:
    moment = datetime.datetime(1970, 1, 1, 0, 0, 1)
    zoned = pd.Timestamp("1970-01-01T09:00:02", tz="Asia/Tokyo")
    column = pd.Series([moment, zoned, count, None, datetime.date(1970, 1, 2)], dtype=object, name="t")
    assert time_values(column, feature).tolist() == [1, 2, 3, -(2**63), 86_400]
    column[3] = unreadable
    with pytest.raises(RowError, match="column 't', row 3 "):
        time_values(column, feature)
