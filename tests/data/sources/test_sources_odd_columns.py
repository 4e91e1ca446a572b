"""Parts of one table whose types or headers differ in what nobody reads: decimals, UUIDs, columns without a value."""

from __future__ import annotations

import gzip
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

import htlnet_tf as htl
from htlnet_tf.data.raw_features import categorical_dtype, distinct_values, numeric_values
from htlnet_tf.data.sources.arrow_columns import CategoryCache, ListRule, Place, column_of
from htlnet_tf.data.sources.source import open_source
from htlnet_tf.encoding.statistics import TrainingStatistics
from htlnet_tf.errors import InputError, RowError

SCHEMA = htl.Schema(
    features=[
        htl.Categorical("user", min_count=1),
        htl.Categorical("tags", separator=",", min_count=1),
        htl.Numeric("price"),
        htl.Timestamp("time", unit="s"),
    ],
    targets=[htl.Binary("click"), htl.Continuous("spend")],
)
ROWS = {
    "user": ["a", "b"],
    "tags": [["x", "y"], ["x"]],
    "price": [1.5, 2.5],
    "time": pd.to_datetime(["2024-01-01", "2024-01-02"]),
    "click": [0, 1],
    "spend": [0.0, 2.0],
}


def parts(folder: Path, *columns: dict[str, pa.Array]) -> Path:
    """A folder of Parquet files of two rows, in which columns are replaced."""
    for number, replaced in enumerate(columns):
        table = pa.table({name: replaced.get(name, pa.array(values)) for name, values in ROWS.items()})
        pq.write_table(table, folder / f"{number}.parquet")
    return folder


def statistics(path: Path) -> TrainingStatistics:
    return TrainingStatistics.fit(SCHEMA, htl.data.open_stream(path, SCHEMA))


NOTHING: list[pa.DataType] = [
    pa.null(),
    pa.float64(),
    pa.int8(),
    pa.bool_(),
    pa.string(),
    pa.binary(4),
    pa.timestamp("us"),
    pa.decimal128(10, 2),
    pa.list_(pa.int64()),
    pa.struct([("a", pa.int64())]),
    pa.time64("us"),
    pa.dictionary(pa.int32(), pa.string()),
    pa.uuid(),
]


@pytest.mark.parametrize("type_", NOTHING, ids=str)
def test_a_column_without_a_value_is_missing_whatever_its_type_says(tmp_path: Path, type_: pa.DataType) -> None:
    missing = {name: pa.nulls(2, type_) for name in ("user", "tags", "price", "time", "spend")}
    for order in ((missing, {}), ({}, missing), (missing, missing, {})):
        found = statistics(parts(tmp_path, *order))
        assert set(found.learned["user"].values) == {"a", "b"}
        assert found.learned["tags"].values == ("x", "y")
        assert found.learned["user"].has_missing
        assert found.learned["price"].has_missing
        assert (found.learned["price"].mean, found.labels["spend"].mean) == (2.0, 1.0)


def test_nan_empty_text_and_empty_lists_are_no_values(tmp_path: Path) -> None:
    odd = {
        "user": pa.array([np.nan, None]),
        "price": pa.array(["", None]),
        "tags": pa.array([[], [None]], pa.list_(pa.int8())),
    }
    found = statistics(parts(tmp_path, odd, {}))
    assert (set(found.learned["user"].values), found.learned["price"].mean) == ({"a", "b"}, 2.0)


def test_types_of_columns_with_values_must_agree(tmp_path: Path) -> None:
    path = parts(tmp_path, {"user": pa.nulls(2, pa.float64())}, {"user": pa.array([None, 7.0])}, {})
    with pytest.raises(InputError, match=r"2\.parquet', column 'user'.* string here and double in '.*1\.parquet'"):
        statistics(path)


def test_frames_may_have_columns_without_a_value_of_any_type() -> None:
    for dtype in ("float64", "object", "str", "boolean", "Int8", "datetime64[ns]", "timedelta64[s]", "category"):
        column = pd.Series([None, None], dtype=dtype, name="c")
        assert np.isnan(numeric_values(column, htl.Numeric("c"))).all()
        for kind, code in (("string", ""), ("int64", -(2**63))):
            codes, values = distinct_values(column, htl.Categorical("c", dtype=kind))
            assert values[codes].tolist() == [code, code], dtype


