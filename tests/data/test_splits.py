"""time_split: order, cuts, ties and errors; Split: the same of chunks, kept and read again."""

from __future__ import annotations

import datetime
import itertools
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from htlnet_tf.data.splits import PARTS, ColumnSplit, HashSplit, RandomSplit, Split, SplitConfig, TimeSplit, time_split
from htlnet_tf.errors import InputError, RowError
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
        ([1.0, None, 3.0, None], ["'time_ms'", "must not be missing", "row 1", "1 more such"]),
        (["2024-01-01", None], ["'time_ms'", "must not be missing", "row 1"]),
        (["2024-01-01", "yesterday"], ["ISO 8601", "'time_ms'", "'yesterday'", "row 1"]),
        (["1700000000000", "1700000000001"], ["ISO 8601", "'1700000000000'", "numeric dtype"]),
        ([1, 2.5, "x"], ["'time_ms'", "'x'", "row 2"]),
        ([True, False], ["'time_ms'", "boolean"]),
        ([1.0, np.inf], ["'time_ms'", "finite", "row 1"]),
        ([], ["the frame has no rows"]),
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
    with pytest.raises(InputError, match=r"row 1 \(index b\)"):
        time_split(_frame([1.0, np.nan]).set_axis(["a", "b"]), _SCHEMA, (0.5, 0.5))


def test_schema_without_timestamp_and_frame_without_column() -> None:
    no_time = Schema(features=_SCHEMA.features, targets=_SCHEMA.targets)
    with pytest.raises(InputError, match="schema to name the timestamp column"):
        time_split(_frame([1, 2]), no_time)
    with pytest.raises(InputError, match=r"'time_ms' is missing; the frame has \['row', 'time'\]"):
        time_split(_frame([1, 2]).rename(columns={"time_ms": "time"}), _SCHEMA)
    twice = pd.concat([_frame([1, 2]), _frame([1, 2])], axis=1)
    with pytest.raises(InputError, match="'time_ms' appears 2 times"):
        time_split(twice, _SCHEMA)


_TENTHS = (0.8, 0.1, 0.1)
_THIRDS = (0.4, 0.3, 0.3)


def _fit(config: SplitConfig, frames: Any = ()) -> Split:
    return Split.fit(config, _SCHEMA, frames)


def _chunks(frame: pd.DataFrame, size: int) -> Iterator[pd.DataFrame]:
    for begin in range(0, len(frame), size):
        yield frame.iloc[begin : begin + size]


def test_a_split_by_time_is_its_cuts() -> None:
    split = _fit(TimeSplit(fractions=_TENTHS), _frame([9, 8, 7, 6, 5, 4, 3, 2, 1, 0]))
    assert split.cuts == (7, 8) and split.columns == ("time_ms",)
    # Rows it was not fitted on, beyond both ends and between.
    assert split.parts(_frame([-5, 7, 8, 9, 100])).tolist() == [0, 0, 1, 2, 2]
    assert split.parts(_frame([7.0, 7.5, 8.5])).tolist() == [0, 1, 2]
    assert split.parts(_frame([])).tolist() == []


def test_it_splits_a_frame_as_time_split_does() -> None:
    frame = _frame(np.random.default_rng(0).integers(0, 200, 1000))
    split = _fit(TimeSplit(fractions=_THIRDS), frame)
    for ours, theirs in zip(split.apply(frame), time_split(frame, _SCHEMA, _THIRDS), strict=True):
        pd.testing.assert_frame_equal(ours, theirs)


