"""Rows whose truth is simple enough for every reference."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf.encoding.encoded import EncodedRows, encode_rows


@dataclasses.dataclass(frozen=True)
class Shop:
    """Rows of a shop, encoded.

    Attributes:
      encoder: Fitted on the training rows.
      train: 3,000 rows, of which a fifth has no spend.
      valid: 1,000 rows.
      truth: Of the validation rows: P(click), P(stars = k), E[tip], E[spend].
    """

    encoder: htl.FeatureEncoder
    train: EncodedRows
    valid: EncodedRows
    truth: dict[str, np.ndarray]


@pytest.fixture(scope="session")
def shop() -> Shop:
    """All targets are decided by a number and a category; the tip may be negative, the spend is 0 in half the rows."""
    random = np.random.default_rng(0)
    count = 4000
    age, tab = random.normal(size=count), random.integers(0, 3, count)
    effect = np.array([-1.0, 0.0, 1.0])[tab]
    click = 1 / (1 + np.exp(-(age + effect)))
    odds = np.exp(np.stack([np.zeros(count), age, effect], axis=1))
    stars = odds / odds.sum(axis=1, keepdims=True)
    tip, size = age + effect, np.exp(0.5 * age + 0.5 * effect)
    frame = pd.DataFrame(
        {
            "age": age,
            "tab": tab,
            "click": random.random(count) < click,
            "stars": (random.random((count, 1)) > stars.cumsum(axis=1)).sum(axis=1),
            "tip": tip + 0.5 * random.normal(size=count),
            "spend": np.where(random.random(count) < 0.5, size * random.gamma(4.0, 0.25, count), 0.0),
        }
    )
    frame.loc[frame.index[:3000:5], "spend"] = np.nan
    schema = htl.Schema(
        features=[htl.Numeric("age"), htl.Categorical("tab", min_count=1)],
        targets=[
            htl.Binary("click"),
            htl.Multiclass("stars", num_classes=3),
            htl.Continuous("tip", non_negative=False),
            htl.Continuous("spend"),
        ],
    )
    encoder = htl.FeatureEncoder.fit(schema, frame[:3000])
    train, valid = (encode_rows(part, encoder) for part in (frame[:3000], frame[3000:]))
    truth = {"click": click, "stars": stars, "tip": tip, "spend": 0.5 * size}
    return Shop(encoder, train, valid, {name: values[3000:] for name, values in truth.items()})
