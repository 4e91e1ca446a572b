"""Rows that break a schema are found, counted and named; faults are planted, expected numbers counted by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from htlnet_tf.data.stream import check_rows, open_stream
from htlnet_tf.errors import InputError, RowError
from htlnet_tf.inspection import Inspection, inspect_path, inspect_rows
from htlnet_tf.schema import Binary, Categorical, Continuous, Multiclass, Numeric, Schema, Timestamp

ROWS = 8
DECLARED = Schema(
    features=[
        Categorical("user_id", group="user"),
        Categorical("item_id", dtype="int64"),
        Numeric("age", group="user"),
        Numeric("price", log1p=True),
        Timestamp("shown_at", unit="s"),
    ],
    targets=[Binary("click"), Multiclass("stage", num_classes=3), Continuous("spend")],
    sample_weight="weight",
)
CLEAN: dict[str, list[Any]] = {
    "user_id": ["a", "b", None, "a", "c", "b", "a", "b"],
    "item_id": [1, 2, 3, None, 1, 2, 3, 4],
    "age": [30, None, 40.5, 25, 33, 51, 20, 60],
    "price": [1.0, 2.0, None, 0.0, 5.0, 6.0, 7.0, 8.0],
    "shown_at": [1_650_844_800 + i for i in range(ROWS)],
    "click": [0, 1, None, 1, 0, 1, 0, 1],
    "stage": [0, 1, 2, None, 0, 1, 2, 0],
    "spend": [0.0, 1.5, None, 2.0, 0.0, 3.0, 0.0, 4.0],
    "weight": [1, 1, 0, 2, 1, 1, 1, 1],
}
# By column: the row and value of each fault.
FAULTS: dict[str, dict[int, Any]] = {
    "item_id": {5: 1.5},
    "age": {3: "abc"},
    "price": {1: -2.0, 4: "inf", 6: -7.0},
    "shown_at": {7: "soon"},
    "click": {2: 2, 6: "yes"},
    "stage": {1: 3, 4: 0.5},
    "spend": {0: -1.0, 7: "inf"},
    "weight": {3: None, 5: -1.0},
}
# Column, rows, first row, its value, words of the rule.
EXPECTED = [
    ("item_id", 1, 5, "1.5", "int64"),
    ("age", 1, 3, "'abc'", "is numeric"),
    ("price", 2, 1, "-2", "log1p"),
    ("price", 1, 4, "inf", "finite"),
    ("shown_at", 1, 7, "'soon'", "a timestamp"),
    ("click", 1, 2, "2", "0 or 1"),
    ("click", 1, 6, "'yes'", "must be a number"),
    ("stage", 2, 1, "3", "a class in 0 .. 2"),
    ("spend", 1, 0, "-1", "must not be negative"),
    ("spend", 1, 7, "inf", "finite"),
    ("weight", 2, 3, "nan", "not negative and not missing"),
]


def table(faults: dict[str, dict[int, Any]]) -> pd.DataFrame:
    columns = {n: [faults.get(n, {}).get(i, v) for i, v in enumerate(values)] for n, values in CLEAN.items()}
    return pd.DataFrame(columns)


def found(inspection: Inspection) -> list[tuple[Any, ...]]:
    return [(b.column, b.rows, b.file, b.row) for b in inspection.broken_rules]


@pytest.fixture
def schema_file(tmp_path: Path) -> Path:
    path = tmp_path / "my.schema.yaml"
    DECLARED.to_yaml(path)
    return path


def test_every_fault_of_a_file_is_found(tmp_path: Path, schema_file: Path) -> None:
    (tmp_path / "logs").mkdir()
    table({}).to_csv(tmp_path / "logs" / "a.csv", index=False)
    file = tmp_path / "logs" / "b.csv"
    table(FAULTS).to_csv(file, index=False)
    inspection = inspect_path(tmp_path / "logs", schema=schema_file)
    assert not inspection.ok
    assert found(inspection) == [(column, rows, str(file), row) for column, rows, row, _, _ in EXPECTED]
    for broken, (_, _, _, value, words) in zip(inspection.broken_rules, EXPECTED, strict=True):
        assert broken.value.removesuffix(".0") == value
        assert words in broken.rule
    text = inspection.to_text()
    assert f"age: 1 row, {file}, row 3: 'abc'\n      feature 'age' is numeric\n" in text
    assert "numeric, 1 BAD" in text
    assert text.index("Rows that break the schema") < text.index("Funnel")
    document = json.loads(json.dumps(inspection.to_dict(), allow_nan=False))
    assert document["ok"] is False
    assert document["broken_rules"][1]["value"] == "'abc'"
    bad = {c["name"]: c["bad_rows"] for c in document["columns"]}
    assert bad == {name: len(FAULTS.get(name, {})) for name in CLEAN}
    invalid = {t.name: (t.invalid, t.invalid_first, t.invalid_value) for t in inspection.targets}
    assert invalid["stage"] == (2, 1, "3.0")
    assert (invalid["click"][0], invalid["spend"][0]) == (2, 2)


def test_a_table_that_keeps_the_schema(tmp_path: Path, schema_file: Path) -> None:
    file = tmp_path / "a.csv"
    table({}).to_csv(file, index=False)
    inspection = inspect_path(file, schema=schema_file)
    assert inspection.ok
    assert "Rows that break the schema: none" in inspection.to_text()
    assert inspect_rows(table({}), targets=["click", "spend"]).ok
    assert "break the schema" not in inspect_rows(table({}), targets=["click", "spend"]).to_text()


@pytest.mark.parametrize("ends", [".csv", ".parquet"])
def test_a_missing_column_names_the_file(tmp_path: Path, schema_file: Path, ends: str) -> None:
    def write(name: str, frame: pd.DataFrame) -> Path:
        path = tmp_path / "logs" / (name + ends)
        path.parent.mkdir(exist_ok=True)
        frame.to_csv(path, index=False) if ends == ".csv" else frame.to_parquet(path, index=False)
        return path

    first = write("a", table({}).drop(columns="age"))
    with pytest.raises(InputError, match=rf"{first.name}.*: column 'age' is missing; the file has \['user_id',"):
        inspect_path(first, schema=schema_file)
    first.unlink()
    write("b", table({}))
    last = write("c", table({}).drop(columns="age"))
    with pytest.raises(InputError, match=rf"{last.name}.*: column 'age' is missing; the file has \['user_id',"):
        inspect_path(last.parent, schema=schema_file)


@settings(max_examples=40)
@given(
    planted=st.sets(st.sampled_from([(c, i) for c, faults in FAULTS.items() for i in faults])),
    bound=st.integers(1, ROWS - 1),
)
def test_what_training_refuses_is_what_is_found(planted: set[tuple[str, int]], bound: int) -> None:
    chosen = {c: {i: v for i, v in faults.items() if (c, i) in planted} for c, faults in FAULTS.items()}
    frame = table(chosen)
    try:
        check_rows(frame, DECLARED)
        refused = False
    except RowError:
        refused = True
    inspection = inspect_rows([frame.iloc[:bound], frame.iloc[bound:]], schema=DECLARED)
    assert inspection.ok is not refused
    assert sum(b.rows for b in inspection.broken_rules) == len(planted)
    for column, faults in chosen.items():
        assert inspection.bad_rows(column) == len(faults)
        rows = [b.row for b in inspection.broken_rules if b.column == column]
        assert rows == sorted(rows)
        assert rows[:1] == sorted(faults)[:1]


def test_bad_rows_are_those_that_a_stream_leaves_out(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    table(FAULTS).to_csv(file, index=False)
    stream = open_stream(file, DECLARED, on_bad_rows="skip")
    assert not list(stream)  # every row of 0 .. 7 has a fault
    assert len(stream.bad_rows) == len({i for faults in FAULTS.values() for i in faults}) == ROWS


def test_an_open_dtype_is_settled_by_the_first_rows_that_have_a_value() -> None:
    parts = [table({"user_id": dict.fromkeys(range(ROWS))}), table({"user_id": {i: i for i in range(ROWS)}}), table({})]
    inspection = inspect_rows(parts, schema=DECLARED)
    (broken,) = inspection.broken_rules
    # Row 2 of the last part has no value.
    assert (broken.column, broken.rows, broken.row, broken.value) == ("user_id", 7, 16, "'a'")
    assert "int64" in broken.rule


def test_a_dtype_that_contradicts_the_declaration() -> None:
    features = [Categorical("user_id", missing_values=("none",)), *DECLARED.features[1:]]
    numbered = table({"user_id": {i: i for i in range(ROWS)}})
    (broken,) = inspect_rows(numbered, schema=DECLARED.with_features(features)).broken_rules
    assert (broken.column, broken.rows, broken.row) == ("user_id", ROWS, 0)
    assert "its values are int64, but" in broken.rule


@pytest.mark.parametrize(("column", "rows"), [("age", 7), ("spend", 8), ("weight", 8)])
def test_times_are_no_numbers(column: str, rows: int) -> None:
    times = pd.Series(pd.date_range("2022-04-25", periods=ROWS), name=column)
    frame = table({}).assign(**{column: times.where(np.arange(ROWS) != 1) if column == "age" else times})
    (broken,) = inspect_rows(frame, schema=DECLARED).broken_rules
    assert (broken.column, broken.rows, broken.row) == (column, rows, 0)


def test_rows_of_frames_without_a_file_are_counted_over_all() -> None:
    frame = table({"age": {3: np.inf}}).astype({"age": float}).set_index(np.array(list("abcdefgh")), drop=False)
    inspection = inspect_rows([table({}), frame], schema=DECLARED)
    assert found(inspection) == [("age", 1, None, 11)]


def test_a_value_as_long_as_a_book_is_shortened() -> None:
    inspection = inspect_rows(table({"age": {3: "x" * 10_000}}), schema=DECLARED)
    assert len(inspection.broken_rules[0].value) == 80


def test_constant_and_tiny_numbers_have_no_spread_of_one() -> None:
    frame = table({}).assign(age=np.full(ROWS, 1e9), price=np.arange(ROWS) * 1e-20)
    profiles = inspect_rows(frame, schema=DECLARED).profiles
    assert profiles["age"].std == 0.0
    assert profiles["price"].std == pytest.approx(0.0, abs=1e-19)
