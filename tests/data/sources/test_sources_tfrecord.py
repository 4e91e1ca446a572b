"""TFRecord files: what TensorFlow lets pass or reports without a name."""

from __future__ import annotations

import dataclasses
import datetime
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import htlnet_tf as htl
from htlnet_tf.data.bad_rows import BadRows
from htlnet_tf.data.sources import tfrecord_source
from htlnet_tf.data.sources.source import open_source
from htlnet_tf.data.sources.tfrecord_writer import write_tfrecord
from htlnet_tf.data.stream import check_rows, open_stream
from htlnet_tf.errors import InputError, RowError
from tests.data.sources.formats import SCHEMA, frame_of, read_values


def example(**features: Any) -> bytes:
    """A serialized example; a list of bytes, ints or floats per feature, None for a feature of no kind."""
    kinds = {bytes: ("bytes_list", tf.train.BytesList), int: ("int64_list", tf.train.Int64List)}
    built = {}
    for name, values in features.items():
        kind, container = kinds.get(type(values[0]) if values else None, ("float_list", tf.train.FloatList))
        built[name] = tf.train.Feature() if values is None else tf.train.Feature(**{kind: container(value=values)})
    return tf.train.Example(features=tf.train.Features(feature=built)).SerializeToString()


def save(path: Path, records: list[bytes]) -> Path:
    with tf.io.TFRecordWriter(str(path), "GZIP" if path.suffix == ".gz" else None) as writer:
        for record in records:
            writer.write(record)
    return path


def rows_of(path: Path, columns: list[str] | None = None, **arguments: Any) -> pd.DataFrame:
    chunks = open_source(path).chunks(columns, **arguments)
    return pd.concat([chunk.frame.astype(object) for chunk in chunks])


@pytest.mark.parametrize("suffix", [".tfrecord", ".tfrecord.gz"])
def test_a_file_that_is_cut_off(tmp_path: Path, suffix: str) -> None:
    content = save(tmp_path / f"whole{suffix}", [example(a=[i]) for i in range(600)]).read_bytes()
    path = tmp_path / f"x{suffix}"
    for cut in (1, 3, 5, 8, 20, 28, len(content) - 40, len(content) - 5):  # none of them between two records
        path.write_bytes(content[:-cut])
        with pytest.raises(InputError, match=f"x{suffix}'.* cannot be read as a TFRecord file: "):
            rows_of(path)
    path.write_bytes(content)
    assert rows_of(path)["a"].tolist() == list(range(600))


def test_several_gzip_streams_in_one_file(tmp_path: Path) -> None:
    parts = [save(tmp_path / f"{i}.tfrecord", [example(a=[i])]).read_bytes() for i in range(2)]
    (tmp_path / "x.tfrecord.gz").write_bytes(b"".join(gzip.compress(part) for part in parts))
    assert rows_of(tmp_path / "x.tfrecord.gz")["a"].tolist() == [0, 1]


