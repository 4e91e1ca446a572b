"""Rows in files as a stream: checked, split, skipped, and read again."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import htlnet_tf as htl
from htlnet_tf.data import Stream, open_stream
from htlnet_tf.data.split_config import PARTS, ColumnSplit, HashSplit, RandomSplit, TimeSplit
from htlnet_tf.data.splits import Split
from htlnet_tf.encoding.kinds.numeric import Moments
from tests.conftest import small_frame

FRACTIONS = (0.6, 0.2, 0.2)


def write_parts(folder: Path, frame: pd.DataFrame, parts: int = 3) -> Path:
    folder.mkdir(exist_ok=True)
    for i, positions in enumerate(np.array_split(np.arange(len(frame)), parts)):
        frame.iloc[positions].to_parquet(folder / f"part-{i}.parquet", index=False)
    return folder


def whole(stream: Stream) -> pd.DataFrame:
    frames = [f.astype({c: object for c in f if isinstance(f[c].dtype, pd.CategoricalDtype)}) for f in stream]
    return pd.concat(frames, ignore_index=True)


def test_a_stream_is_read_again_and_again(tmp_path: Path, schema: htl.Schema, frame: pd.DataFrame) -> None:
    stream = open_stream(write_parts(tmp_path / "rows", frame), schema)
    once, twice = whole(stream), whole(stream)
    pd.testing.assert_frame_equal(once, twice)
    assert once["item_id"].tolist() == frame["item_id"].tolist()
    assert list(once) == list(schema.columns)


@pytest.mark.parametrize("format", ["parquet", "csv", "csv.gz", "tfrecord"])
def test_every_format_encodes_as_the_frame(
    tmp_path: Path, schema: htl.Schema, frame: pd.DataFrame, format: str
) -> None:
    encoder = htl.FeatureEncoder.fit(schema, frame)
    path = tmp_path / f"rows.{format}"
    if format == "parquet":
        frame.to_parquet(path)
    elif format == "tfrecord":
        htl.data.write_tfrecord(frame, path, encoder.schema)
    else:
        frame.to_csv(path, index=False)
    stream = open_stream(path, encoder.schema)
    encoded = [encoder.encode(part) for part in stream]
    np.testing.assert_array_equal(np.concatenate([e["ids"] for e in encoded]), encoder.encode(frame)["ids"])
    np.testing.assert_allclose(
        np.concatenate([e["numeric"] for e in encoded]), encoder.encode(frame)["numeric"], rtol=1e-6
    )
    refitted = htl.FeatureEncoder.fit(encoder.schema, stream)
    for name, ours in encoder.statistics.learned.items():
        theirs = refitted.statistics.learned[name]
        if isinstance(ours, Moments):  # a file may keep float32
            assert (theirs.mean, theirs.std) == pytest.approx((ours.mean, ours.std), rel=1e-7)
        else:
            assert theirs == ours


@pytest.mark.parametrize(
    "config",
    [
        TimeSplit(fractions=FRACTIONS),
        HashSplit(column="item_id", fractions=FRACTIONS),
        RandomSplit(fractions=FRACTIONS, seed=3),
        ColumnSplit(column="tab", train=(0,), valid=(1,), test=(2,)),
    ],
)
def test_the_parts_of_a_stream_are_those_of_its_files(
    tmp_path: Path, schema: htl.Schema, frame: pd.DataFrame, config: Any
) -> None:
    stream = open_stream(write_parts(tmp_path / "rows", frame), schema)
    split = Split.fit(config, schema, stream.frames(columns=["time_ms"]))
    parts = [whole(stream.of(split, part)) for part in PARTS]
    times = [set(part["time_ms"]) for part in parts]
    assert sum(map(len, times)) == len(frame)
    assert set().union(*times) == set(frame["time_ms"])
    assert all(len(t) > 20 for t in times)
    if isinstance(config, TimeSplit):
        assert max(times[0]) < min(times[1])
        assert max(times[1]) < min(times[2])
    with pytest.raises(htl.InputError, match="'holdout'"):
        stream.of(split, "holdout")


def bad_frame() -> pd.DataFrame:
    frame = small_frame(30)
    frame.loc[3, "spend"] = -1.0
    frame["click"] = frame["click"].astype(float)
    frame.loc[[7, 25], "click"] = 2.0
    frame.loc[7, "price"] = np.inf
    return frame


def test_the_first_bad_row_is_named_with_its_file(tmp_path: Path, schema: htl.Schema) -> None:
    folder = write_parts(tmp_path / "rows", bad_frame(), parts=2)
    stream = open_stream(folder, schema)
    encoder = htl.FeatureEncoder.fit(schema, small_frame(100))
    with pytest.raises(htl.InputError, match=r"part-0\.parquet, column 'price', row 7: .*finite"):
        encoder.encode(next(iter(stream)))
    with pytest.raises(htl.InputError, match=r"part-0\.parquet, column 'price', row 7"):
        htl.FeatureEncoder.fit(schema, stream)


def test_bad_rows_are_skipped_once_and_listed(tmp_path: Path, schema: htl.Schema) -> None:
    folder = write_parts(tmp_path / "rows", bad_frame(), parts=2)
    stream = open_stream(folder, schema, on_bad_rows="skip")
    for _ in range(2):  # the second time the rows are known
        rows = whole(stream)
        assert len(rows) == 27
        listed = stream.bad_rows.to_frame()
        assert [Path(f).name for f in listed["file"]] == ["part-0.parquet", "part-0.parquet", "part-1.parquet"]
        assert listed["row"].tolist() == [3, 7, 10]  # row 25 of 30 is row 10 of the second half
        assert listed["column"].tolist() == ["spend", "price", "click"]
        assert listed["value"].tolist() == ["-1.0", "inf", "2.0"]
    stream.bad_rows.write(tmp_path / "bad.csv")
    assert len(pd.read_csv(tmp_path / "bad.csv")) == 3
    assert htl.FeatureEncoder.fit(schema, stream).statistics.num_rows == 27


def test_a_bad_split_column_is_a_bad_row(tmp_path: Path, schema: htl.Schema) -> None:
    frame = small_frame(30).assign(part=["train", "valid", "test"] * 9 + ["train", "odd", "test"])
    path = tmp_path / "rows.parquet"
    frame.to_parquet(path)
    split = Split(ColumnSplit(column="part", train=("train",), valid=("valid",), test=("test",)))
    strict = open_stream(path, schema).of(split, "valid")
    with pytest.raises(htl.InputError, match=r"rows\.parquet, column 'part', row 28.*'odd'"):
        whole(strict)
    lenient = open_stream(path, schema, on_bad_rows="skip").of(split, "valid")
    assert len(whole(lenient)) == 9
    assert lenient.bad_rows.first().row == 28


def test_a_row_without_a_time_is_a_bad_row_of_a_split_by_time(tmp_path: Path, schema: htl.Schema) -> None:
    frame = small_frame(30).astype({"time_ms": float})
    frame.loc[4, "time_ms"] = np.nan
    frame.to_parquet(tmp_path / "rows.parquet")
    stream = open_stream(tmp_path / "rows.parquet", schema, on_bad_rows="skip")
    assert len(whole(stream)) == 30
    stream = dataclasses.replace(open_stream(tmp_path / "rows.parquet", schema, on_bad_rows="skip"), by_time=True)
    split = Split.fit(TimeSplit(fractions=FRACTIONS), schema, stream)
    assert sum(len(whole(stream.of(split, part))) for part in PARTS) == 29
    assert (stream.bad_rows.first().row, stream.bad_rows.first().column) == (4, "time_ms")


def test_ragged_lines_are_bad_rows(tmp_path: Path, schema: htl.Schema) -> None:
    path = tmp_path / "rows.csv"
    small_frame(10).to_csv(path, index=False)
    lines = path.read_text().splitlines()
    lines[4] += ",surplus"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(htl.InputError, match=r"rows\.csv"):
        whole(open_stream(path, schema))
    stream = open_stream(path, schema, on_bad_rows="skip")
    assert len(whole(stream)) == 9
    assert len(stream.bad_rows) == 1


def test_files_are_shared_out(tmp_path: Path, schema: htl.Schema, frame: pd.DataFrame) -> None:
    stream = open_stream(write_parts(tmp_path / "rows", frame, parts=5), schema)
    assert [stream.shard(2, i) for i in range(2)] == [(stream, [0, 2, 4]), (stream, [1, 3])]
    with pytest.raises(htl.InputError, match=r"one of 0 \.\. 1, received 2"):
        stream.shard(2, 2)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(("count", "chunk_rows"), [(2, 7), (3, 100), (7, 64)])
def test_fewer_files_than_workers_are_shared_by_chunks(
    tmp_path: Path, schema: htl.Schema, frame: pd.DataFrame, count: int, chunk_rows: int, kind: str
) -> None:
    path = tmp_path / f"rows.{kind}"
    frame.to_csv(path, index=False) if kind == "csv" else frame.to_parquet(path, row_group_size=90)
    stream = dataclasses.replace(open_stream(path, schema), chunk_rows=chunk_rows)
    rows = []
    for index in range(count):
        own, files = stream.shard(count, index)
        assert files == [0]
        rows.append([row for part in own.frames(files) for row in part.index])
    assert sorted(row for own in rows for row in own) == list(range(len(frame)))
    assert [row for part in stream.shard(count, 0)[0].frames([0]) for row in part.index] == rows[0]


@pytest.mark.parametrize(
    ("group_rows", "count", "owners"),
    [
        (50, 2, [0, 1, 0, 1, 0, 1, 0, 1]),  # 400 rows: 8 groups
        (50, 4, [0, 1, 2, 3, 0, 1, 2, 3]),
        (60, 3, [0, 1, 2, 0, 1, 2, 0]),  # the last group has 40 rows
        (150, 2, [0, 1, 0]),  # 250 rows and 150: the first has 5/4 of 200
        (130, 2, None),  # 260 and 140
        (400, 2, None),
        (200, 3, None),
    ],
)
def test_workers_read_row_groups_of_their_own(
    tmp_path: Path,
    schema: htl.Schema,
    frame: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
    group_rows: int,
    count: int,
    owners: list[int] | None,
) -> None:
    frame.to_parquet(tmp_path / "rows.parquet", row_group_size=group_rows)
    read: list[Any] = []

    class Counting(pq.ParquetFile):  # type: ignore[misc, unused-ignore]
        def iter_batches(self, *arguments: Any, row_groups: Any = None, **further: Any) -> Any:
            read.append(row_groups)
            return super().iter_batches(*arguments, row_groups=row_groups, **further)

    monkeypatch.setattr(pq, "ParquetFile", Counting)
    stream, rows = open_stream(tmp_path / "rows.parquet", schema), []
    for index in range(count):
        read.clear()
        own, files = stream.shard(count, index)
        rows += [row for part in own.frames(files) for row in part.index]
        expected = None if owners is None else [[g] for g, owner in enumerate(owners) if owner == index]
        assert read == ([None] if expected is None else expected)
    assert sorted(rows) == list(range(len(frame)))


@pytest.mark.parametrize("group_rows", [40, 400])
def test_bad_rows_of_a_piece(tmp_path: Path, schema: htl.Schema, frame: pd.DataFrame, group_rows: int) -> None:
    """Who reads a piece of a file does not know the others' bad rows: they are found when those are read."""
    frame = frame.assign(click=frame["click"].astype(object))
    frame.loc[[3, 150], "click"] = 7
    path = tmp_path / "rows.parquet"
    frame.astype({"click": int}).to_parquet(path, row_group_size=group_rows)
    stream = dataclasses.replace(open_stream(path, schema, on_bad_rows="skip"), chunk_rows=100)
    for _ in range(2):
        found = [row for i in range(2) for part in stream.shard(2, i)[0].frames() for row in part.index]
        assert sorted(found) == [row for row in range(len(frame)) if row not in (3, 150)]
    assert len(stream.bad_rows) == 2
    assert list(stream.bad_rows.to_frame()["row"]) == [3, 150]


def test_wrong_use(tmp_path: Path, schema: htl.Schema, frame: pd.DataFrame) -> None:
    frame.drop(columns="age").to_parquet(tmp_path / "a.parquet")
    with pytest.raises(htl.InputError, match=r"a\.parquet: column 'age' is missing"):
        open_stream(tmp_path / "a.parquet", schema)
    with pytest.raises(htl.InputError, match="on_bad_rows must be"):
        open_stream(tmp_path / "a.parquet", schema, on_bad_rows="ignore")  # type: ignore[arg-type]
    with pytest.raises(htl.InputError, match="nowhere"):
        open_stream(tmp_path / "nowhere", schema)
