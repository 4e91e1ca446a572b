"""Raw columns -> rows and floats, checked against a plain Python reading of the rules."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import htlnet_tf as htl
from htlnet_tf.data.raw_features import raw_features


def test_blocks_of_rows_do_not_overlap_and_fill_the_table(encoder: Any, frame: pd.DataFrame) -> None:
    ids = encoder.encode(frame)["ids"]
    assert ids.dtype == np.int32
    assert ids.min() >= 0
    assert ids.max() < encoder.num_rows
    starts = np.cumsum([0, *encoder.slots])
    blocks = [set(ids[:, a:b].ravel()) - {0} for a, b in itertools.pairwise(starts)]
    assert sum(map(len, blocks)) == len(set().union(*blocks))


def test_known_unknown_and_missing_values(schema: htl.Schema) -> None:
    train = pd.DataFrame(
        {
            "user_id": ["u", "u", None, "v"],
            "item_id": [1, 1, 2, 2],
            "tag": ["a,b", "a,b", "b", "b"],
            "age": [1.0, 3.0, 1.0, 3.0],
            "price": [0.0] * 4,
            "tab": [0] * 4,
            "click": [0, 1, 0, 1],
            "buy": [0, 1, 0, 0],
            "spend": [0.0, 2.0, 0.0, 0.0],
        }
    )
    encoder = htl.FeatureEncoder.fit(schema, train)
    # By hand: padding 0; user_id: unknown 1, missing 2, "u" 3 ("v" is seen once); item_id: unknown 4 (no value is
    # missing, so missing is 4 too), 1 -> 5, 2 -> 6; tag: unknown 7, "b" 8 (4 times), "a" 9; tab: unknown 10, 0 -> 11.
    assert encoder.num_rows == 12
    rows = pd.DataFrame(
        {
            "user_id": ["u", "v", None, "new"],
            "item_id": [2, 3, None, 1],
            "tag": ["a, b", " b", None, "x,a,b"],
            "age": [3.0, None, 2.0, 1000.0],
            "price": [0.0, 1.0, 0.0, 0.0],
            "tab": [0, 1, 0, 0],
        }
    )
    encoded = encoder.encode(rows)
    assert encoded["ids"].tolist() == [[3, 6, 9, 8, 11], [1, 4, 8, 0, 10], [2, 4, 7, 0, 11], [1, 5, 7, 9, 11]]
    # age: mean 2, std 1, clipped at 10; price is constant, so its std is 1.
    expected = [[1.0, 0.0], [0.0, np.log(2.0)], [0.0, 0.0], [10.0, 0.0]]
    np.testing.assert_allclose(encoded["numeric"], expected, atol=1e-6)


@pytest.mark.parametrize("unit", [1e-36, 1e-30, 1e-13, 1e13, 1e30, 1e36])
def test_numbers_of_any_unit_are_encoded_alike(unit: float) -> None:
    amounts = np.concatenate([np.random.default_rng(0).normal(1.0, 3.0, 200), [90.0]])
    schema = htl.Schema(
        features=[htl.Categorical("c"), htl.Numeric("x"), htl.Numeric("bucket", quantile_buckets=5)],
        targets=[htl.Binary("click"), htl.Continuous("spend", non_negative=False)],
    )
    frame = pd.DataFrame({"c": 1, "x": amounts * unit, "bucket": amounts * unit, "click": 1, "spend": amounts * unit})
    encoder = htl.FeatureEncoder.fit(schema, frame)
    encoded = encoder.encode(frame)
    # float64; the last row lies beyond the 10 deviations at which values are clipped.
    expected = np.clip((amounts - amounts.mean()) / amounts.std(), -10.0, 10.0)
    assert expected[-1] == 10.0
    np.testing.assert_allclose(encoded["numeric"][:, 0], expected, atol=2e-6)
    assert np.bincount(encoded["ids"][:, 1])[-5:].tolist() == [40, 40, 40, 40, 41]
    graph = tf.function(encoder.__call__, input_signature=[encoder.raw_specs()])
    raw = {name: tf.constant(values) for name, values in raw_features(frame, encoder.schema).items()}
    np.testing.assert_array_equal(graph(raw)["numeric"], encoded["numeric"])
    raw["x"] = tf.fill([201], tf.constant(-3.4e38))
    assert set(graph(raw)["numeric"].numpy()[:, 0].tolist()) == {-10.0}


def test_an_indicator_follows_numbers_that_were_missing_in_training(encoder: Any, frame: pd.DataFrame) -> None:
    numeric = encoder.encode(frame)["numeric"]
    assert numeric.shape == (len(frame), 3)
    assert numeric[:, 2].tolist() == frame["age"].isna().astype(float).tolist()
    assert (numeric[frame["age"].isna(), 0] == 0).all()
    assert abs(numeric[:, 1].mean()) < 1e-5
    assert abs(numeric[:, 1].std() - 1) < 1e-4


def test_the_graph_reads_missing_codes_of_a_request(schema: htl.Schema, frame: pd.DataFrame) -> None:
    coded = schema.with_features(
        htl.Numeric("age", missing_values=[-124.0]) if f.name == "age" else f for f in schema.features
    )
    encoder = htl.FeatureEncoder.fit(coded, frame)
    raw = {name: tf.constant(values[:2]) for name, values in raw_features(frame, encoder.schema).items()}
    raw["age"] = tf.constant([-124.0, np.inf], tf.float32)
    assert encoder(raw)["numeric"][:, 0].numpy().tolist() == [0.0, 0.0]


def test_save_and_load_encode_alike(encoder: Any, frame: pd.DataFrame, tmp_path: Path) -> None:
    encoder.save(tmp_path / "encoder.json")
    loaded = htl.FeatureEncoder.load(tmp_path / "encoder.json")
    for key, values in encoder.encode(frame).items():
        np.testing.assert_array_equal(loaded.encode(frame)[key], values)


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]), max_size=8)),
            st.integers(-(2**63), 2**63 - 1),
            st.lists(st.sampled_from(["a", "b", "c", "zz", " ", "☃"]), max_size=6).map(",".join),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_any_value_gets_a_row_of_its_feature(encoder: Any, frame: pd.DataFrame, values: list[Any]) -> None:
    rows = frame.iloc[: len(values)].copy()
    rows["user_id"] = [u for u, _, _ in values]
    rows["item_id"] = [i for _, i, _ in values]
    rows["tag"] = [t for _, _, t in values]
    encoded = encoder.encode(rows)
    known = encoder.encode(frame)["ids"]
    assert encoded["ids"].min() >= 0
    assert encoded["ids"].max() < encoder.num_rows
    for slot in (0, 1, 2):
        low, high = known[:, slot][known[:, slot] > 0].min(), known[:, slot].max()
        assert (encoded["ids"][:, slot] <= max(high, low + 40)).all()
        assert (encoded["ids"][:, slot] > 0).all()  # the first slot is never padding
    assert np.isfinite(encoded["numeric"]).all()
