"""What a declared split may say."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd
import pydantic
import pytest
import yaml
from pydantic import TypeAdapter

from htlnet_tf.data.split_config import ColumnSplit, HashSplit, RandomSplit, SplitConfig, TimeSplit
from htlnet_tf.documents import validate
from htlnet_tf.errors import InputError

_ADAPTER: TypeAdapter[Any] = TypeAdapter(SplitConfig)


def _read(text: str) -> Any:
    return validate(_ADAPTER, yaml.safe_load(text), source="split")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{by: time, fractions: [0.8, 0.1, 0.1]}", TimeSplit(fractions=(0.8, 0.1, 0.1))),
        ("{by: time, dates: [2024-03-01, '2024-03-10T12:00:00Z']}",
         TimeSplit(dates=(datetime.date(2024, 3, 1), "2024-03-10T12:00:00Z"))),
        ("{by: time, dates: [100, 200.5]}", TimeSplit(dates=(100, 200.5))),
        ("{by: time, dates: [2024-03-01, 2024-03-02], unit: ms}",
         TimeSplit(dates=("2024-03-01", "2024-03-02"), unit="ms")),
        ("{by: column, column: day, train: [1, 'x'], valid: [2], test: [2.5, false]}",
         ColumnSplit(column="day", train=(1, "x"), valid=(2,), test=(2.5, False))),
        ("{by: hash, column: user, fractions: [0.8, 0.1, 0.1], seed: 18446744073709551615}",
         HashSplit(column="user", fractions=(0.8, 0.1, 0.1), seed=2**64 - 1)),
        ("{by: random, fractions: [0.8, 0.1, 0.1]}", RandomSplit(fractions=(0.8, 0.1, 0.1))),
    ],
)  # fmt: skip
def test_configurations(text: str, expected: Any) -> None:
    assert _read(text) == expected


@pytest.mark.parametrize(
    "first",
    [
        "2024-03-01",
        datetime.date(2024, 3, 1),
        datetime.datetime(2024, 3, 1),
        pd.Timestamp("2024-03-01T00:00:00.000000001Z"),
        np.datetime64("2024-03-01"),
    ],
)
def test_dates_are_kept_as_text(first: Any) -> None:
    split = TimeSplit(dates=(first, "2024-04-01"))
    assert isinstance(split.points[0], str) and split.points == split.dates
    assert pd.Timestamp(split.points[0]).tz_localize(None) == pd.Timestamp(first).tz_localize(None)


def test_numbers_of_numpy_are_kept_as_numbers() -> None:
    assert TimeSplit(dates=(np.int64(2**62 + 1), np.int64(2**62 + 2))).points == (2**62 + 1, 2**62 + 2)


_TENTHS = (0.8, 0.1, 0.1)
_DAYS = ("2024-03-01", "2024-03-02")


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (TimeSplit, {}, "either 'fractions' or 'dates'; received neither"),
        (TimeSplit, {"fractions": _TENTHS, "dates": _DAYS}, "received both"),
        (TimeSplit, {"fractions": (0.5, 0.5)}, "fractions must be three numbers above 0 that sum to 1; received 2"),
        (TimeSplit, {"fractions": (0.8, 0.1, 0.2)}, "which sum to 1.1"),
        (TimeSplit, {"fractions": (0.8, 0.2, 0.0)}, "received 0.0 at position 2"),
        (TimeSplit, {"dates": _DAYS[:1]}, "'dates' must be two: .*received 1"),
        (TimeSplit, {"dates": _DAYS[::-1]}, "'dates' must increase"),
        (TimeSplit, {"dates": ("2024-03-01", "2024-03-01T00:00Z")}, "'dates' must increase"),
        (TimeSplit, {"dates": ("2024-03-01", 5)}, "all be dates or all be numbers"),
        (TimeSplit, {"dates": ("2024-03-01", "soon")}, "ISO 8601.*received 'soon'"),
        (TimeSplit, {"dates": ("2024-03-01", "today")}, "ISO 8601.*received 'today'"),
        (TimeSplit, {"dates": ("PT1S", "PT2S")}, "not durations"),
        (TimeSplit, {"dates": (False, True)}, "must be dates or numbers; received False"),
        (TimeSplit, {"dates": (0.0, float("inf"))}, "finite number"),
        (TimeSplit, {"dates": "2024-03-01"}, "dates"),
        (TimeSplit, {"dates": (1, 2), "unit": "s"}, "leave it out"),
        (TimeSplit, {"fractions": _TENTHS, "unit": "s"}, "leave it out"),
        (TimeSplit, {"dates": _DAYS, "unit": "h"}, "unit"),
        (TimeSplit, {"fractions": _TENTHS, "seed": 1}, "seed"),
        (ColumnSplit, {"column": "c", "train": (1,), "valid": ("1",), "test": (2,)}, "'1' is in 'train' and 'valid'"),
        (ColumnSplit, {"column": "c", "train": (1,), "valid": (2,), "test": (True,)}, "True is in 'train' and 'test'"),
        (ColumnSplit, {"column": "c", "train": (1,), "valid": (), "test": (2,)}, "valid"),
        (ColumnSplit, {"column": "c", "train": (1,), "valid": (3,)}, "test"),
        (ColumnSplit, {"column": "c", "train": (float("nan"),), "valid": (1,), "test": (2,)}, "'train' has nan"),
        (HashSplit, {"fractions": _TENTHS}, "column"),
        (HashSplit, {"column": "c", "fractions": (1.0,)}, "three numbers"),
        (HashSplit, {"column": "c", "fractions": _TENTHS, "seed": -1}, "seed"),
        (RandomSplit, {"fractions": (0.5, 0.6, -0.1)}, "received -0.1 at position 2"),
        (RandomSplit, {"fractions": _TENTHS, "seed": 2**64}, "seed"),
    ],
)
def test_configurations_that_break_a_rule(kind: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=message):
        kind(**arguments)


def test_a_document_is_faulted_by_field() -> None:
    with pytest.raises(InputError, match=r"^split: .*fractions: fractions must be three numbers .*sum to 0.89"):
        _read("{by: hash, column: user, fractions: [0.7, 0.1, 0.1]}")
    with pytest.raises(InputError, match="by"):
        _read("{by: luck}")
