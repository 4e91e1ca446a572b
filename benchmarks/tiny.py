"""A model that costs next to nothing, for what is measured around a model: versions that come and go, hours of use."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

import htlnet_tf as htl

USERS, ITEMS = 50, 80


def tiny_frame(rows: int = 512, seed: int = 0) -> pd.DataFrame:
    """Raw rows with labels."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "user": [f"u{k}" for k in random.integers(0, USERS, rows)],
            "item": random.integers(0, ITEMS, rows),
            "price": random.exponential(20.0, rows),
        }
    )
    frame["click"] = random.integers(0, 2, rows)
    frame["spend"] = frame["click"] * random.exponential(20.0, rows)
    return frame


def tiny_encoder() -> htl.FeatureEncoder:
    """Fitted on `tiny_frame()`."""
    schema = htl.Schema(
        features=[
            htl.Categorical("user", group="user", min_count=1),
            htl.Categorical("item", min_count=1),
            htl.Numeric("price"),
        ],
        targets=[htl.Binary("click"), htl.Continuous("spend", unit="EUR")],
    )
    return htl.FeatureEncoder.fit(schema, tiny_frame())


def tiny_model(encoder: htl.FeatureEncoder, seed: int = 0) -> Any:
    """A compiled HTLNet whose weights are those of a seed, far enough from their start that scores differ by seed."""
    import tensorflow as tf

    model = htl.HTLNet(encoder.schema, encoder, embedding_dim=4, tower_units=(8,))
    random = np.random.default_rng(seed)
    for weight in model.trainable_variables:
        weight.assign(tf.constant(random.normal(0.0, 0.3, weight.shape), weight.dtype))
    model.compile(optimizer=htl.LazyAdam(1e-3))
    return model
