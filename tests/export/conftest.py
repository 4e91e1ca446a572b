"""A schema with every kind of feature and target, rows for it, and a model that is exported once."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf.export.publish import ExportedVersion
from tests.conftest import small_frame


@pytest.fixture(scope="session")
def rich_frame() -> pd.DataFrame:
    """As `small_frame`, with further columns."""
    frame = small_frame()
    random = np.random.default_rng(1)
    frame["city"] = random.choice(["rome", "oslo", None], len(frame))
    frame["history"] = random.choice(["1,2,3", "7", "", "2,2,-1"], len(frame))
    frame["when"] = frame["time_ms"] + 1_700_000_000_000
    frame["stars"] = random.integers(0, 3, len(frame))
    return frame


@pytest.fixture(scope="session")
def rich_schema() -> htl.Schema:
    """Interleaves user, item and context; several widths, poolings and slots; crosses of every pair of groups."""
    return htl.Schema(
        features=[
            htl.Categorical("item_id", dtype="int64"),
            htl.Categorical("user_id", group="user", encoding="hash", num_buckets=16),
            htl.Sequence("history", group="user", shares="item_id", pooling="max", max_length=3),
            htl.Categorical("tag", separator=",", pooling="sum", embedding_dim=4),
            htl.Categorical("city", group="user", embedding_dim=4, missing_values=("oslo",)),
            htl.Numeric("age", group="user", quantile_buckets=4),
            htl.Numeric("price", log1p=True),
            htl.Timestamp("when", unit="ms", utc_offset_hours=2.0),
            htl.Categorical("tab", group="context", min_count=1),
            htl.Cross("city_tab", of=("city", "tab"), num_buckets=64),
            htl.Cross("user_item", of=("user_id", "item_id"), num_buckets=32),
            htl.Cross("item_tab", of=("item_id", "tab")),
            htl.TargetEncoding(of="item_tab", target="stars", quantile_buckets=3, embedding_dim=4),
            htl.CountEncoding(of="user_id", quantile_buckets=2),
        ],
        targets=[htl.Binary("click"), htl.Multiclass("stars", num_classes=3), htl.Continuous("spend")],
    )


@pytest.fixture(scope="session")
def rich_model(rich_schema: htl.Schema, rich_frame: pd.DataFrame) -> Any:
    """An HTLNet whose weights are far from their start, so that no field is without effect."""
    import tensorflow as tf

    tf.keras.utils.set_random_seed(0)
    model = htl.HTLNet(rich_schema, htl.FeatureEncoder.fit(rich_schema, rich_frame), embedding_dim=6, tower_units=(8,))
    for weight in model.trainable_variables:
        weight.assign(tf.random.normal(weight.shape, stddev=0.3))
    return model


@pytest.fixture(scope="session")
def rich_version(
    rich_model: Any, rich_frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> ExportedVersion:
    """The model's version; nobody may change what lies there."""
    path = tmp_path_factory.mktemp("exported") / "m"
    return htl.export.export_model(rich_model, path, rows=rich_frame[:30], measure_latency=True)


@pytest.fixture(scope="session")
def rich_saved(rich_version: ExportedVersion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The SavedModel alone, as it is before it has been verified."""
    path = tmp_path_factory.mktemp("saved") / "1"
    shutil.copytree(rich_version.path, path, ignore=shutil.ignore_patterns("assets.extra"))
    return path
