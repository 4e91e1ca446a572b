"""The latest share of rows, of a frame and of a stream."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf.data import Stream, latest_rows, open_stream
from htlnet_tf.data.split_config import TimeSplit
from htlnet_tf.data.splits import Split

SCHEMA = htl.Schema(
    features=[htl.Categorical("user", dtype="int64")],
    targets=[htl.Binary("click"), htl.Continuous("spend")],
    timestamp="t",
)


def logged(times: list[Any]) -> pd.DataFrame:
    count = len(times)
    return pd.DataFrame({"user": range(count), "t": times, "click": [0, 1] * (count // 2), "spend": 1.0})


def stream_of(frame: pd.DataFrame, folder: Path) -> Stream:
    frame[:4].to_parquet(folder / "a.parquet", index=False)
    frame[4:].to_parquet(folder / "b.parquet", index=False)
    return open_stream(folder, SCHEMA)


@pytest.mark.parametrize(
    ("share", "users"),
    [(0.2, [1, 3]), (0.3, [1, 3, 9]), (0.4, [1, 3, 5, 7, 9]), (1e-6, [3]), (1.0, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])],
)
def test_rows_of_one_time_stay_together(share: float, users: list[int]) -> None:
    # By hand: from the latest on, users 3, 1, 9, then 5 and 7 with one time.
    frame = logged([10, 98, 20, 99, 30, 70, 40, 70, 50, 97])
    assert latest_rows(frame, SCHEMA, share)["user"].tolist() == users


@pytest.mark.parametrize(
    "times", [[5, 1, 9, 3, 8, 2, 7, 4, 6, 10], [f"2024-01-{day:02}" for day in (5, 1, 9, 3, 8, 2, 7, 4, 6, 10)]]
)
@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_a_stream_gives_the_rows_that_the_frame_does(tmp_path: Path, times: list[Any], share: float) -> None:
    frame = logged(times)
    stream = stream_of(frame, tmp_path)
    split = Split.fit(TimeSplit(fractions=(0.8, 0.1, 0.1)), SCHEMA, frame)
    train, _, _ = split.apply(frame)
    expected = latest_rows(train, SCHEMA, share)["user"]
    assert len(expected) == 8 * share
    found = pd.concat(latest_rows(stream.of(split, "train"), SCHEMA, share))["user"]
    assert sorted(found) == sorted(expected)


def test_a_split_at_dates_ends_with_its_training_rows(tmp_path: Path) -> None:
    frame = logged([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    split = Split.fit(TimeSplit(dates=(7, 9)), SCHEMA, frame)
    found = pd.concat(latest_rows(stream_of(frame, tmp_path).of(split, "train"), SCHEMA, 0.5))
    assert found["t"].tolist() == [4, 5, 6]  # 7 is the first of the validation rows


def test_what_has_no_latest_rows(tmp_path: Path) -> None:
    frame = logged([1, 2, 3, 4, 5, 6])
    for share in (0.0, 1.5, float("nan")):
        with pytest.raises(htl.InputError, match=r"must be in \(0, 1\], received"):
            latest_rows(frame, SCHEMA, share)
    timeless = htl.Schema(features=SCHEMA.features, targets=SCHEMA.targets)
    with pytest.raises(htl.InputError, match="its 'timestamp' is None"):
        latest_rows(frame, timeless, 0.5)
    with pytest.raises(htl.InputError, match="the frame has no rows"):
        latest_rows(frame[:0], SCHEMA, 0.5)
    with pytest.raises(htl.InputError, match="training part of a split by time"):
        latest_rows(stream_of(frame, tmp_path), SCHEMA, 0.5)
    missing = frame.assign(t=[1.0, 2.0, np.nan, 4.0, 5.0, 6.0])
    with pytest.raises(htl.InputError, match="must not be missing"):
        latest_rows(missing, SCHEMA, 0.5)