def test_empty_lists_of_another_kind_in_a_tfrecord_file(tmp_path: Path) -> None:
    def example(user: tf.train.Feature) -> bytes:
        number = tf.train.Feature(float_list=tf.train.FloatList(value=[1.0]))
        return tf.train.Example(features=tf.train.Features(feature={"user": user, "price": number})).SerializeToString()

    empty = tf.train.Feature(float_list=tf.train.FloatList())
    named = tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"a"]))
    for name, users in (("0", [empty] * 2), ("1", [named] * 2)):
        with tf.io.TFRecordWriter(str(tmp_path / f"{name}.tfrecord")) as writer:
            for user in users:
                writer.write(example(user))
    first, second = open_source(tmp_path).chunks(["user"], schema=SCHEMA)
    assert first.frame["user"].isna().all()
    assert second.frame["user"].tolist() == ["a", "a"]


# ---- decimals


@pytest.mark.parametrize(
    "type_", [pa.decimal128(38, 0), pa.decimal128(38, 10), pa.decimal256(70, 0), pa.decimal256(70, 5)]
)
def test_decimals_that_are_ids_keep_every_digit(tmp_path: Path, type_: pa.DataType) -> None:
    ids = [2**53 - 1, 2**53, 2**53 + 1, 2**63 - 1, None]
    pq.write_table(
        pa.table({"id": pa.array([v if v is None else Decimal(v) for v in ids], type_)}), tmp_path / "a.parquet"
    )
    (chunk,) = open_source(tmp_path).chunks()
    feature = htl.Categorical("id")
    assert categorical_dtype(chunk.frame["id"], feature) == "int64"
    codes, values = distinct_values(chunk.frame["id"], feature)
    assert values[codes].tolist() == [*ids[:-1], -(2**63)]


def test_decimals_of_every_kind(tmp_path: Path) -> None:
    columns = {
        "whole": pa.array([Decimal(5), None], pa.decimal32(5, 0)),
        "price": pa.array([Decimal("1.25"), None], pa.decimal64(10, 2)),
        "huge": pa.array([Decimal(10) ** 20, None], pa.decimal128(38, 0)),
        "mixed": pa.array([Decimal(2**53 + 1), Decimal("0.5")], pa.decimal128(38, 2)),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    (chunk,) = open_source(tmp_path).chunks()
    assert chunk.frame["whole"].dtype == "Int64"
    # Parquet has no such type; Arrow has.
    hundreds = pa.array([Decimal("5E2"), None], pa.decimal128(10, -2))
    place = Place("a.arrow", "hundreds", pd.RangeIndex(2))
    assert column_of(hundreds, place, ListRule(True, None), CategoryCache()).tolist() == [500, pd.NA]
    expected = {"whole": 5.0, "price": 1.25, "huge": 1e20, "mixed": 2.0**53}
    for name, value in expected.items():
        assert numeric_values(chunk.frame[name], htl.Numeric(name))[0] == value
    with pytest.raises(RowError, match="'huge' has whole numbers beyond int64"):
        distinct_values(chunk.frame["huge"], htl.Categorical("huge"))
    assert distinct_values(chunk.frame["huge"], htl.Categorical("huge", dtype="string")).values[0] == "1" + "0" * 20


def test_decimals_in_a_frame() -> None:
    column = pd.Series([Decimal(5), Decimal(2**53 + 1), Decimal("NaN"), None, 5], name="c", dtype=object)
    codes, values = distinct_values(column, htl.Categorical("c"))
    assert values[codes].tolist() == [5, 2**53 + 1, -(2**63), -(2**63), 5]
    prices = numeric_values(pd.Series([Decimal("1.5"), Decimal("NaN")], name="c"), htl.Numeric("c"))
    np.testing.assert_array_equal(prices, [1.5, np.nan])
    with pytest.raises(RowError, match=r"row 1 .*must hold whole numbers.*Decimal\('5.5'\)"):
        distinct_values(pd.Series([Decimal(5), Decimal("5.5")], name="c"), htl.Categorical("c"))
    with pytest.raises(RowError, match="whole numbers beyond int64"):
        distinct_values(pd.Series([1e17], name="c"), htl.Categorical("c", dtype="int64"))


def test_a_split_by_decimals_is_that_by_their_numbers() -> None:
    config = htl.data.HashSplit(column="c", fractions=(0.5, 0.25, 0.25))
    ids = list(range(100))
    split = htl.data.Split(config)
    expected = split.parts(pd.DataFrame({"c": ids}))
    np.testing.assert_array_equal(split.parts(pd.DataFrame({"c": [Decimal(i) for i in ids]})), expected)


# ---- UUIDs and other extension types


@pytest.mark.parametrize("store_schema", [True, False])
def test_uuids_are_their_text_everywhere(tmp_path: Path, store_schema: bool) -> None:
    ids = [uuid.UUID(int=i) for i in (10, 11, 10)]
    array = pa.array([*(i.bytes for i in ids), None], pa.uuid())
    lists = pa.ListArray.from_arrays(pa.array([0, 2, 2, 3, 4], pa.int32()), array)
    table = pa.table({"user": array, "tags": lists, "json": pa.array(['{"a": 1}'] * 3 + [None], pa.json_())})
    pq.write_table(table, tmp_path / "a.parquet", store_schema=store_schema)
    (chunk,) = open_source(tmp_path).chunks(["user", "tags", "json"], schema=SCHEMA)
    texts = [str(i) for i in ids]
    for column in (
        chunk.frame["user"],
        pd.Series([*ids, None], name="user", dtype=object),
        pd.Series(pd.array(array, dtype=pd.ArrowDtype(pa.uuid())), name="user"),
    ):
        codes, values = distinct_values(column, htl.Categorical("user"))
        assert values[codes].tolist() == [*texts, ""]
    assert chunk.frame["tags"].astype(object).fillna("").tolist() == [",".join(texts[:2]), "", texts[2], ""]
    assert chunk.frame["json"].astype(object).fillna("").tolist() == ['{"a": 1}'] * 3 + [""]


def test_bytes_of_fixed_size_are_text_or_refused(tmp_path: Path) -> None:
    def read(values: list[bytes], size: int) -> Any:
        pq.write_table(pa.table({"x": pa.array(values, pa.binary(size))}), tmp_path / "a.parquet")
        return next(iter(open_source(tmp_path).chunks())).frame["x"].tolist()

    assert read([b"abcd", b"efgh"], 4) == ["abcd", "efgh"]
    with pytest.raises(InputError, match=r"column 'x', row 1: text must be UTF-8; .*if these are UUIDs"):
        read([b"a" * 16, b"\xff" * 16], 16)


def test_other_extension_types_are_what_they_store(tmp_path: Path) -> None:
    columns = {
        "flag": pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, None, 0], pa.int8())),
        "pair": pa.ExtensionArray.from_storage(
            pa.fixed_shape_tensor(pa.int64(), [2]), pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int64(), 2))
        ),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    (chunk,) = open_source(tmp_path).chunks()
    assert chunk.frame["flag"].dtype == "boolean"
    assert chunk.frame["flag"].fillna(False).tolist() == [True, False, False]
    assert chunk.frame["pair"].tolist() == [[1, 2], None, [3, 4]]
    months = pa.Table.from_pandas(pd.DataFrame({"x": pd.period_range("2024-01", periods=2, freq="M")}))
    pq.write_table(months, tmp_path / "a.parquet")
    with pytest.raises(InputError, match="column 'x': columns hold numbers, text, times"):
        list(open_source(tmp_path).chunks())