@given(times=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=3, max_size=30), size=st.integers(1, 7))
def test_chunks_are_split_as_the_whole(times: list[int], size: int) -> None:
    frame = _frame(np.array(times, np.int64)).assign(user=[t % 5 for t in times])
    configs: list[SplitConfig] = [
        HashSplit(column="user", fractions=_THIRDS),
        RandomSplit(fractions=_THIRDS),
        ColumnSplit(column="user", train=(0, 1, 2), valid=(3,), test=("4",)),
        TimeSplit(dates=(-5, 7)),
    ]
    whole: Any
    try:
        whole = _fit(TimeSplit(fractions=_THIRDS), frame)
    except InputError:  # ties leave a part empty
        with pytest.raises(InputError, match="at least one row"):
            _fit(TimeSplit(fractions=_THIRDS), _chunks(frame, size))
    else:
        assert _fit(TimeSplit(fractions=_THIRDS), _chunks(frame, size)) == whole
        configs.append(TimeSplit(fractions=_THIRDS))
    for config in configs:
        split = _fit(config, frame)
        parts = [split.parts(c, rows=c.index.to_numpy()) for c in _chunks(frame, size)]
        assert np.concatenate(parts).tolist() == split.parts(frame).tolist()


def test_chunks_of_datetimes_in_other_units_and_as_text() -> None:
    times = pd.to_datetime([f"2024-03-{day:02d}T00:00:00.5" for day in range(1, 11)])
    chunks = [
        _frame(times[:4].as_unit("us")),
        _frame([]),
        _frame(times[4:7].as_unit("ns")),
        _frame(pd.Categorical(times[7:].strftime("%Y-%m-%dT%H:%M:%S.%fZ"))),
    ]
    split = _fit(TimeSplit(fractions=_TENTHS), iter(chunks))
    assert split.cuts == ("2024-03-08T00:00:00.500000000Z", "2024-03-09T00:00:00.500000000Z")
    assert [split.parts(chunk).tolist() for chunk in chunks] == [[0, 0, 0, 0], [], [0, 0, 0], [0, 1, 2]]


def test_fitting_keeps_the_timestamps_alone() -> None:
    def wide() -> Iterator[pd.DataFrame]:
        for k in range(20):  # 1.6 MB each, in one block of 40 columns
            values = np.arange(5000 * 40).reshape(5000, 40) + 5000 * 40 * k
            yield pd.DataFrame(values, columns=["time_ms", *(f"c{i}" for i in range(39))])

    tracemalloc.start()
    try:
        _fit(TimeSplit(fractions=_TENTHS), wide())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # 0.8 MB of timestamps and a few chunks, not all 32 MB.
    assert peak < 10e6


def test_dates_are_where_the_next_part_begins() -> None:
    config = TimeSplit(dates=(datetime.date(2024, 3, 2), "2024-03-03T01:00+01:00"))
    texts = ["2024-03-01T23:59:59.999999", "2024-03-02", "2024-03-02T23:59:59", "2024-03-03T00:00:00Z"]
    split = _fit(config)
    assert split.cuts is None
    for times in (texts, pd.Categorical(texts), pd.to_datetime(texts, format="ISO8601", utc=True)):
        assert split.parts(_frame(times)).tolist() == [0, 1, 1, 2]
    # 2024-03-02 is day 19784 since 1970.
    numbers = _frame([19_784 * 86_400_000 - 1, 19_784 * 86_400_000, 19_785 * 86_400_000])
    timed = TimeSplit(dates=("2024-03-02", "2024-03-03"), unit="ms")
    assert _fit(timed).parts(numbers).tolist() == [0, 1, 2]
    assert _fit(timed).parts(_frame(texts)).tolist() == [0, 1, 1, 2]
    assert _fit(TimeSplit(dates=(5, 7.5))).parts(_frame([4, 5, 7, 8])).tolist() == [0, 1, 1, 2]
    with pytest.raises(InputError, match=r"'unit'.*'time_ms' holds numbers \(.*1709337599999.*'2024-03-02'"):
        _fit(config).parts(numbers)
    with pytest.raises(InputError, match=r"holds datetimes .*and 5 is a number"):
        _fit(TimeSplit(dates=(5, 7.5))).parts(_frame(texts))


