"""What every reading of a frame's columns checks first."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf.data import columns
from htlnet_tf.errors import InputError, RowError


def test_missing_repeated_empty() -> None:
    frame = pd.DataFrame({"click": [0, 1]})
    with pytest.raises(InputError, match="targets: column 'stars' is missing"):
        columns.require_columns(frame, ["click", "stars"], purpose="targets")
    with pytest.raises(InputError, match="column 'click' appears 2 times"):
        columns.require_columns(pd.concat([frame, frame], axis=1), ["click"], purpose="targets")
    with pytest.raises(InputError, match="no rows"):
        columns.require_columns(frame[:0], ["click"], purpose="targets")
    with pytest.raises(InputError, match="pandas DataFrame is needed, received list"):
        columns.require_columns([1], ["click"], purpose="targets")  # type: ignore[arg-type]


def test_a_row_error_tells_all_rows() -> None:
    column = pd.Series([5, 7, 9], index=["a", "b", "c"], name="n")
    with pytest.raises(RowError, match=r"column 'n', row 1 \(index b\): at most 5; received 7 \(and 1 more") as caught:
        columns.refuse(column, np.array([False, True, True]), rule="at most 5")
    assert (caught.value.column, caught.value.rule, caught.value.value) == ("n", "at most 5", 7)
    assert caught.value.rows.tolist() == [False, True, True]


def test_numbers_from_every_dtype() -> None:
    for column in (
        pd.Series([1.5, None]),
        pd.Series(["1.5", None]),
        pd.Series([1.5, None], dtype="Float64"),
        pd.Series([1.5, None], dtype=object),
        pd.Series([1.5, None], dtype="category"),
    ):
        np.testing.assert_array_equal(columns.numbers(column, rule="a number"), [1.5, np.nan])
    assert columns.numbers(pd.Series([True, False]), rule="a number").tolist() == [1.0, 0.0]


@pytest.mark.parametrize("decimal", [".", ","])
def test_text_is_read_as_in_files_and_requests(decimal: str) -> None:
    column = pd.Series(["NaN", "", " NA ", None, "7", Fraction(1, 2)], dtype=object)
    np.testing.assert_array_equal(columns.numbers(column, rule="a number", decimal=decimal), [*[np.nan] * 4, 7.0, 0.5])
    for wrong in ("1_000", "0x1f", "cheap", 10**400, [1.0]):
        with pytest.raises(InputError, match=r"column 'x', row 1 .*(a number|text or numbers)"):
            columns.numbers(pd.Series(["1", wrong], dtype=object, name="x"), rule="a number", decimal=decimal)


def test_names_survive_lazily() -> None:
    assert htl.InputError is InputError
