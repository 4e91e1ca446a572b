"""Quantile buckets of history statistics: of the statistic that a row may see, in training too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf.encoding.encoded import encode_frame

SCHEMA = htl.Schema(
    features=[
        # In front of the value, whose columns and rows it shifts.
        htl.TargetEncoding(of="item", target="click", smoothing=1.0, folds=2, quantile_buckets=2, embedding_dim=3),
        htl.Categorical("item", min_count=1),
        htl.Categorical("tags", separator=",", min_count=1),
    ],
    targets=[htl.Binary("click"), htl.Multiclass("stars", num_classes=3), htl.Continuous("spend")],
    statistics=htl.HistoryStatistics(of=("tags",), targets=("stars",), quantile_buckets=4),
)


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    random = np.random.default_rng(0)
    tags = [",".join(random.choice(["x", "y", "z"], 1 + i % 2, replace=False)) for i in range(200)]
    item = random.integers(0, 12, 200)
    return pd.DataFrame(
        {
            "item": item,
            "tags": tags,
            "click": (random.random(200) < item / 12).astype(int),
            "stars": random.integers(0, 3, 200),
            "spend": random.random(200),
        }
    )


@pytest.fixture(scope="module")
def encoder(rows: pd.DataFrame) -> Any:
    return htl.FeatureEncoder.fit(SCHEMA, rows)


def test_bounds_are_quantiles_over_the_training_rows() -> None:
    frame = pd.DataFrame({"item": [1] * 2 + [2] * 2 + [3] * 4, "tags": "x", "stars": 0, "spend": 1.0})
    frame["click"] = [0, 0, 0, 1, 1, 1, 1, 1]
    learned = htl.FeatureEncoder.fit(SCHEMA, frame).statistics.learned["item.click"]
    # By hand, with the prior 5/8 for one row: (0 + 5/8) / 3, (1 + 5/8) / 3, (4 + 5/8) / 5. Half of the rows have one of
    # the first two values, so the bound between two buckets is the second.
    means = np.repeat([0.625 / 3, 1.625 / 3, 4.625 / 5], [2, 2, 4])
    assert learned.boundaries == (pytest.approx([(1.625 / 3 - means.mean()) / means.std()], rel=1e-6),)


def test_a_row_is_in_the_bucket_of_its_number_in_training_and_in_serving(rows: pd.DataFrame, encoder: Any) -> None:
    learned = encoder.statistics.learned
    names = ["item.click", "tags.count", "tags.stars.0", "tags.stars.1", "tags.stars.2"]
    bounds = [b for name in ("item.click", "tags.count", "tags.stars") for b in learned[name].boundaries]
    assert len(bounds) == encoder.num_numeric == 5
    numbers = []
    for training in (True, False):
        encoded = encode_frame(rows, encoder, training=training).features
        for column, (name, bound) in enumerate(zip(names, bounds, strict=True)):
            bucket = encoded["ids"][:, encoder.slots_of(name)][:, 0] - encoder.blocks[name].first
            expected = [sum(x >= b for b in bound) for x in encoded["numeric"][:, column]]
            assert bucket.tolist() == expected
            assert len(set(expected)) > 1, name
        numbers.append(encoded["numeric"][:, 0])
    assert (numbers[0] != numbers[1]).any()  # the row's own label is left out


def test_statistics_are_the_same_with_and_without_buckets(rows: pd.DataFrame, encoder: Any) -> None:
    plain = htl.Schema(
        features=[htl.TargetEncoding(of="item", target="click", smoothing=1.0, folds=2), *SCHEMA.features[1:3]],
        targets=SCHEMA.targets,
        statistics=htl.HistoryStatistics(of=("tags",), targets=("stars",)),
    )
    without = htl.FeatureEncoder.fit(plain, rows)
    for training in (True, False):
        expected = encode_frame(rows, without, training=training).features["numeric"]
        got = encode_frame(rows, encoder, training=training).features["numeric"]
        np.testing.assert_array_equal(got, expected)


def test_bounds_are_kept_with_the_encoder(rows: pd.DataFrame, encoder: Any, tmp_path: Path) -> None:
    encoder.save(tmp_path / "encoder.json")
    loaded = htl.FeatureEncoder.load(tmp_path / "encoder.json")
    np.testing.assert_array_equal(loaded.encode(rows)["ids"], encoder.encode(rows)["ids"])
    assert loaded.layout == encoder.layout
    assert [table.dim for table in loaded.layout.tables] == [3, None]