def test_another_kind_of_timestamp_than_fitted() -> None:
    split = _fit(TimeSplit(fractions=_TENTHS), _frame(range(10)))
    with pytest.raises(InputError, match=r"'time_ms' holds datetimes .*and 7 is a number"):
        split.parts(_frame(["2024-01-01"]))
    dated = _fit(TimeSplit(fractions=_THIRDS), _frame(["2024-01-01", "2024-01-02", "2024-01-03"]))
    with pytest.raises(InputError, match=r"'time_ms' holds numbers .*is a datetime"):
        dated.parts(_frame([1]))
    with pytest.raises(InputError, match="of one kind"):
        _fit(TimeSplit(fractions=_THIRDS), [_frame([1, 2]), _frame(["2024-01-01"])])


def test_a_frame_in_memory_keeps_its_order_and_needs_every_part() -> None:
    frame = _frame([3, 2, 1, 0]).assign(day=["b", "a", "c", "a"])
    config = ColumnSplit(column="day", train=("a",), valid=("b",), test=("c",))
    assert _rows(_fit(config).apply(frame)) == [[1, 3], [0], [2]]
    assert _rows(_fit(TimeSplit(dates=(2, 3))).apply(frame)) == [[3, 2], [1], [0]]
    with pytest.raises(InputError, match=r"by column needs at least one row, but 'test' gets none of the .* 2 rows"):
        _fit(config).apply(frame[:2])
    with pytest.raises(InputError, match="a split by time needs at least one row, but 'valid' gets none"):
        _fit(TimeSplit(dates=(-5, -2))).apply(frame.assign(time_ms=[-9, 0, 0, 0]))
    with pytest.raises(InputError, match="a split by random: the frame has no rows"):
        _fit(RandomSplit(fractions=_TENTHS)).apply(frame[:0])


def test_rows_are_faulted_by_row() -> None:
    split = _fit(HashSplit(column="user", fractions=_TENTHS))
    with pytest.raises(RowError, match=r"column 'user', row 1 \(index 11\): .*missing") as caught:
        split.parts(pd.DataFrame({"user": ["a", None, "b"]}, index=[10, 11, 12]))
    assert caught.value.rows.tolist() == [False, True, False]
    with pytest.raises(InputError, match="a split by hash: column 'user' is missing"):
        split.parts(_frame([1]))
    with pytest.raises(InputError, match="DataFrame is needed, received dict"):
        split.parts({"user": [1]})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="schema to name the timestamp"):
        Split.fit(TimeSplit(dates=(1, 2)), Schema(features=_SCHEMA.features, targets=_SCHEMA.targets), ())
    with pytest.raises(InputError, match="there are none"):
        _fit(TimeSplit(fractions=_TENTHS), [_frame([])])


_NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
_POINTS = st.one_of(
    st.lists(st.integers(-(2**70), 2**70), min_size=2, max_size=2, unique=True),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=2, unique=True),
    st.lists(st.dates(), min_size=2, max_size=2, unique=True),
    st.lists(st.datetimes(), min_size=2, max_size=2, unique=True),
)
_VALUES = st.lists(st.one_of(_NAMES, st.integers(2), st.floats(allow_nan=False, allow_infinity=False)), min_size=1)
_SEEDS = st.integers(0, 2**64 - 1)
_SPLITS = st.one_of(
    st.builds(lambda seed, name: Split(HashSplit(column=name, fractions=_TENTHS, seed=seed)), _SEEDS, _NAMES),
    st.builds(lambda seed: Split(RandomSplit(fractions=_THIRDS, seed=seed)), _SEEDS),
    st.builds(lambda points, name: Split(TimeSplit(dates=tuple(sorted(points))), name), _POINTS, _NAMES),
    st.builds(
        lambda values, name: Split(
            ColumnSplit(column=name, train=tuple(values), valid=("~valid",), test=(True, False))
        ),
        _VALUES.filter(lambda values: not {"~", "0", "1", 0, 1} & set(values)),
        _NAMES,
    ),
    st.builds(
        lambda cuts, name: Split(TimeSplit(fractions=_TENTHS), name, tuple(sorted(cuts))),
        _POINTS.filter(lambda points: not isinstance(points[0], datetime.date)),
        _NAMES,
    ),
)


