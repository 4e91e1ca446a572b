"""Batches: every row once, reproducible orders, shapes and dtypes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import htlnet_tf as htl


def spends(dataset: Any) -> list[float]:
    return np.concatenate([targets["spend"].numpy() for _, targets in dataset]).tolist()


def test_in_order_without_shuffle(schema: htl.Schema, frame: pd.DataFrame, encoder: Any) -> None:
    dataset = htl.data.make_dataset(frame, schema, encoder, batch_size=64)
    assert spends(dataset) == frame["spend"].astype(np.float32).tolist()
    sizes = [len(features["ids"]) for features, _ in dataset]
    assert sizes == [64] * 6 + [16]
    assert int(dataset.cardinality()) == 7


def test_shuffled_epochs_are_new_complete_and_reproducible(
    schema: htl.Schema, frame: pd.DataFrame, encoder: Any
) -> None:
    one, two = (htl.data.make_dataset(frame, schema, encoder, shuffle=True, seed=3) for _ in range(2))
    first, second = spends(one), spends(one)
    assert first != second
    assert sorted(first) == sorted(second) == sorted(frame["spend"].astype(np.float32))
    assert [first, second] == [spends(two), spends(two)]
    assert first != spends(htl.data.make_dataset(frame, schema, encoder, shuffle=True, seed=4))


def test_features_and_targets_stay_together(schema: htl.Schema, frame: pd.DataFrame, encoder: Any) -> None:
    encoded = encoder.encode(frame)
    columns = zip(encoded["ids"], encoded["numeric"], frame["spend"], strict=True)
    by_row = {(*ids, *x): spend for ids, x, spend in columns}
    for features, targets in htl.data.make_dataset(frame, schema, encoder, batch_size=50, shuffle=True, seed=0):
        for ids, x, spend in zip(features["ids"].numpy(), features["numeric"].numpy(), targets["spend"], strict=True):
            assert by_row[(*ids, *x)] == pytest.approx(float(spend), rel=1e-6)


def test_a_shuffle_is_a_fair_one(schema: htl.Schema, encoder: Any, frame: pd.DataFrame) -> None:
    rows = pd.concat([frame] * 50, ignore_index=True)
    rows["spend"] = np.arange(len(rows), dtype=float)
    order = np.asarray(spends(htl.data.make_dataset(rows, schema, encoder, shuffle=True, seed=0)))
    # Neighbours of a random permutation are uncorrelated: standard error 1 / sqrt(20,000).
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 5 / np.sqrt(len(order))
    assert abs(np.corrcoef(order, np.arange(len(order)))[0, 1]) < 5 / np.sqrt(len(order))


def test_shapes_and_dtypes(schema: htl.Schema, frame: pd.DataFrame, encoder: Any) -> None:
    features, targets = htl.data.make_dataset(frame, schema, encoder, batch_size=64, drop_remainder=True).element_spec
    assert features["ids"].dtype == "int32"
    assert features["ids"].shape[1] == encoder.num_slots
    assert features["numeric"].shape[1] == encoder.num_numeric
    assert list(targets) == ["click", "buy", "spend"]
    assert all(t.dtype == "float32" for t in targets.values())


def test_wrong_use(schema: htl.Schema, frame: pd.DataFrame, encoder: Any) -> None:
    with pytest.raises(htl.InputError, match="batch_size"):
        htl.data.make_dataset(frame, schema, encoder, batch_size=0)
    with pytest.raises(htl.InputError, match="leaves no batch"):
        htl.data.make_dataset(frame, schema, encoder, batch_size=1000, drop_remainder=True)
    with pytest.raises(htl.InputError, match="no rows"):
        htl.data.make_dataset(frame[:0], schema, encoder)
    with pytest.raises(htl.InputError, match="column 'age' is missing"):
        htl.data.make_dataset(frame.drop(columns="age"), schema, encoder)
    with pytest.raises(htl.InputError, match=r"column 'click', row 3 .*0 or 1.*received 7"):
        htl.data.make_dataset(frame.assign(click=frame["click"].where(frame.index != 3, 7)), schema, encoder)
    with pytest.raises(htl.InputError, match="are for streams"):
        htl.data.make_dataset(frame, schema, encoder, num_shards=2)


def test_missing_labels_come_as_weights(schema: htl.Schema, frame: pd.DataFrame, encoder: Any) -> None:
    gaps = frame.assign(spend=frame["spend"].where(frame.index % 2 == 0))
    _, targets, weights = next(iter(htl.data.make_dataset(gaps, schema, encoder, batch_size=400)))
    assert weights["click"].numpy().tolist() == [1.0] * 400
    assert weights["spend"].numpy().tolist() == [1.0, 0.0] * 200
    assert np.isfinite(targets["spend"]).all()
