"""Sums by value and block against sums by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from htlnet_tf.encoding import sums
from htlnet_tf.encoding.sums import Cells, added

ROWS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3), st.integers(-4, 4)), max_size=40)


def of(rows: list[tuple[int, int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, blocks and two numbers a row, one of which counts it."""
    values, blocks, numbers = np.array(rows, np.int64).reshape(-1, 3).T
    return values, blocks, np.stack([np.ones(len(rows)), numbers.astype(float)], axis=1)


@given(ROWS, ROWS, st.booleans(), st.booleans())
@settings(max_examples=200)
def test_sums_are_those_of_the_rows(
    first: list[tuple[int, int, int]], second: list[tuple[int, int, int]], sparse: bool, earlier: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if sparse:  # as for values that are many
            patch.setattr(sums, "_DENSE", 0)
            patch.setattr(sums, "_MAX_PLACES", 0)
        cells = Cells.merged([added(*of(rows), 4) for rows in (first, second)])
        values, blocks, numbers = of(first + second)
        assert (np.diff(cells.keys) > 0).all()
        expected = np.stack([numbers[values == value].sum(axis=0) for value in range(8)], axis=1)
        np.testing.assert_array_equal(cells.totals(8), expected)
        np.testing.assert_array_equal(cells.totals_of(np.array([6, 0, 7])), expected[:, [6, 0, 7]])
        grid = np.array([(value, block) for value in range(8) for block in range(4)])
        found = cells.without(grid[:, 0], grid[:, 1], earlier=earlier)
        for i, (value, block) in enumerate(grid):
            occurs = ((values == value) & (blocks == block)).any()
            others = occurs & (values == value) & ((blocks < block) if earlier else (blocks != block))
            np.testing.assert_allclose(found[:, i], numbers[others].sum(axis=0), atol=1e-12)
