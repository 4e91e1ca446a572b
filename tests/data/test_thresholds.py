"""Thresholds as callers give them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from htlnet_tf.data.thresholds import checked_thresholds, exceedance_columns
from htlnet_tf.errors import InputError


@pytest.mark.parametrize(
    "given", [10, 10.0, [10], (np.float32(10),), np.array([10]), np.array(10.0), np.float64(10), pd.Series([10.0])]
)
def test_one_or_several_numbers(given: Any) -> None:
    assert checked_thresholds(given) == [10.0]


@pytest.mark.parametrize(
    "given",
    [[], "10", ["10"], [None], [float("nan")], [np.inf], [True], np.array([True]), np.array("10"), [1, 1.0], [[1, 2]]],
)
def test_anything_else_is_refused(given: Any) -> None:
    with pytest.raises(InputError, match="threshold"):
        checked_thresholds(given)


def test_columns_say_the_threshold() -> None:
    assert exceedance_columns("spend", [0.0, -1.5, 50.25, 1e6]) == [
        "spend_above_0", "spend_above_-1.5", "spend_above_50.25", "spend_above_1000000",
    ]  # fmt: skip
