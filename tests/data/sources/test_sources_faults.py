"""Files that cannot be read as a table: each is reported with its name and, where there is one, row and column."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import htlnet_tf as htl
from htlnet_tf.data.columns import numbers
from htlnet_tf.data.raw_features import distinct_values
from htlnet_tf.data.sources import csv_source
from htlnet_tf.data.sources.arrow_columns import CategoryCache, ListRule, Place, column_of
from htlnet_tf.data.sources.source import open_source
from htlnet_tf.errors import InputError, RowError
from tests.data.sources.formats import SCHEMA, frame_of, read_values, write


def chunks_of(path: Path, columns: list[str] | None = None, **arguments: Any) -> list[pd.DataFrame]:
    return [chunk.frame for chunk in open_source(path).chunks(columns, **arguments)]


def save(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


# ---- which files


def test_folders_patterns_and_lists(tmp_path: Path) -> None:
    for name in ("b.csv", "deep/a.csv.gz", "_done.csv", ".hidden.csv", "_old/c.csv", ".git/c.csv", "notes.txt"):
        write(frame_of(number=[1.0]), tmp_path / "t" / name)
    root = tmp_path / "t"
    files = (str(root / "b.csv"), str(root / "deep" / "a.csv.gz"))
    assert open_source(root).files == files
    assert open_source(f"{root}/**/*.csv*").files == files
    assert open_source([root / "deep", f"{root}/*.csv", files[0]]).files == files
    assert open_source(files[0]).files == files[:1]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("missing.csv", "missing.csv' does not exist"),
        ("*.parquet", "pattern .*parquet' matches no file that ends with one of .csv"),
        ("empty", "empty' holds no table: no file in it ends with one of .csv, "),
        ("notes.txt", "must end with one of .csv, .*; received '.*notes.txt'"),
        ("mixed", "must have one format; received '.*a.csv', '.*b.parquet'"),
    ],
)
def test_no_table(tmp_path: Path, path: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").touch()
    write(frame_of(number=[1.0]), tmp_path / "mixed" / "a.csv")
    write(frame_of(number=[1.0]), tmp_path / "mixed" / "b.parquet")
    with pytest.raises(InputError, match=message):
        open_source(tmp_path / path)
    with pytest.raises(InputError, match="at least one path"):
        open_source([])


# ---- CSV


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "^no rows in .*"),
        (b"\xef\xbb\xbf\r\n", "^no rows in .*"),
        (b"a,b\n1,2\n3\n", "row 1: a row must have the 2 fields of the header; received 1: '3'"),
        (b"a,b\n1,2\n3,4,5\n", "row 1: a row must have the 2 fields of the header; received 3: '3,4,5'"),
        (b"a,b\n1,2\n3,\xff\n", r"column 'b', row 1: text must be UTF-8; received b'\\xff'"),
        (b"a,\xff\n1,2\n", "cannot be read as a CSV file: 'utf-8' codec"),
    ],
)
def test_csv_faults(tmp_path: Path, content: bytes, message: str) -> None:
    for name in ("x.csv", "x.csv.gz"):
        path = save(tmp_path / name, gzip.compress(content) if name.endswith("gz") else content)
        with pytest.raises(InputError, match=f"{message}{name}'" if "no rows" in message else f"{name}'.*{message}"):
            chunks_of(path)


@pytest.mark.parametrize("name", ["x.CSV.GZ", "x.csv.Gz", "X.CSV"])
def test_the_case_of_an_ending_does_not_count(tmp_path: Path, name: str) -> None:
    content = b"a,b\n1,x\n2,y\n"
    path = save(tmp_path / name, gzip.compress(content) if name.lower().endswith("gz") else content)
    (frame,) = chunks_of(path)
    assert frame["a"].tolist() == [1, 2]


def test_truncated_csv_gz(tmp_path: Path) -> None:
    write(frame_of(number=list(np.random.default_rng(0).random(2000))), tmp_path / "x.csv.gz")
    content = (tmp_path / "x.csv.gz").read_bytes()
    for cut in (1, 8, len(content) // 2, len(content) - 15):
        path = save(tmp_path / "x.csv.gz", content[:-cut])
        with pytest.raises(InputError, match=r"x.csv.gz' cannot be read as a CSV file: "):
            chunks_of(path)


@pytest.mark.parametrize("block_bytes", [64, 1 << 20])
def test_rows_before_a_bad_line_come_before_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    """So that a value at fault in one of them is told first, whatever is read with it."""
    monkeypatch.setattr(csv_source, "_BLOCK_BYTES", block_bytes)
    lines = ["number,click", *(f"{row}" if row in (43, 60) else f"{row},1" for row in range(100))]
    path = save(tmp_path / "x.csv", "\n".join(lines).encode())
    found: list[int] = []
    with pytest.raises(InputError, match=r"x.csv', row 43: a row must have the 2 fields of the header; received 1"):
        for chunk in open_source(path).chunks(["number"], schema=SCHEMA, chunk_rows=5):
            found += chunk.frame["number"].tolist()
    assert found == list(range(43))


def test_skipped_lines_keep_the_row_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_source, "_BLOCK_BYTES", 64)  # many blocks
    bad = {0, 7, 8, 50, 99}
    lines = ["number,click", *(f"{row}" if row in bad else f"{row},1" for row in range(100))]
    path = save(tmp_path / "x.csv", "\n".join(lines).encode())
    reported: list[tuple[str, int, str]] = []
    arguments: dict[str, Any] = {"schema": SCHEMA, "on_bad_lines": "skip", "chunk_rows": 5}
    frames = chunks_of(path, ["number"], **arguments, report=lambda *line: reported.append(line))
    frame = pd.concat(frames)
    assert frame.index.tolist() == frame["number"].tolist() == [row for row in range(100) if row not in bad]
    assert [line[:2] for line in reported] == [(str(path), row) for row in sorted(bad)]
    assert reported[1][2] == "a row must have the 2 fields of the header; received 1: '7'"
    chunks = open_source(path).chunks(["number"], **arguments)
    assert [chunk.first_row for chunk in chunks] == [frame.index[0] for frame in frames]


def test_values_of_a_csv_column_that_are_none_of_its_kind_are_left_to_the_checks(tmp_path: Path) -> None:
    path = save(tmp_path / "x.csv", b"number,whole,click\n1.5,7,1\nx,1.5,TRUE\nNULL,+8,maybe\n,07,0\n1e3,abc,\n")
    (frame,) = chunks_of(path, ["number", "whole", "click"], schema=SCHEMA)
    assert read_values(frame["number"]) == [1.5, "x", None, None, 1000]
    assert read_values(frame["whole"]) == [7, 1.5, "+8", "07", "abc"]
    assert read_values(frame["click"]) == [1, 1, "maybe", 0, None]
    for name, rows in (("number", [1]), ("click", [2])):
        with pytest.raises(RowError) as error:
            numbers(frame[name], rule="a number")
        assert np.flatnonzero(error.value.rows).tolist() == rows
    with pytest.raises(RowError) as error:
        distinct_values(frame["whole"], htl.Categorical("whole", dtype="int64"))
    assert np.flatnonzero(error.value.rows).tolist() == [1, 2, 3, 4]


def test_whole_numbers_of_a_csv_file(tmp_path: Path) -> None:
    """As in a frame, "007" is another value than 7; blanks around a number do not count."""
    good = {"7": 7, "-7": -7, "0": 0, "-0": 0, " 7": 7, "7 ": 7, "7.0": 7, "100": 100, "NA": None, "": None}
    feature = htl.Categorical("whole", dtype="int64")
    for cells in (good, {"7": 7, "-7": -7, "0": 0, "NA": None}):
        path = save(tmp_path / "x.csv", "\n".join(["whole,click", *(f"{cell},1" for cell in cells)]).encode())
        (frame,) = chunks_of(path, ["whole"], schema=SCHEMA)
        assert read_values(frame["whole"]) == list(cells.values())
        distinct_values(frame["whole"], feature)
    for bad in ("007", "-007", "+7", "00", "0x1f", " 07", "+0", "07.0"):
        path = save(tmp_path / "x.csv", "\n".join(["whole,click", "10,1", "0,1", f"{bad},1", "7,1"]).encode())
        (frame,) = chunks_of(path, ["whole"], schema=SCHEMA)
        assert read_values(frame["whole"]) == [10, 0, bad, 7]
        with pytest.raises(RowError, match=r"row 2 .*must be whole numbers; received") as error:
            distinct_values(frame["whole"], feature)
        assert error.value.value == bad
    path = tmp_path / "whole=007" / "x.csv"  # names of folders are padded to sort
    path.parent.mkdir()
    (frame,) = chunks_of(save(path, b"click\n1\n"), ["whole"], schema=SCHEMA)
    assert frame["whole"].tolist() == [7]


def test_ways_to_write_a_missing_number(tmp_path: Path) -> None:
    missing = ["", "NaN", "nan", "NULL", "null", "NA", "None"]
    lines = ["number,whole,text", *(f"{m},{m},{m}" for m in missing), "1,2,3"]
    path = save(tmp_path / "x.csv", "\n".join(lines).encode())
    (frame,) = chunks_of(path, ["number", "whole", "text"], schema=SCHEMA)
    assert read_values(frame["number"]) == [None] * 7 + [1]
    assert read_values(frame["whole"]) == [None] * 7 + [2]
    assert read_values(frame["text"]) == [None, *missing[1:], "3"]


def test_csv_without_a_schema(tmp_path: Path) -> None:
    content = b"i,f,b,t,z,s,n\n1,1,true,2024-01-01,007,x,\n,2.5,false,2024-01-01 10:00:00,12,1,\n"
    (frame,) = chunks_of(save(tmp_path / "x.csv", content))
    assert frame["i"].dtype == "Int64"
    assert frame["f"].tolist() == [1.0, 2.5]
    assert frame["b"].tolist() == [True, False]
    assert frame["t"].tolist() == [pd.Timestamp("2024-01-01"), pd.Timestamp("2024-01-01 10:00")]
    assert frame["z"].tolist() == ["007", "12"]
    assert frame["s"].tolist() == ["x", "1"]
    assert frame["n"].isna().all()
    (frame,) = chunks_of(tmp_path / "x.csv", ["i", "z"], schema=SCHEMA)  # which says nothing of them
    assert read_values(frame["i"]) == ["1", None]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1700000000000", "", "5"], [1_700_000_000_000, None, 5]),
        (["1.5", "NaN", "5"], [1.5, None, 5.0]),
        (
            ["2024-01-01", "", "2024-01-01 10:00:00"],
            [pd.Timestamp("2024-01-01"), None, pd.Timestamp("2024-01-01 10:00")],
        ),
        (["2024-01-01T00:00:00+01:00", "x", ""], ["2024-01-01T00:00:00+01:00", "x", None]),
        (["17", "x", ""], [17, "x", None]),
    ],
)
def test_timestamps_and_open_dtypes_of_a_csv_file(tmp_path: Path, values: list[str], expected: list[Any]) -> None:
    features = [*SCHEMA.features, htl.Timestamp("when"), htl.Categorical("code"), htl.Sequence("codes")]
    lines = ["when,code,codes", *(f"{value},0{row},{row}" for row, value in enumerate(values))]
    path = save(tmp_path / "x.csv", "\n".join(lines).encode())
    (frame,) = chunks_of(path, ["when", "code", "codes"], schema=SCHEMA.with_features(features))
    assert read_values(frame["when"]) == expected
    assert read_values(frame["code"]) == ["00", "01", "02"]
    assert read_values(frame["codes"]) == ["0", "1", "2"]


def test_types_are_inferred_from_the_first_file_whatever_is_read(tmp_path: Path) -> None:
    save(tmp_path / "a.csv", b"x\n1.5\n")
    save(tmp_path / "b.csv", b"x\n1\n2\n")
    (frame,) = (chunk.frame for chunk in open_source(tmp_path).chunks(files=[1]))
    assert frame["x"].dtype == np.float64


# ---- Parquet


def test_parquet_faults(tmp_path: Path) -> None:
    write(frame_of(number=[1.0, 2.0]), tmp_path / "x.parquet")
    content = (tmp_path / "x.parquet").read_bytes()
    for broken, message in ((b"", "size is 0"), (content[:-6], "magic bytes"), (b"a,b\n" * 10, "magic bytes")):
        path = save(tmp_path / "x.parquet", broken)
        with pytest.raises(InputError, match=f"x.parquet' cannot be read as a Parquet file: .*{message}"):
            chunks_of(path)
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(InputError, match="must differ, but 'a' appears 2 times"):
        chunks_of(tmp_path / "x.parquet", ["a"])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (pa.array([{"a": 1}]), r"numbers, text, times, or lists of numbers or text; received struct<a: int64>"),
        (pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())), "received map<string, int64"),
        (pa.array([1], pa.time64("us")), r"received time64\[us\]"),
        (pa.array([b"a", b"\xfe"], pa.binary()), r"column 'x', row 1: text must be UTF-8; received b'\\xfe'"),
    ],
)
def test_arrow_types_that_no_column_is_made_of(tmp_path: Path, array: pa.Array, message: str) -> None:
    table = pa.table({"x": array, "y": pa.array([1] * len(array))})
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(InputError, match=message):
        chunks_of(tmp_path / "x.parquet")
    assert len(chunks_of(tmp_path / "x.parquet", ["y"])) == 1  # it hurts only who asks for it


def test_arrow_types_that_columns_are_made_of(tmp_path: Path) -> None:
    moment = pd.Timestamp("2024-05-06 07:08:09")
    arrays = {
        "i8": (pa.array([1, 2], pa.int8()), "int64", [1, 2]),
        "u64": (pa.array([2**64 - 1, 0], pa.uint64()), "uint64", [2**64 - 1, 0]),
        "f32": (pa.array([0.5, None], pa.float32()), "float64", [0.5, None]),
        "bool": (pa.array([True, None]), "boolean", [True, None]),
        "decimal": (pa.array([1.25, 2.0]).cast(pa.decimal128(10, 2)), "float64", [1.25, 2.0]),
        "date": (pa.array([moment.date(), None]), "datetime64[s]", [pd.Timestamp("2024-05-06"), None]),
        "time": (pa.array([moment, None], pa.timestamp("ms")), "datetime64[ms]", [moment, None]),
        "large": (pa.array(["a", ""], pa.large_string()), "category", ["a", None]),
        "binary": (pa.array([b"\xc3\xa4", None], pa.binary()), "category", ["ä", None]),
        "codes": (pa.array([5, 6]).dictionary_encode(), "int64", [5, 6]),
        "words": (pa.array(["a", None]).dictionary_encode(), "category", ["a", None]),
        "null": (pa.nulls(2), "category", [None, None]),
    }
    pq.write_table(pa.table({name: array for name, (array, _, _) in arrays.items()}), tmp_path / "x.parquet")
    (frame,) = chunks_of(tmp_path / "x.parquet")
    for name, (_, dtype, values) in arrays.items():
        assert frame[name].dtype == dtype, name
        assert read_values(frame[name]) == values, name


def test_kinds_of_a_column_must_agree_between_files(tmp_path: Path) -> None:
    for name, values in (("a", [1, 2]), ("b", [0.5, None]), ("c", [None, None]), ("d", ["1", "2"])):
        pq.write_table(pa.table({"x": values}), tmp_path / f"{name}.parquet")
    with pytest.raises(InputError, match=r"d.parquet', column 'x': .* received string here and int64 in '.*a.parquet'"):
        chunks_of(tmp_path)
    frames = [chunk.frame for chunk in open_source(tmp_path).chunks(files=[0, 1, 2])]
    assert [len(frame) for frame in frames] == [2, 2, 2]


def test_row_groups_with_other_dictionaries(tmp_path: Path) -> None:
    text = ["a", "b", None, "c", "a", "d", "", "e"]
    pq.write_table(pa.table({"text": text}), tmp_path / "x.parquet", row_group_size=3)
    for chunk_rows in (1, 2, 4, 100):
        frames = chunks_of(tmp_path, ["text"], chunk_rows=chunk_rows)
        assert [value for frame in frames for value in read_values(frame["text"])] == [v or None for v in text]
        assert np.concatenate([frame.index for frame in frames]).tolist() == list(range(8))


def test_a_dictionary_with_a_value_twice_or_a_null() -> None:
    array = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, 3, None]), pa.array(["a", "b", "a", None]))
    place = Place("x.parquet", "text", pd.RangeIndex(5))
    column = column_of(array, place, ListRule(declared=True, separator=None), CategoryCache())
    assert read_values(pd.Series(column)) == ["a", "b", "a", None, None]
