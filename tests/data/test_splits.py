"""time_split: order, cuts, ties and errors."""

from __future__ import annotations

import datetime
import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from htlnet_tf.data.splits import time_split
from htlnet_tf.errors import InputError
from htlnet_tf.schema import Binary, Categorical, Continuous, Schema

_SCHEMA = Schema(
    features=(Categorical("user_id"),), targets=(Binary("click"), Continuous("spend")), timestamp="time_ms"
)


def _frame(times: Any) -> pd.DataFrame:
    return pd.DataFrame({"row": np.arange(len(times)), "time_ms": times})


def _rows(parts: tuple[pd.DataFrame, ...]) -> list[list[int]]:
    return [part["row"].tolist() for part in parts]


def test_cuts_at_row_quantiles_of_the_time_order() -> None:
    frame = _frame([9, 8, 7, 6, 5, 4, 3, 2, 1, 0])
    assert _rows(time_split(frame, _SCHEMA)) == [[9, 8, 7, 6, 5, 4, 3, 2], [1], [0]]
    assert _rows(time_split(frame, _SCHEMA, (0.5, 0.5))) == [[9, 8, 7, 6, 5], [4, 3, 2, 1, 0]]


def test_rounding_does_not_lose_a_row_to_floating_point() -> None:
    # 0.7 + 0.1 is 0.7999999999999999; a cut at int(10 * that) would be one row short.
    assert [len(p) for p in time_split(_frame(range(10)), _SCHEMA, (0.7, 0.1, 0.2))] == [7, 1, 2]


def test_rows_of_one_time_keep_their_order_and_go_to_the_earlier_part() -> None:
    # The cut after 2 of 4 rows falls into the three rows of time 1.
    assert _rows(time_split(_frame([2, 1, 1, 1]), _SCHEMA, (0.5, 0.5))) == [[1, 2, 3], [0]]


def test_index_columns_and_the_given_frame_are_kept() -> None:
    frame = _frame([3, 1, 2]).set_axis(["c", "a", "a"])
    before = frame.copy()
    first, second = time_split(frame, _SCHEMA, (0.6, 0.4))
    assert list(first.index) == ["a", "a"] and list(second.index) == ["c"]
    assert list(first.columns) == list(second.columns) == ["row", "time_ms"]
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    "times",
    [
        [4.5, 3.0, 2.0, 1.0],
        pd.array([4, 3, 2, 1], dtype="Int64"),
        np.array([2**64 - 1, 3, 2, 1], dtype=np.uint64),
        pd.to_datetime(["2024-01-04", "2024-01-03", "2024-01-02", "2024-01-01"]),
        pd.to_datetime(["2024-01-04", "2024-01-03", "2024-01-02", "2024-01-01"]).tz_localize("Europe/Berlin"),
        pd.to_timedelta([4, 3, 2, 1], unit="s"),
        [datetime.date(2024, 1, day) for day in (4, 3, 2, 1)],
        ["2024-01-04T12:00:00", "2024-01-03", "2024-01-02", "2023-12-31"],
        pd.Categorical(["2024-01-04", "2024-01-03", "2024-01-02", "2024-01-01"]),
        # As text these would be in another order: 01:30+03:00 is 22:30 of the day before in UTC.
        ["2024-01-02T00:00Z", "2024-01-01T23:30Z", "2024-01-01T23:00Z", "2024-01-02T01:30+03:00"],
        # Beyond the nanosecond range.
        np.array(["9999-01-01", "2024-01-03", "2024-01-02", "2024-01-01"], dtype="datetime64[s]"),
    ],
)
def test_every_ordered_kind_of_timestamp(times: Any) -> None:
    assert _rows(time_split(_frame(times), _SCHEMA, (0.5, 0.25, 0.25))) == [[3, 2], [1], [0]]


def test_nanoseconds_are_not_merged_by_float64() -> None:
    base = 1_700_000_000_000_000_000
    assert _rows(time_split(_frame([base + 1, base]), _SCHEMA, (0.5, 0.5))) == [[1], [0]]


