"""Values that are written in a way of their own: decimal commas, formats of times, words for labels, other names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from htlnet_tf.data.labels import label_values, read_labels
from htlnet_tf.data.raw_features import raw_features
from htlnet_tf.data.request_rows import schema_of_model
from htlnet_tf.data.sources.csv_source import find_delimiter
from htlnet_tf.data.sources.source import open_source
from htlnet_tf.data.sources.tfrecord_writer import write_tfrecord
from htlnet_tf.data.split_config import HashSplit, TimeSplit
from htlnet_tf.data.splits import Split, time_split
from htlnet_tf.data.stream import open_stream
from htlnet_tf.data.users import read_users
from htlnet_tf.errors import InputError, RowError
from htlnet_tf.schema import Binary, Categorical, Continuous, Numeric, Schema, Timestamp

SCHEMA = Schema(
    features=(
        Categorical("query", column="search query", dtype="string"),
        Categorical("user_id", column="Kunde", dtype="int64"),
        Numeric("price", decimal=","),
        Numeric("age"),
        Timestamp("shown_at", column="gezeigt am", format="%d.%m.%Y %H:%M:%S", unit="s"),
    ),
    targets=(
        Binary("click", positive="Y"),
        Binary("buy", column="gekauft?", positive="ja"),
        Continuous("revenue", column="Umsatz (EUR)", decimal=",", non_negative=False),
    ),
    timestamp="shown_at",
    user="user_id",
    delimiter=";",
)
TABLE: dict[str, list[Any]] = {
    "search query": ["red; shoes", None, "hat"],
    "Kunde": [7, 8, 7],
    "price": ["12,5", "3", "NA"],
    "age": [30.5, 41.0, 22.25],
    "gezeigt am": ["01.05.2024 00:00:04", "13.05.2024 10:00:00", "14.05.2024 12:00:00"],
    "click": ["Y", "N", None],
    "gekauft?": ["nein", "ja", "nein"],
    "Umsatz (EUR)": ["1,5", "-2,25", "1e3"],
}
# 2024-05-01 is 19,844 days after 1970-01-01.
SECONDS = [19_844 * 86_400 + 4, 19_856 * 86_400 + 36_000, 19_857 * 86_400 + 43_200]


def written(tmp_path: Path, kind: str, table: dict[str, list[Any]] = TABLE) -> pd.DataFrame:
    """The table as it comes out of a frame or a file."""
    frame, path = pd.DataFrame(table), tmp_path / f"rows.{kind}"
    if kind == "frame":
        return frame
    if kind == "csv":
        frame.to_csv(path, sep=";", index=False)
    elif kind == "parquet":
        frame.to_parquet(path)
    else:
        write_tfrecord(frame, path, SCHEMA)
    return next(iter(open_stream(path, SCHEMA)))


@pytest.mark.parametrize("kind", ["frame", "csv", "parquet", "tfrecord"])
def test_every_source_says_the_same(tmp_path: Path, kind: str) -> None:
    frame = written(tmp_path, kind)
    raw, labels = raw_features(frame, SCHEMA), read_labels(frame, SCHEMA)
    assert list(raw) == ["query", "user_id", "price", "age", "shown_at"]
    assert raw["query"].tolist() == ["red; shoes", "", "hat"]
    assert raw["user_id"].tolist() == [7, 8, 7]
    np.testing.assert_array_equal(raw["price"], np.array([12.5, 3, np.nan], np.float32))
    np.testing.assert_array_equal(raw["age"], np.array([30.5, 41, 22.25], np.float32))
    assert raw["shown_at"].tolist() == SECONDS
    assert labels.values["click"].tolist() == [1, 0, 0]
    assert labels.observed["click"].tolist() == [True, True, False]
    assert labels.values["buy"].tolist() == [0, 1, 0]
    assert labels.values["revenue"].tolist() == [1.5, -2.25, 1000]
    users = read_users(frame, SCHEMA)
    assert users is not None
    assert users.tolist() == [7, 8, 7]
    parts = Split.fit(TimeSplit(dates=("2024-05-02", "2024-05-14")), SCHEMA, frame).parts(frame)
    assert parts.tolist() == [0, 1, 2]


@pytest.mark.parametrize("kind", ["csv", "parquet", "frame"])
@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("price", "10.66", "feature 'price' is numeric, with a decimal comma"),
        ("price", "1.234,5", "with a decimal comma"),
        ("price", "1 234,5", "with a decimal comma"),
        ("age", "12,5", "feature 'age' is numeric"),
        ("gezeigt am", "2024-05-13 10:00:00", r"feature 'shown_at': times are written as the format '%d\.%m"),
        ("gezeigt am", "31.02.2024 10:00:00", "times are written as the format"),
        ("gezeigt am", "now", "times are written as the format"),
        ("click", "y", "target 'click' is 'Y' or 'N'"),
        ("click", "1", "target 'click' is 'Y' or 'N'"),
        ("gekauft?", "vielleicht", "target 'buy' is 'ja' or 'nein'"),
        ("Umsatz (EUR)", "2.25", "target 'revenue' must be a number, with a decimal comma"),
    ],
)
def test_what_is_written_otherwise_is_refused(tmp_path: Path, kind: str, column: str, value: str, rule: str) -> None:
    values = [value if i == 1 else v for i, v in enumerate(TABLE[column])]
    table = TABLE | {column: [str(v) for v in values] if column == "age" else values}
    frame = written(tmp_path, kind, table)
    with pytest.raises(RowError, match=rule) as caught:
        raw_features(frame, SCHEMA)
        label_values(frame, SCHEMA)
    assert (caught.value.column, np.flatnonzero(caught.value.rows).tolist()) == (column, [1])
    assert f"column '{column}', row 1" in str(caught.value)
    if kind != "frame":
        assert f"rows.{kind}" in str(caught.value)


def test_types_that_need_no_writing_are_taken_as_they_are() -> None:
    frame = pd.DataFrame(TABLE)
    frame["price"] = [12.5, 3.0, np.nan]
    frame["gezeigt am"] = pd.to_datetime(frame["gezeigt am"], format="%d.%m.%Y %H:%M:%S").dt.tz_localize("Etc/GMT-2")
    frame["gekauft?"] = frame["gekauft?"].astype("category")
    raw = raw_features(frame, SCHEMA)
    np.testing.assert_array_equal(raw["price"], np.array([12.5, 3, np.nan], np.float32))
    assert raw["shown_at"].tolist() == [second - 2 * 3600 for second in SECONDS]  # Etc/GMT-2 is two hours ahead
    assert read_labels(frame, SCHEMA).values["buy"].tolist() == [0, 1, 0]


def test_whole_numbers_are_read_by_a_format_too(tmp_path: Path) -> None:
    schema = Schema(
        features=(Categorical("u"), Timestamp("day", format="%Y%m%d", parts=("weekday",), unit="s")),
        targets=(Binary("c"), Continuous("v")),
        timestamp="day",
    )
    frame = pd.DataFrame({"u": ["a", "b"], "day": [20240501, 20240502], "c": [0, 1], "v": [0.0, 1.0]})
    frame.to_csv(tmp_path / "d.csv", index=False)
    for rows in (frame, next(iter(open_stream(tmp_path / "d.csv", schema)))):
        assert raw_features(rows, schema)["day"].tolist() == [19_844 * 86_400, 19_845 * 86_400]
    early, late = time_split(frame.iloc[::-1], schema, (0.5, 0.5))
    assert (early["u"].tolist(), late["u"].tolist()) == (["a"], ["b"])


@pytest.mark.parametrize(
    ("target", "values", "expected"),
    [
        (Binary("c", positive=True), [True, False, "TRUE", "no"], [1, 0, 1, 0]),
        (Binary("c", positive="true"), [True, False, "True", "FALSE"], [1, 0, 1, 0]),
        (Binary("c", positive=2, negative=1), [2, 1, "2", 1.0], [1, 0, 1, 0]),
        (Binary("c", positive="won"), ["won", "lost", "open", None], [1, 0, 0, np.nan]),
        (Binary("c", positive="no"), ["no", "yes", "no", "NaN"], [1, 0, 1, np.nan]),
        (Binary("c", positive="won", negative="NA"), ["won", "NA", "", None], [1, 0, np.nan, np.nan]),
    ],
)  # fmt: skip
def test_labels_that_are_words(target: Binary, values: list[Any], expected: list[float]) -> None:
    schema = Schema(features=(Categorical("u"),), targets=(target, Continuous("v")))
    frame = pd.DataFrame({"u": "a", "c": pd.Series(values, dtype=object), "v": 0.0})
    found = read_labels(frame, schema)
    np.testing.assert_array_equal(np.where(found.observed["c"], found.values["c"], np.nan), expected)


def test_two_features_may_read_one_column(tmp_path: Path) -> None:
    schema = Schema(
        features=(Categorical("size", dtype="string"), Numeric("inches", column="size")),
        targets=(Binary("c"), Continuous("v")),
    )
    assert schema.columns == ("size", "c", "v")
    pd.DataFrame({"size": ["7", "8.5"], "c": [0, 1], "v": [0, 1]}).to_csv(tmp_path / "s.csv", index=False)
    raw = raw_features(next(iter(open_stream(tmp_path / "s.csv", schema))), schema)
    assert (raw["size"].tolist(), raw["inches"].tolist()) == (["7", "8.5"], [7.0, 8.5])


def test_a_schema_of_commas_holds_for_weights_too(tmp_path: Path) -> None:
    schema = Schema(
        features=(Categorical("u", dtype="string"), Numeric("x"), Numeric("y", decimal=".")),
        targets=(Binary("c"), Continuous("v")),
        sample_weight="w",
        decimal=",",
    )
    path = tmp_path / "s.csv"
    pd.DataFrame({"u": "a", "x": ["0,5"], "y": ["0.5"], "c": [1], "v": ["2,5"], "w": ["1,5"]}).to_csv(path, index=False)
    frame = next(iter(open_stream(path, schema)))
    raw = raw_features(frame, schema)
    labels, weights = label_values(frame, schema)
    assert weights is not None
    assert (raw["x"][0], raw["y"][0], labels["v"][0], weights["v"][0]) == (0.5, 0.5, 2.5, 1.5)


def test_a_split_by_hash_goes_by_the_feature_or_the_column() -> None:
    rule = {"fractions": (0.8, 0.1, 0.1)}
    frame = pd.DataFrame(TABLE)
    named = Split.fit(HashSplit(column="user_id", **rule), SCHEMA, frame)
    assert named.columns == ("Kunde",)
    assert (named.parts(frame) == Split.fit(HashSplit(column="Kunde", **rule), SCHEMA, frame).parts(frame)).all()


def test_a_fitted_split_keeps_the_format() -> None:
    frame = pd.DataFrame(TABLE)
    split = Split.fit(TimeSplit(fractions=(0.34, 0.33, 0.33)), SCHEMA, frame)
    assert (split.timestamp, split.format) == ("gezeigt am", "%d.%m.%Y %H:%M:%S")
    assert Split.from_dict(split.to_dict()).parts(frame).tolist() == [0, 1, 2]


def test_rows_to_score_are_those_of_the_training(tmp_path: Path) -> None:
    frame = written(tmp_path, "csv")
    dtypes = {"query": "DT_STRING", "user_id": "DT_INT64", "price": "DT_FLOAT", "age": "DT_FLOAT"}
    dtypes["shown_at"] = "DT_INT64"
    open_dtype = SCHEMA.with_features(
        [Categorical("user_id", column="Kunde"), *(f for f in SCHEMA.features if f.name != "user_id")]
    )
    settled = schema_of_model(open_dtype, dtypes)
    chunks = open_source(tmp_path / "rows.csv", delimiter=SCHEMA.delimiter).chunks(SCHEMA.columns, schema=settled)
    rows = raw_features(next(chunks).frame, settled)
    for name, values in raw_features(frame, SCHEMA).items():
        np.testing.assert_array_equal(rows[name], values)
    with pytest.raises(InputError, match="must be the one that the model was trained with: it has the features"):
        schema_of_model(SCHEMA, {"query": "DT_STRING"})
    with pytest.raises(InputError, match="feature 'price' is sent as DT_FLOAT, and the model takes DT_INT64"):
        schema_of_model(SCHEMA, dtypes | {"price": "DT_INT64"})


@pytest.mark.parametrize("delimiter", [";", "\t", "|", ","])
def test_the_delimiter_of_a_file(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "t.csv"
    pd.DataFrame({"a": ["1,5", "x;y"], "b": ["2,5", "z|w"], "c": [1, 2]}).to_csv(path, sep=delimiter, index=False)
    assert find_delimiter([str(path)]) == delimiter
    assert open_source(path, delimiter=delimiter).columns == ("a", "b", "c")


def test_another_delimiter_is_named(tmp_path: Path) -> None:
    pd.DataFrame(TABLE).to_csv(tmp_path / "t.csv", sep="\t", index=False)
    with pytest.raises(InputError, match=r"'search query' is missing; .*separated by '\\t': declare delimiter"):
        open_stream(tmp_path / "t.csv", SCHEMA)
    (tmp_path / "one.csv").write_text("a\n1\n", encoding="utf-8")
    assert find_delimiter([str(tmp_path / "one.csv")]) == ","


@pytest.mark.parametrize("column", ["price", "gezeigt am", "click"])
def test_lists_are_refused_by_row(column: str) -> None:
    frame = pd.DataFrame(TABLE | {column: [None, ["a"], None]})
    with pytest.raises(RowError, match=f"column '{column}', row 1 .*no lists"):
        raw_features(frame, SCHEMA)
        read_labels(frame, SCHEMA)


def test_rows_that_are_written_otherwise_can_be_left_out(tmp_path: Path) -> None:
    table = TABLE | {"click": ["Y", "?", "N"], "price": ["1,5", "2,5", "3.5"]}
    pd.DataFrame(table).to_csv(tmp_path / "t.csv", sep=";", index=False)
    stream = open_stream(tmp_path / "t.csv", SCHEMA, on_bad_rows="skip")
    (frame,) = stream
    assert read_labels(frame, SCHEMA).values["click"].tolist() == [1]
    assert sorted(stream.bad_rows.to_frame()["column"]) == ["click", "price"]
