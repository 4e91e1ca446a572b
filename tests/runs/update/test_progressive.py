"""Who is new on a day."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf.data import open_stream
from htlnet_tf.runs.update.progressive import identities, new_values

ROWS = pd.DataFrame(
    {
        "who": [*"aabbcc", None],
        "region": [*"xyxyxyz"],
        "seen": ["1|2|3", "4|5", "", "6|7", "8", "9", "10"],
        "item": [1, 1, 2, 2, 3, 3, 3],
        "hashed": [*"abcdefg"],
        "click": [0, 1, 0, 1, 0, 1, 0],
        "spend": [0.0, 1.0, 0.0, 2.0, 0.0, 3.0, 0.0],
    }
)


def schema(user: str | None = None) -> htl.Schema:
    features = (
        htl.Categorical("who", group="user"),
        htl.Categorical("region", group="user", min_count=1),
        htl.Sequence("seen", separator="|", group="user", min_count=1),
        htl.Categorical("item", min_count=1),
        htl.Categorical("hashed", encoding="hash", num_buckets=100),
    )
    targets = (htl.Binary("click"), htl.Continuous("spend"))
    return htl.Schema(features=features, targets=targets, user=user)


@pytest.mark.parametrize(("user", "feature"), [(None, "who"), ("region", "region")])
def test_who_is_told_apart_by_one_value_of_a_vocabulary(user: str | None, feature: str) -> None:
    encoder = htl.FeatureEncoder.fit(schema(user), ROWS)
    assert identities(encoder) == {"user": feature, "item": "item"}


def test_what_is_out_of_vocabulary_is_new_and_what_is_missing_is_not(tmp_path: Path) -> None:
    encoder = htl.FeatureEncoder.fit(schema(), ROWS)
    day = ROWS.head(4).assign(who=["a", "new", None, "b"], item=[1, 2, 9, 3])
    found = new_values(encoder, day, identities(encoder))
    assert found["user"].tolist() == [False, True, False, False]
    assert found["item"].tolist() == [False, False, True, False]
    day.to_parquet(tmp_path / "day.parquet")
    streamed = new_values(encoder, open_stream(tmp_path / "day.parquet", encoder.schema), identities(encoder))
    assert streamed["user"].tolist() == found["user"].tolist()
