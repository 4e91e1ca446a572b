"""Values that come out of files, the same for every format; expected values are written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings

import htlnet_tf as htl
from htlnet_tf.data.sources.source import open_source
from htlnet_tf.data.sources.tfrecord_writer import write_tfrecord
from htlnet_tf.data.stream import open_stream
from htlnet_tf.errors import InputError, RowError
from tests.data.sources.formats import SCHEMA, SUFFIXES, frame_of, read, read_values, write

BIG = 2**63 - 1


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_values_of_a_file(tmp_path: Path, suffix: str) -> None:
    rows = frame_of(
        text=["007", None, "NA", 'ä,"\n☃'],
        whole=[BIG, -5, None, 0],
        number=[1.5, None, -2.0, 0.0],
        click=[1, 0, None, 1],
    )
    path = write(rows, tmp_path / f"rows{suffix}")
    source = open_source(path)
    assert set(SCHEMA.columns) <= set(source.columns)
    (chunk,) = source.chunks(SCHEMA.columns, schema=SCHEMA)
    assert (chunk.file, chunk.first_row) == (str(path), 0)
    frame = chunk.frame
    assert list(frame.columns) == list(SCHEMA.columns)
    assert frame.index.equals(pd.RangeIndex(4))
    assert isinstance(frame["text"].dtype, pd.CategoricalDtype)
    assert frame["whole"].dtype == "Int64"
    assert read_values(frame["text"]) == ["007", None, "NA", 'ä,"\n☃']
    assert read_values(frame["whole"]) == [BIG, -5, None, 0]
    assert read_values(frame["number"]) == [1.5, None, -2.0, 0.0]
    assert read_values(frame["click"]) == [1, 0, None, 1]
    assert read_values(frame["tags"]) == ["a,b", "a", None, "b"]


# Without a lone carriage return, which pandas writes into a CSV file unquoted, as if the line ended there.
_TEXT = st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\r"), min_size=1, max_size=6)
_INT64 = st.none() | st.integers(-(2**63) + 1, BIG)
_FLOAT = st.none() | st.floats(allow_nan=False, allow_infinity=False, width=32)
_ROW = st.tuples(_TEXT | st.sampled_from(["", "007", "NA", "NaN", " x ", '"', "1"]), _INT64, _FLOAT)


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(_ROW, min_size=1, max_size=8))
def test_what_is_written_is_read(tmp_path: Path, suffix: str, rows: list[tuple[Any, ...]]) -> None:
    text, whole, number = ([row[i] for row in rows] for i in range(3))
    path = write(frame_of(text=text, whole=whole, number=number), tmp_path / f"rows{suffix}")
    frame = read(path, chunk_rows=3)
    assert read_values(frame["text"]) == [value or None for value in text]
    assert read_values(frame["whole"]) == whole
    assert read_values(frame["number"]) == number


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_chunks_are_consecutive_and_files_come_as_asked(tmp_path: Path, suffix: str) -> None:
    for name, numbers in (("b", [4.0, 5.0]), ("a", [1.0, 2.0, 3.0]), ("c", [6.0])):
        write(frame_of(number=numbers), tmp_path / "rows" / f"{name}{suffix}")
    source = open_source(tmp_path / "rows")
    assert [Path(file).name for file in source.files] == [f"a{suffix}", f"b{suffix}", f"c{suffix}"]

    def seen(**arguments: Any) -> list[tuple[str, int, list[float]]]:
        chunks = source.chunks(["number"], schema=SCHEMA, chunk_rows=2, **arguments)
        return [(Path(c.file).name[0], c.first_row, c.frame["number"].tolist()) for c in chunks]

    everything = [("a", 0, [1.0, 2.0]), ("a", 2, [3.0]), ("b", 0, [4.0, 5.0]), ("c", 0, [6.0])]
    assert seen() == everything
    assert seen() == everything  # reading leaves no trace
    assert seen(files=[2, 0]) == [everything[3], *everything[:2]]
    assert seen(files=[]) == []
    with pytest.raises(InputError, match="chunk_rows must be at least 1, received 0"):
        next(source.chunks(chunk_rows=0))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_without_rows_is_no_fault(tmp_path: Path, suffix: str) -> None:
    write(frame_of(number=[1.0]), tmp_path / f"b{suffix}")
    empty = frame_of(number=[1.0]).iloc[:0]
    write(empty, tmp_path / f"a{suffix}")
    assert read(tmp_path)["number"].tolist() == [1.0]
    assert len(list(open_source(tmp_path).chunks(schema=SCHEMA, files=[1]))) == 1
    assert list(open_source(tmp_path).chunks(schema=SCHEMA, files=[0])) == []  # another worker may have the rows


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_that_all_have_no_rows_are_named(tmp_path: Path, suffix: str) -> None:
    for name in "ab":
        write(frame_of(number=[1.0]).iloc[:0], tmp_path / f"{name}{suffix}")
    with pytest.raises(InputError, match=rf"^no rows in \['.*a{suffix}', '.*b{suffix}'\]$"):
        list(open_source(tmp_path).chunks([] if "tfrecord" in suffix else None))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_missing_column_is_named_with_its_file(tmp_path: Path, suffix: str) -> None:
    write(frame_of(number=[1.0]), tmp_path / f"a{suffix}")
    with pytest.raises(InputError, match=rf"a{suffix}': column 'colour' is missing; the file has \[.*'number'"):
        list(open_source(tmp_path).chunks(["number", "colour"], schema=SCHEMA))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_folders_named_key_value_are_columns(tmp_path: Path, suffix: str) -> None:
    for day, number in (("2024-01-01", 1.0), ("2024-01-02", 2.0), ("__HIVE_DEFAULT_PARTITION__", 3.0)):
        folder = tmp_path / f"day={day}" / f"text=a%2Fb{int(number)}" / f"hour=0{int(number)}"
        write(frame_of(number=[number] * 2).drop(columns="text"), folder / f"part{suffix}")
    source = open_source(tmp_path)
    assert {"day", "text", "hour"} <= set(source.columns)
    frames = [chunk.frame for chunk in source.chunks(["text", "day", "hour", "number"], schema=SCHEMA)]
    assert [read_values(f["text"]) for f in frames] == [["a/b1"] * 2, ["a/b2"] * 2, ["a/b3"] * 2]
    assert [read_values(f["day"]) for f in frames] == [["2024-01-01"] * 2, ["2024-01-02"] * 2, [None] * 2]
    days = [chunk.frame for chunk in source.chunks(["day", "hour"])]
    assert [read_values(f["hour"]) for f in days] == [["01"] * 2, ["02"] * 2, ["03"] * 2]  # no number
    assert days[0]["day"].tolist() == [pd.Timestamp("2024-01-01")] * 2


def test_a_column_of_the_file_goes_before_one_of_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "number=7" / "a.parquet"
    write(frame_of(number=[1.0]), path)
    assert read(path)["number"].tolist() == [1.0]
    assert open_source(path).columns.count("number") == 1


@pytest.mark.parametrize("suffix", [".parquet", ".tfrecord"])
def test_lists_are_joined_by_the_separator(tmp_path: Path, suffix: str) -> None:
    schema = SCHEMA.with_features([*SCHEMA.features, htl.Sequence("seen", separator="|")])
    rows = frame_of(number=[0.0] * 5)
    lists = {"tags": [["a", "b"], [], None, ["c"], ["x", "y"]], "seen": [[3, 1], None, [2], [], [BIG, -1]]}
    path = tmp_path / f"rows{suffix}"
    if suffix == ".parquet":
        lists["tags"][4] = ["x", None, "y"]
        table = pa.Table.from_pandas(rows.drop(columns="tags"), preserve_index=False)
        table = table.append_column("tags", pa.array(lists["tags"], pa.list_(pa.string())))
        pq.write_table(table.append_column("seen", pa.array(lists["seen"], pa.list_(pa.int64()))), path)
    else:
        joined = {
            name: ["|,"[name == "tags"].join(map(str, v)) if v else None for v in values]
            for name, values in lists.items()
        }
        write_tfrecord(rows.assign(**joined), path, schema)
    frame = next(open_source(path).chunks(["tags", "seen"], schema=schema)).frame
    assert read_values(frame["tags"]) == ["a,b", None, None, "c", "x,y"]
    assert read_values(frame["seen"]) == ["3|1", None, "2", None, f"{BIG}|-1"]
    plain = next(open_source(path).chunks(["tags"])).frame
    assert next(iter(plain["tags"])) == ["a", "b"]  # without a schema lists stay lists
    assert frame["tags"].cat.categories.dtype == "str"


@pytest.mark.parametrize("suffix", [".parquet", ".tfrecord"])
def test_a_listed_value_must_not_hold_the_separator(tmp_path: Path, suffix: str) -> None:
    """The checks of values find it, so that the row can be skipped."""
    lists = [["a"], None, ["b", "c"], ["d", "e,f"], [""], ["g,", "h"]]
    rows = frame_of(tags=[None] * 6)
    if suffix == ".parquet":
        table = pa.Table.from_pandas(rows.drop(columns="tags"), preserve_index=False)
        pq.write_table(table.append_column("tags", pa.array(lists, pa.list_(pa.string()))), tmp_path / "a.parquet")
    else:
        joined = [None if values is None else "|".join(values) for values in lists]
        features = [f if f.name != "tags" else htl.Categorical("tags", separator="|") for f in SCHEMA.features]
        write_tfrecord(rows.assign(tags=joined), tmp_path / "a.tfrecord", SCHEMA.with_features(features))
    stream = open_stream(tmp_path, SCHEMA)
    (frame,) = stream
    assert frame["tags"].tolist() == ["a", None, "b,c", ["d", "e,f"], None, ["g,", "h"]]
    place = rf"a{suffix}, column 'tags', row 3: .* joined by ',', which no listed value may hold"
    with pytest.raises(RowError, match=place + r".*received \['d', 'e,f'\] \(and 1 more such rows\)"):
        htl.FeatureEncoder.fit(SCHEMA, stream)
    skipping = open_stream(tmp_path, SCHEMA, on_bad_rows="skip")
    assert [read_values(f["tags"]) for f in skipping] == [["a", None, "b,c", None]]
    assert skipping.bad_rows.to_frame()[["row", "column", "value"]].to_numpy().tolist() == [
        [3, "tags", "['d', 'e,f']"],
        [5, "tags", "['g,', 'h']"],
    ]


@pytest.mark.parametrize(("name", "values"), [("text", [["a"]]), ("number", [[1.0, 2.0]]), ("tags", [[1.5]])])
def test_lists_that_cannot_be_joined(tmp_path: Path, name: str, values: list[Any]) -> None:
    pq.write_table(pa.table({name: values}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=f"a.parquet', column '{name}': .*(declare .* separator|whole numbers)"):
        list(open_source(tmp_path).chunks([name], schema=SCHEMA))


def test_reading_needs_no_tensorflow_unless_the_format_does(tmp_path: Path) -> None:
    import subprocess
    import sys

    write(frame_of(number=[1.0]), tmp_path / "a.parquet")
    write(frame_of(number=[2.0]), tmp_path / "b.csv")
    code = (
        "import sys; sys.modules['tensorflow'] = None\n"
        "from htlnet_tf.data.sources.source import open_source\n"
        "print(*(next(open_source(p).chunks(['number'])).frame['number'][0] for p in sys.argv[1:]))"
    )
    files = [str(tmp_path / "a.parquet"), str(tmp_path / "b.csv")]
    done = subprocess.run([sys.executable, "-c", code, *files], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["1.0", "2.0"], done.stderr


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_model_sees_the_same_in_every_format(tmp_path: Path, suffix: str, frame: pd.DataFrame, schema: Any) -> None:
    encoder = htl.FeatureEncoder.fit(schema, frame)
    path = write(frame, tmp_path / f"rows{suffix}", encoder.schema)
    frames = [chunk.frame for chunk in open_source(path).chunks(schema=encoder.schema, chunk_rows=150)]
    expected = encoder.encode(frame)
    for name in expected:
        encoded = np.concatenate([encoder.encode(f)[name] for f in frames])
        np.testing.assert_allclose(encoded, expected[name], rtol=1e-6)
