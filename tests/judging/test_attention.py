"""The table of attention weights over rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from htlnet_tf.judging.attention import attention_table

Build = Callable[..., Any]

COLUMNS = ["target", "unit", "input", "mean", "p05", "p25", "p50", "p75", "p95"]


def test_summaries_over_all_rows(make_model: Build, frame: pd.DataFrame, encoder: Any, batch: Any) -> None:
    model = make_model()
    for _ in range(5):
        model.train_step(batch)
    encoded = encoder.encode(frame)
    table = attention_table(model, encoded)
    assert list(table.columns) == COLUMNS
    keys = table[["target", "unit", "input"]].to_numpy().tolist()
    units = ["representation", "representation", "label", "label"]
    assert keys == [["spend", unit, name] for unit, name in zip(units, ["click", "buy"] * 2, strict=True)]
    weights = model.attention_weights(encoded)["spend"]
    expected = np.concatenate([weights[unit].numpy() for unit in ("representation", "label")], axis=1)
    np.testing.assert_allclose(table["mean"], expected.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(table[COLUMNS[4:]].T, np.percentile(expected, [5, 25, 50, 75, 95], axis=0), rtol=1e-5)
    np.testing.assert_allclose(table.groupby("unit")["mean"].sum(), 1.0, rtol=1e-6)


def test_batches_make_no_difference(make_model: Build, frame: pd.DataFrame, encoder: Any) -> None:
    model, encoded = make_model(), encoder.encode(frame)
    whole, parts = (attention_table(model, encoded, batch_size=size) for size in (8192, 150))
    pd.testing.assert_frame_equal(whole, parts, rtol=1e-5)


def test_a_model_without_attention(make_model: Build, frame: pd.DataFrame, encoder: Any) -> None:
    table = attention_table(make_model(fusion="concat"), encoder.encode(frame))
    assert table.empty
    assert list(table.columns) == COLUMNS
