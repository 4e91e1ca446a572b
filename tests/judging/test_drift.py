"""Population stability, against sums made by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import htlnet_tf as htl
from htlnet_tf.judging.drift import Shift, drift, population_stability, shift_of_numbers


def test_the_index_by_hand() -> None:
    # Half a row is added to each: shares 1.5/4, 2.5/4 and 3.5/5, 1.5/5.
    p, q = (1.5 / 4, 2.5 / 4), (3.5 / 5, 1.5 / 5)
    expected = sum((b - a) * math.log(b / a) for a, b in zip(p, q, strict=True))
    assert population_stability([1, 2], [3, 1]) == pytest.approx(expected)
    assert math.isnan(population_stability([0, 0], [1, 2]))
    assert math.isnan(population_stability([1, 2], []))


counts = st.lists(st.integers(0, 1000), min_size=3, max_size=3).filter(any)


@given(counts, counts)
def test_the_index_is_a_distance(before: list[int], after: list[int]) -> None:
    assert population_stability(before, after) >= 0
    assert population_stability(before, after) == pytest.approx(population_stability(after, before))
    assert population_stability(before, before) == pytest.approx(0)


def test_every_feature_has_one(schema: htl.Schema, frame: pd.DataFrame, encoder: Any) -> None:
    encoded = encoder.encode(frame)
    same = drift(encoder, encoded, encoded)
    assert list(same) == [feature.name for feature in schema.features]
    assert all(index == pytest.approx(0) for index in same.values())
    moved = encoder.encode(frame.assign(price=frame["price"] * 10, tab=0))
    index = drift(encoder, encoded, moved)
    assert index["price"] > 0.25
    assert index["tab"] > 0.25
    assert all(index[name] == pytest.approx(0) for name in ("user_id", "item_id", "tag", "age"))


def test_values_out_of_vocabulary_are_no_drift(frame: pd.DataFrame, encoder: Any) -> None:
    new = frame.copy()
    new.loc[::3, "item_id"] = 10**6
    encoded = encoder.encode(frame)
    third = encoder.encode(frame[np.arange(len(frame)) % 3 != 0])
    assert drift(encoder, encoded, encoder.encode(new))["item_id"] == pytest.approx(
        drift(encoder, encoded, third)["item_id"]
    )
    all_new = encoder.encode(frame.assign(item_id=10**6))
    assert math.isnan(drift(encoder, encoded, all_new)["item_id"])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_below_the_least_one_are_others(dtype: type) -> None:
    constant, zeros = np.zeros(500, dtype), np.repeat(np.arange(10), 50).astype(dtype) * (np.arange(500) % 2)
    for before in (constant, zeros):
        assert shift_of_numbers(before, before) == pytest.approx(Shift(0.0, shift_of_numbers(before, before).chance))
        below = shift_of_numbers(before, np.where(before == 0, -1, before))
        above = shift_of_numbers(before, np.where(before == 0, 20, before))
        assert min(below.psi, above.psi) > 0.25 + max(below.chance, above.chance)
