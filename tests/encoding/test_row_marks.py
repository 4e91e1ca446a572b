"""Marks of rows: what was added is found, and what was not is noticed by enough of its rows."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from htlnet_tf.encoding.row_marks import RowMarks

MARKS = st.lists(st.integers(0, 2**64 - 1), max_size=30)


@given(MARKS, MARKS, MARKS)
def test_a_few_are_told_apart_exactly(first: list[int], second: list[int], asked: list[int]) -> None:
    marks = RowMarks()
    for part in (first, second):
        marks.add(np.array(part, np.uint64))
    unknown = [i for i, mark in enumerate(asked) if mark not in first + second]
    assert marks.lacks(np.array(asked, np.uint64)) == (unknown[0] if unknown else None)


def test_of_many_a_share_is_kept_and_strange_rows_are_noticed() -> None:
    random = np.random.default_rng(0)
    known, strange = random.integers(0, 2**64, (2, 20_000), dtype=np.uint64)
    marks = RowMarks(most=1000)
    for part in np.array_split(known, 7):
        marks.add(part)
    assert 400 < len(marks._kept) <= 1000
    assert marks.lacks(known) is None and marks.lacks(known[::-3]) is None
    assert marks.lacks(strange) is not None
