"""The column of users, as a feature and as none."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

from htlnet_tf.data.users import read_users
from htlnet_tf.errors import InputError, RowError
from htlnet_tf.schema import Binary, Categorical, Continuous, Schema

PLAIN = Schema(features=(Categorical("item"),), targets=(Binary("click"), Continuous("spend")), user="customer id")


def users(values: Any, schema: Schema = PLAIN) -> list[Any]:
    read = read_users(pd.DataFrame({schema.user: values}, index=[5, 6, 7]), schema)
    assert read is not None
    assert read.index.tolist() == [5, 6, 7]
    assert read.name == schema.user
    return read.tolist()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["a", None, "b"], ["a", None, "b"]),
        (["a", "", "b"], ["a", None, "b"]),
        (pd.Categorical(["a", None, "b"], categories=["b", "c", "a"]), ["a", None, "b"]),
        ([1, 2, 3], [1, 2, 3]),
        ([1.0, np.nan, 3.0], [1, None, 3]),
        (pd.array([2**60 + 1, None, 2**60], "Int64"), [2**60 + 1, None, 2**60]),
        ([1, "b", None], ["1", "b", None]),
    ],
)
def test_text_and_whole_numbers(values: Any, expected: list[Any]) -> None:
    assert users(values) == expected


def test_a_feature_says_what_is_missing() -> None:
    numbers = Categorical("u", dtype="int64", missing_values=(-124,))
    schema = dataclasses.replace(PLAIN, features=(numbers,), user="u")
    assert users([1, -124, 2], schema) == [1, None, 2]
    texts = Categorical("u", dtype="string", missing_values=(-124, "none"))
    assert users([-124, "none", 7], dataclasses.replace(schema, features=(texts,))) == [None, None, "7"]


def test_errors_name_the_column_and_the_row() -> None:
    with pytest.raises(RowError, match=r"column 'customer id', row 1 \(index 6\)"):
        users([["a"], ["b"], "c"][::-1])
    with pytest.raises(RowError, match=r"column 'customer id', row 2 .*whole numbers.*0\.5"):
        users([1.0, 2.0, 0.5])
    with pytest.raises(InputError, match="users: column 'customer id' is missing"):
        read_users(pd.DataFrame({"item": [1]}), PLAIN)


def test_no_user_is_declared() -> None:
    assert read_users(pd.DataFrame({"item": [1]}), dataclasses.replace(PLAIN, user=None)) is None
