"""Frames of every dtype -> raw arrays, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf.data import columns
from htlnet_tf.errors import InputError
from htlnet_tf.schema import Binary, Categorical, Continuous, Multiclass, Numeric, Schema

C = Categorical("c")


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
    assert columns.categorical_dtype(values.rename("c"), C) == dtype


def test_missing_values_have_a_code_per_dtype() -> None:
    assert columns.int64_values(pd.Series([7.0, np.nan], name="c"), C).tolist() == [7, -(2**63)]
    assert columns.int64_values(pd.Series([7, None], dtype="Int64", name="c"), C).tolist() == [7, -(2**63)]
    assert columns.string_values(pd.Series(["x", None, ""], name="c"), C).tolist() == ["x", "", ""]
    assert np.isnan(columns.numeric_values(pd.Series([1.0, None], name="c"), Numeric("c"))[1])


def test_categories_with_gaps() -> None:
    column = pd.Series([3, None, 4], dtype="Int64", name="c").astype("category")
    assert columns.int64_values(column, C).tolist() == [3, -(2**63), 4]
    text = pd.Series(["x", None], name="c").astype("category")
    assert columns.string_values(text, C).tolist() == ["x", ""]


def test_whole_numbers_become_their_decimal_text() -> None:
    text = columns.string_values(pd.Series([1.0, 2, np.nan, "007"], dtype=object, name="c"), C)
    assert text.tolist() == ["1", "2", "", "007"]


def test_the_ends_of_int64_are_kept() -> None:
    values = pd.Series([2**63 - 1, -(2**63) + 1], name="c")
    assert columns.int64_values(values, C).tolist() == [2**63 - 1, -(2**63) + 1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.5, 2.0], r"column 'c', row 0 \(index 0\): .* whole numbers.*received 1.5"),
        ([1.0, np.inf], r"row 1 .*received inf"),
    ],
)
def test_a_categorical_of_fractions_is_refused(values: list[Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        columns.categorical_dtype(pd.Series(values, name="c"), C)


def test_another_type_than_fitted_is_refused_by_row() -> None:
    with pytest.raises(InputError, match=r"column 'c', row 1 \(index 1\): .*int64.*received 'x'"):
        columns.int64_values(pd.Series([1, "x"], name="c", dtype=object), C)
    with pytest.raises(InputError, match=r"row 0 .*strings or whole numbers; received 1.5"):
        columns.string_values(pd.Series([1.5, "x"], name="c", dtype=object), C)
    with pytest.raises(InputError, match=r"row 0 .*whole numbers"):
        columns.int64_values(pd.Series([2**63], name="c", dtype="uint64"), C)


def test_numeric_rules() -> None:
    assert columns.numeric_values(pd.Series([-124, 3]), Numeric("c", missing_values=[-124]))[0] != -124
    with pytest.raises(InputError, match=r"row 1 .*must be finite in float32; received inf"):
        columns.numeric_values(pd.Series([1.0, np.inf], name="c"), Numeric("c"))
    with pytest.raises(InputError, match=r"row 0 .*log1p, so it must not be negative; received -1.0"):
        columns.numeric_values(pd.Series([-1.0], name="c"), Numeric("c", log1p=True))
    with pytest.raises(InputError, match=r"row 1 .*numeric; received 'x'"):
        columns.numeric_values(pd.Series(["1", "x"], name="c"), Numeric("c"))


SCHEMA = Schema(
    features=[Categorical("c")], targets=[Binary("click"), Multiclass("stars", num_classes=3), Continuous("spend")]
)
GOOD = {"c": [1, 2], "click": [0, 1], "stars": [0, 2], "spend": [0.0, 3.5]}


def test_targets() -> None:
    arrays = columns.target_values(pd.DataFrame(GOOD), SCHEMA)
    assert [a.dtype for a in arrays.values()] == [np.float32, np.int32, np.float64]
    assert arrays["spend"].tolist() == [0.0, 3.5]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"click": [0, np.nan]}, r"column 'click', row 1 .*must not be missing"),
        ({"click": [0, 2]}, r"column 'click', row 1 .*0 or 1; received 2"),
        ({"click": ["yes", "no"]}, r"column 'click', row 0 .*must be a number; received 'yes'"),
        ({"stars": [0, 3]}, r"column 'stars', row 1 .*class in 0 .. 2; received 3"),
        ({"spend": [1.0, -1.0]}, r"column 'spend', row 1 .*must not be negative"),
        ({"spend": [np.inf, 1.0]}, r"column 'spend', row 0 .*must be finite"),
    ],
)
def test_bad_targets_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        columns.target_values(pd.DataFrame(GOOD | change), SCHEMA)


def test_missing_repeated_empty() -> None:
    frame = pd.DataFrame(GOOD)
    with pytest.raises(InputError, match="column 'stars' is missing"):
        columns.target_values(frame.drop(columns="stars"), SCHEMA)
    with pytest.raises(InputError, match="column 'click' appears 2 times"):
        columns.target_values(pd.concat([frame, frame["click"]], axis=1), SCHEMA)
    with pytest.raises(InputError, match="no rows"):
        columns.target_values(frame[:0], SCHEMA)
    with pytest.raises(InputError, match="pandas DataFrame is needed, received list"):
        columns.target_values([1], SCHEMA)  # type: ignore[arg-type]


def test_negative_amounts_can_be_allowed() -> None:
    schema = Schema(features=[Categorical("c")], targets=[Binary("click"), Continuous("gain", non_negative=False)])
    assert columns.target_values(pd.DataFrame({"click": [0], "gain": [-2.0]}), schema)["gain"].tolist() == [-2.0]


def test_names_survive_lazily() -> None:
    assert htl.InputError is InputError