def test_a_kept_split_reads_well() -> None:
    split = _fit(TimeSplit(fractions=_THIRDS), _frame(["2024-03-01T12:00Z", "2024-03-02", "2024-03-03"]))
    assert split.to_dict() == {
        "config": {"by": "time", "fractions": [0.4, 0.3, 0.3]},
        "timestamp": "time_ms",
        "cuts": ["2024-03-01T12:00:00.000000Z", "2024-03-02T00:00:00.000000Z"],
    }


@given(_SPLITS)
def test_a_kept_split_is_the_same(tmp_path_factory: pytest.TempPathFactory, split: Split) -> None:
    assert Split.from_dict(split.to_dict()) == split
    path = tmp_path_factory.getbasetemp() / "split.yaml"
    assert split.to_yaml(path) == path.read_text(encoding="utf-8")
    again = Split.from_yaml(path)
    assert again == split and repr(again) == repr(split)  # repr tells 1, 1.0 and True apart


@given(
    times=st.lists(st.integers(0, 2**62), min_size=3, max_size=20, unique=True),
    dtype=st.sampled_from(["int64", "uint64", "float64", "datetime64[us]", "datetime64[ns]", "timedelta64[ns]"]),
)
def test_a_kept_split_gives_the_same_parts(
    tmp_path_factory: pytest.TempPathFactory, times: list[int], dtype: str
) -> None:
    # 2e17 microseconds after 1970 is the year 8307.
    frame = _frame((np.array(times) % (2 * 10**17) if dtype.endswith("[us]") else np.array(times)).astype(dtype))
    assume(frame["time_ms"].is_unique)
    split = _fit(TimeSplit(fractions=_THIRDS), frame)
    path = tmp_path_factory.getbasetemp() / "kept.yaml"
    split.to_yaml(path)
    parts = Split.from_yaml(path).parts(frame)
    assert [frame["row"][parts == k].size for k in range(len(PARTS))] == [
        len(part) for part in time_split(frame, _SCHEMA, _THIRDS)
    ]
    for ours, theirs in zip(Split.from_yaml(path).apply(frame), time_split(frame, _SCHEMA, _THIRDS), strict=True):
        pd.testing.assert_frame_equal(ours, theirs)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{config: {by: time, fractions: [0.8, 0.1, 0.1]}, timestamp: t}", "with fractions, and no other, has 'cuts'"),
        ("{config: {by: time, fractions: [0.8, 0.1, 0.1]}, cuts: [1, 2]}", "names the 'timestamp'"),
        ("{config: {by: time, fractions: [0.8, 0.1, 0.1]}, timestamp: t, cuts: [2, 1]}", "'cuts' must increase"),
        ("{config: {by: time, fractions: [0.8, 0.1, 0.1]}, timestamp: t, cuts: [2]}", "'cuts' must be 2"),
        ("{config: {by: time, fractions: [0.8, 0.1, 0.1]}, timestamp: t, cuts: [2, soon]}", "received 'soon'"),
        ("{config: {by: random, fractions: [0.8, 0.1, 0.1]}, timestamp: t}", "names the 'timestamp'"),
        ("{config: {by: random, fractions: [0.8, 0.1, 0.1]}, cuts: [1, 2]}", "has 'cuts'"),
        ("{config: {by: random}}", "config.random.fractions"),
        ("[]", "split.yaml"),
    ],
)
def test_documents_that_are_no_split(tmp_path: Path, document: str, message: str) -> None:
    (tmp_path / "split.yaml").write_text(document)
    with pytest.raises(InputError, match=message) as caught:
        Split.from_yaml(tmp_path / "split.yaml")
    assert "split.yaml" in str(caught.value)