def test_a_broken_checksum_is_named_with_its_row(tmp_path: Path) -> None:
    path = save(tmp_path / "x.tfrecord", [example(a=[1])] * 600)
    content = bytearray(path.read_bytes())
    content[len(content) // 600 * 500 + 14] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"x.tfrecord', row 500: .* TFRecord file: corrupted record at \d+$"):
        rows_of(path, chunk_rows=200)


@pytest.mark.parametrize("first", [3, 500])  # within the records that say the types, and beyond them
def test_bytes_that_are_no_example(tmp_path: Path, first: int) -> None:
    path = save(tmp_path / "x.tfrecord", [example(a=[1])] * first + [b"nonsense"])
    with pytest.raises(InputError, match=rf"x.tfrecord', row {first}: the record is no tf.train.Example"):
        rows_of(path, chunk_rows=200)
    (tmp_path / "y.tfrecord").write_bytes(b"a,b\n1,2\n" * 10)
    with pytest.raises(InputError, match=r"y.tfrecord', row 0: cannot be .* corrupted record at 0"):
        rows_of(tmp_path / "y.tfrecord")


def test_a_feature_of_another_type(tmp_path: Path) -> None:
    path = save(
        tmp_path / "x.tfrecord", [example(**{"a": [1], "b.c": [2.0]})] * 500 + [example(a=[1], **{"b.c": [b"x"]})]
    )
    message = r"x.tfrecord', column 'b.c', row 500: its first records have float values, so all must; received string"
    with pytest.raises(InputError, match=message):
        rows_of(path, chunk_rows=200)
    assert len(rows_of(path, ["a"])) == 501
    other = save(tmp_path / "y.tfrecord", [example(a=[b"1"])])
    with pytest.raises(InputError, match=r"y.tfrecord', column 'a': .* string here and int64 in '.*x.tfrecord'"):
        rows_of(tmp_path, ["a"])
    assert rows_of(other, ["a"], schema=SCHEMA)["a"].tolist() == ["1"]


def test_gaps_lists_and_text_that_is_not_utf8(tmp_path: Path) -> None:
    records = [example(a=None, t=[b"x"]), example(t=[b""]), example(a=[2**63 - 1], t=None), example(a=[-1])]
    frame = rows_of(save(tmp_path / "x.tfrecord", records))
    assert read_values(frame["a"]) == [None, None, 2**63 - 1, -1]
    assert read_values(frame["t"]) == ["x", None, None, None]
    lists = rows_of(save(tmp_path / "y.tfrecord", [example(tags=[b"a", b"b"]), example(tags=[b"a,b"]), example()]))
    assert lists["tags"].tolist()[:2] == [["a", "b"], ["a,b"]]
    joined = rows_of(tmp_path / "y.tfrecord", ["tags"], schema=SCHEMA)
    assert read_values(joined["tags"]) == ["a,b", "a,b", None]  # one value with a separator is joined already
    save(tmp_path / "z.tfrecord", [example(t=[b"a"]), example(), example(t=[b"\xff"])])
    with pytest.raises(InputError, match=r"z.tfrecord', column 't', row 2: text must be UTF-8; received b'\\xff'"):
        rows_of(tmp_path / "z.tfrecord")


@pytest.mark.parametrize(
    ("column", "good", "several", "rule"),
    [
        ("text", [b"x"], [b"x", b"y"], "values must be strings or numbers; for lists declare a separator"),
        ("whole", [2**60 + 1], [1, 2], "values must be strings or numbers; for lists declare a separator"),
        ("number", [0.5], [1.0, 2.0], "feature 'number' is numeric"),
        ("click", [1], [1, 0], "target 'click' must be a number"),
        ("amount", [2.5], [1.0, 1.0], "target 'amount' must be a number"),
        ("weight", [2.5], [1.0, 1.0], "a sample weight must be a finite number"),
        ("when", [2**60 + 1], [1, 2], "values must be strings or numbers; for lists declare a separator"),
    ],
)
def test_several_values_of_a_single_valued_feature(
    tmp_path: Path, column: str, good: list[Any], several: list[Any], rule: str
) -> None:
    schema = dataclasses.replace(SCHEMA, features=[*SCHEMA.features, htl.Timestamp("when")], sample_weight="weight")
    filled = {"text": [b"t"], "whole": [1], "number": [0.25], "tags": [b"a", b"b"], "click": [1], "amount": [0.5]}
    filled |= {"weight": [1.0], "when": [5]}
    records = [example(**filled | {column: values}) for values in (good, good, several, good)]
    for chunk_rows in (100, 2):  # with 2 the row at fault is the first of its chunk
        stream = open_stream(save(tmp_path / "x.tfrecord", records), schema)
        stream = dataclasses.replace(stream, chunk_rows=chunk_rows)
        with pytest.raises(RowError, match=rf"x.tfrecord, column '{column}', row 2: .*received \[") as error:
            for frame in stream:
                check_rows(frame, schema)
        assert rule in str(error.value)
        skipping = dataclasses.replace(stream, on_bad_rows="skip", bad_rows=BadRows())
        frames = pd.concat([frame.astype(object) for frame in skipping])
        value = good[0].decode() if isinstance(good[0], bytes) else good[0]
        assert frames[column].tolist() == [value] * 3
        assert frames.index.tolist() == [0, 1, 3]
        (left_out,) = skipping.bad_rows.to_frame().itertuples()
        assert (left_out.row, left_out.column) == (2, column)


def test_a_feature_without_a_value_in_the_first_records(tmp_path: Path) -> None:
    late = tfrecord_source.HEADER_RECORDS + 10
    records = [example(whole=None, text=None, number=None)] * late + [example(whole=[7], text=[b"x"], number=[1.5])]
    frame = rows_of(save(tmp_path / "x.tfrecord", records), ["whole", "text", "number"], schema=SCHEMA)
    assert frame.iloc[-1].tolist() == [7, "x", 1.5]
    assert frame.iloc[:-1].isna().all(axis=None)


def test_what_the_writer_writes(tmp_path: Path) -> None:
    """Read back by protobuf itself; the expected features are written by hand."""
    schema = SCHEMA.with_features([*SCHEMA.features, htl.Timestamp("when", unit="s")])
    frame = frame_of(text=["ä", None], whole=[-3, None], number=[0.5, None], click=[1, None])
    frame["when"] = pd.to_datetime(["1970-01-01 00:01:40", None])
    write_tfrecord(frame, tmp_path / "x.tfrecord", schema)
    first, second = (
        tf.train.Example.FromString(record).features.feature
        for record in tf.data.TFRecordDataset(str(tmp_path / "x.tfrecord")).as_numpy_iterator()
    )
    assert set(first) == set(second) == set(schema.columns)
    assert list(first["text"].bytes_list.value) == ["ä".encode()]
    assert list(first["tags"].bytes_list.value) == [b"a", b"b"]
    assert list(first["whole"].int64_list.value) == [-3]
    assert list(first["number"].float_list.value) == [0.5]
    assert list(first["click"].int64_list.value) == [1]
    assert list(first["when"].int64_list.value) == [100]
    for name, kind in (
        ("text", "bytes_list"),
        ("whole", "int64_list"),
        ("number", "float_list"),
        ("when", "int64_list"),
    ):
        assert second[name].WhichOneof("kind") == kind
        assert not getattr(second[name], kind).value
    with pytest.raises(InputError, match="column 'text' is missing"):
        write_tfrecord(frame.drop(columns="text"), tmp_path / "y.tfrecord", schema)
    assert not (tmp_path / "y.tfrecord").exists()


TIMED = dataclasses.replace(SCHEMA, timestamp="time")
SECONDS = [1_700_000_000 + i for i in range(6)]


def written(tmp_path: Path, name: str, values: Any, schema: htl.Schema = TIMED) -> list[Any]:
    """Values of a column of the schema, written and read back."""
    frame = frame_of(number=[0.5] * len(values))
    frame = frame.assign(time=1).assign(**{name: values})
    write_tfrecord(frame, tmp_path / "x.tfrecord", schema)
    return read_values(rows_of(tmp_path / "x.tfrecord", [name], schema=schema)[name])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array(SECONDS, np.uint32), SECONDS),
        (np.array(SECONDS, np.uint64), SECONDS),
        (np.array([1.7e12 + i for i in range(6)]), [1_700_000_000_000 + i for i in range(6)]),
        (pd.array([*SECONDS, None], "UInt64"), [*SECONDS, None]),
        (np.array([5.0, np.nan]), [5, None]),
        (np.array([0.5, np.nan]), [0.5, None]),
        (np.array([2**60 + 1, None], object), [2**60 + 1, None]),
        (np.array([1.5, 2, None], object), [1.5, 2.0, None]),
        (pd.Categorical(SECONDS), SECONDS),
        (pd.to_datetime(["2024-01-01 10:00:00.000000001", None]), ["2024-01-01T10:00:00.000000001", None]),
        (np.array([datetime.date(2024, 1, 1), None], object), ["2024-01-01", None]),
        (["2024-01-01T00:00:00+01:00", None], ["2024-01-01T00:00:00+01:00", None]),
    ],
)
def test_timestamps_are_written_exactly(tmp_path: Path, values: Any, expected: list[Any]) -> None:
    assert written(tmp_path, "time", values) == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([5.0, 1.7e9 + 0.5], r"column 'time', row 1 .*float32.*exactly; received 1700000000.5"),
        ([0.1, 5.0], r"column 'time', row 0 .*received 0.1"),
        (np.array([1, 2**63, 2**64 - 1], np.uint64), r"column 'time', row 1 .*received 9223372036854775808 \(and 1"),
        (np.array([None, -(2**63)], object), r"column 'time', row 1 .*received -9223372036854775808"),  # says: missing
        (np.array([1, 2**70], object), r"column 'time', row 1 .*received 1180591620717411303424"),
        (pd.to_timedelta([1, 2], unit="s"), "column 'time', row 0 .*numbers, datetimes, dates or ISO 8601 text"),
    ],
)
def test_timestamps_that_a_tfrecord_cannot_hold(tmp_path: Path, values: Any, message: str) -> None:
    with pytest.raises(RowError, match=message):
        written(tmp_path, "time", values)
    assert not (tmp_path / "x.tfrecord").exists()


def test_whole_numbers_are_not_rounded(tmp_path: Path) -> None:
    big = 2**24 + 1  # the first whole number that float32 does not hold
    for name, values, expected, dtype in (
        ("number", np.array([big, 1], np.uint32), [big, 1], "int64"),
        ("number", np.array([2**64 - 1, 1], np.uint64), [float(2**64), 1.0], "float64"),
        ("number", [float(big), np.nan], [big, None], "Int64"),
        ("number", [1.0, 2.0], [1.0, 2.0], "float64"),  # else a column's type would depend on its values
        ("number", [big + 0.5, 1.0], [float(np.float32(big + 0.5)), 1.0], "float64"),
        ("amount", [float(big), 2.0], [big, 2], "int64"),
        ("click", [1.0, np.nan], [1, None], "Int64"),
    ):
        assert written(tmp_path, name, values) == expected
        assert next(open_source(tmp_path / "x.tfrecord").chunks([name])).frame[name].dtype == dtype