# ---- CSV


@pytest.mark.parametrize("header", ["user,price,,", "user,price,note,note", ",user,price,", "price,x,x,user"])
def test_names_that_nobody_reads_may_be_empty_or_repeated(tmp_path: Path, header: str) -> None:
    cells = {"user": "a", "price": "1.5"}
    line = ",".join(cells.get(name, "z") for name in header.split(","))
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text(f"{header}\n{line}\n")
    source = open_source(tmp_path)
    assert set(source.columns) == {"user", "price"}
    for chunk in source.chunks(["price", "user"], schema=SCHEMA):
        assert chunk.frame.to_dict("list") == {"price": [1.5], "user": ["a"]}
    assert {tuple(sorted(chunk.frame)) for chunk in source.chunks()} == {("price", "user")}


def test_a_name_that_is_read_must_be_there_once(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("user,price,user\na,1,b\n")
    with pytest.raises(InputError, match=r"a\.csv': the names of columns must differ, but 'user' appears 2 times"):
        list(open_source(tmp_path).chunks(["user"]))
    with pytest.raises(InputError, match=r"a\.csv: the names of columns must differ, but 'user' appears 2 times"):
        htl.data.open_stream(tmp_path, SCHEMA)


def test_a_parquet_file_may_have_names_twice_that_nobody_reads(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array(["x"]), pa.array([2])], names=["a", "user", "a"])
    pq.write_table(table, tmp_path / "a.parquet")
    assert [chunk.frame.to_dict("list") for chunk in open_source(tmp_path).chunks()] == [{"user": ["x"]}]


def test_an_empty_part_has_no_rows(tmp_path: Path) -> None:
    for place in ("0.csv", "2.csv"):
        (tmp_path / place).write_bytes(b"")
    (tmp_path / "3.csv.gz").write_bytes(gzip.compress(b""))
    (tmp_path / "4.csv.gz").write_bytes(b"")
    with pytest.raises(InputError, match=r"0\.csv': the file is empty"):
        list(open_source(tmp_path).chunks(["user"]))
    (tmp_path / "1.csv").write_text("user\na\n")
    (chunk,) = open_source(tmp_path).chunks(["user"])
    assert chunk.frame["user"].tolist() == ["a"]