@given(
    times=st.lists(st.integers(0, 40), min_size=2, max_size=60),
    weights=st.lists(st.integers(1, 10), min_size=2, max_size=4),
)
def test_parts_are_a_partition_in_time_without_straddling(times: list[int], weights: list[int]) -> None:
    fractions = tuple(w / sum(weights) for w in weights)
    frame = _frame(times)
    try:
        parts = time_split(frame, _SCHEMA, fractions)
    except InputError as error:
        assert "at least one row" in str(error)
        assume(False)
        return
    assert sorted(itertools.chain(*_rows(parts))) == list(range(len(times)))
    for earlier, later in itertools.pairwise(parts):
        assert earlier["time_ms"].max() < later["time_ms"].min()
    most_ties = int(frame["time_ms"].value_counts().max())
    sizes = np.cumsum([len(p) for p in parts])[:-1]
    wanted = np.cumsum(fractions)[:-1] * len(times)
    # A cut only ever moves to the later rows of its own timestamp.
    assert (sizes >= wanted - 0.5 - 1e-6).all() and (sizes <= wanted + most_ties + 0.5).all()


@pytest.mark.parametrize(
    ("fractions", "part"),
    [
        ((0.8, 0.1), "sum to 0.9"),
        ((0.8, 0.3, -0.1), "received -0.1 at position 2"),
        ((1.0, 0.0), "received 1.0 at position 0"),
        ((float("nan"), 0.5), "received nan at position 0"),
        ((1.0,), "received 1 of them"),
        ((), "received 0 of them"),
        (("most", "rest"), "'most'"),
        (0.8, "received 0.8"),
        ((0.5, 0.5 + 1e-8), "sum to"),
    ],
)
def test_fractions_out_of_range(fractions: Any, part: str) -> None:
    with pytest.raises(InputError, match="fractions must be at least two numbers above 0 that sum to 1") as caught:
        time_split(_frame(range(10)), _SCHEMA, fractions)
    assert part in str(caught.value)


def test_fractions_may_be_off_by_floating_point() -> None:
    assert len(time_split(_frame(range(10)), _SCHEMA, (0.5, 0.5 + 1e-10))) == 2
    assert len(time_split(_frame(range(10)), _SCHEMA, [0.1] * 10)) == 10


@pytest.mark.parametrize(
    ("times", "parts"),
    [
        ([1.0, None, 3.0, None], ["'time_ms'", "2 missing of 4", "row 1"]),
        (["2024-01-01", None], ["'time_ms'", "1 missing of 2", "row 1"]),
        (["2024-01-01", "yesterday"], ["ISO 8601", "'time_ms'", "'yesterday'", "row 1"]),
        (["1700000000000", "1700000000001"], ["ISO 8601", "'1700000000000'", "numeric dtype"]),
        ([1, 2.5, "x"], ["'time_ms'", "'x'", "row 2"]),
        ([True, False], ["'time_ms'", "boolean"]),
        ([1.0, np.inf], ["'time_ms'", "finite", "row 1"]),
        ([], ["empty"]),
        ([1], ["part 1 of 2", "1 rows"]),
        ([7, 7, 7], ["part 2 of 2", "1 distinct values of 'time_ms'"]),
    ],
)
def test_timestamps_that_cannot_be_split(times: Any, parts: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        time_split(_frame(times), _SCHEMA, (0.5, 0.5))
    for part in parts:
        assert part in str(caught.value)


def test_missing_timestamp_is_reported_with_its_index_label() -> None:
    with pytest.raises(InputError, match=r"row 1 \(index 'b'\)"):
        time_split(_frame([1.0, np.nan]).set_axis(["a", "b"]), _SCHEMA, (0.5, 0.5))


def test_schema_without_timestamp_and_frame_without_column() -> None:
    no_time = Schema(features=_SCHEMA.features, targets=_SCHEMA.targets)
    with pytest.raises(InputError, match="schema to name the timestamp column"):
        time_split(_frame([1, 2]), no_time)
    with pytest.raises(InputError, match=r"'time_ms' is not in the frame; its columns are \['row', 'time'\]"):
        time_split(_frame([1, 2]).rename(columns={"time_ms": "time"}), _SCHEMA)
    twice = pd.concat([_frame([1, 2]), _frame([1, 2])], axis=1)
    with pytest.raises(InputError, match="2 of that name"):
        time_split(twice, _SCHEMA)
