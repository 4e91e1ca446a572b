"""generate_funnel: the same for a seed, a funnel, and a truth that is true."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from htlnet_tf.data.splits import time_split
from htlnet_tf.data.synthetic import SyntheticFunnel, generate_funnel
from htlnet_tf.errors import InputError


@pytest.fixture(scope="module")
def shop() -> SyntheticFunnel:
    return generate_funnel(120_000, seed=3)


def test_the_same_seed_gives_the_same_rows_and_another_does_not() -> None:
    one, two, other = generate_funnel(2_000, seed=5), generate_funnel(2_000, seed=5), generate_funnel(2_000, seed=6)
    pd.testing.assert_frame_equal(one.frame, two.frame)
    pd.testing.assert_frame_equal(one.truth, two.truth)
    assert not one.frame["click"].equals(other.frame["click"])


def test_the_shop_does_not_depend_on_the_number_of_rows() -> None:
    of_item = [
        generate_funnel(n, seed=1).frame.drop_duplicates("item_id").set_index("item_id")[["brand", "price"]]
        for n in (20_000, 5_000)
    ]
    pd.testing.assert_frame_equal(of_item[0].sort_index(), of_item[1].reindex(of_item[0].index).sort_index())


def test_frame_has_the_columns_of_the_schema_and_truth_its_targets(shop: SyntheticFunnel) -> None:
    schema = shop.schema
    assert set(shop.frame) == {f.name for f in schema.features} | {t.name for t in schema.targets} | {"time_ms"}
    assert list(shop.truth) == [t.name for t in schema.targets] == ["click", "purchase", "spend"]
    assert shop.frame.index.equals(shop.truth.index)
    assert {f.group for f in schema.features} == {"user", "item", "context"}
    assert shop.frame["user_id"].str.fullmatch(r"u\d+").all()
    assert shop.frame["item_id"].dtype == np.int64
    assert 0 < shop.frame["country"].isna().mean() < 0.2
    assert shop.frame["tags"].str.contains(",").any()


def test_it_is_a_funnel(shop: SyntheticFunnel) -> None:
    frame, truth = shop.frame, shop.truth
    assert frame["click"].isin([0, 1]).all() and frame["purchase"].isin([0, 1]).all()
    assert (frame["purchase"] <= frame["click"]).all()
    assert ((frame["spend"] > 0) == (frame["purchase"] == 1)).all()
    assert (truth["purchase"] < truth["click"]).all() and (truth["purchase"] > 0).all()
    assert truth["click"].between(0, 1).all() and (truth["spend"] > 0).all()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_rates_and_the_skill_of_the_truth_are_in_range(seed: int) -> None:
    made = generate_funnel(60_000, seed=seed)
    frame, truth = made.frame, made.truth
    assert 0.20 < frame["click"].mean() < 0.32
    assert 0.05 < frame["purchase"].mean() < 0.10
    assert 0.72 < roc_auc_score(frame["click"], truth["click"]) < 0.85
    assert 0.75 < roc_auc_score(frame["purchase"], truth["purchase"]) < 0.87
    nrmse = np.sqrt(np.mean((frame["spend"] - truth["spend"]) ** 2)) / frame["spend"].std()
    assert 0.85 < nrmse < 0.96


@pytest.mark.parametrize("target", ["click", "purchase", "spend"])
def test_truth_is_calibrated_in_its_deciles(shop: SyntheticFunnel, target: str) -> None:
    label, truth = shop.frame[target], shop.truth[target]
    deciles = pd.qcut(truth, 10, labels=False)
    for _, rows in truth.groupby(deciles):
        error = (label[rows.index] - rows).to_numpy()
        assert abs(error.mean()) < 4 * error.std() / np.sqrt(len(error))


@pytest.mark.parametrize("feature", ["segment", "category", "brand", "device", "hour", "country"])
def test_truth_is_calibrated_for_every_value_of_a_feature(shop: SyntheticFunnel, feature: str) -> None:
    error = shop.frame["click"] - shop.truth["click"]
    groups = error.groupby(shop.frame[feature], dropna=False).agg(["mean", "std", "size"])
    assert (groups["mean"].abs() < 4.5 * groups["std"] / np.sqrt(groups["size"])).all()


def test_requests_are_ten_different_items_of_one_user_at_one_time(shop: SyntheticFunnel) -> None:
    frame = shop.frame
    assert frame["time_ms"].is_monotonic_increasing
    requests = frame.groupby("time_ms")
    assert (requests.size() == 10).all()
    assert (requests["item_id"].nunique() == 10).all()
    assert (requests[["user_id", "device", "hour"]].nunique() == 1).all(axis=None)


def test_users_and_items_keep_their_own_columns_and_have_enough_rows(shop: SyntheticFunnel) -> None:
    of_user = shop.frame.groupby("user_id")[["segment", "age", "country"]].nunique(dropna=False)
    of_item = shop.frame.groupby("item_id")[["category", "brand", "price", "tags"]].nunique(dropna=False)
    assert (of_user == 1).all(axis=None) and (of_item == 1).all(axis=None)
    assert len(of_user) == 500 and len(of_item) == 240
    assert shop.frame["user_id"].value_counts().min() >= 40
    assert shop.frame["item_id"].value_counts().min() >= 200


def test_it_is_stationary_and_splits_by_time(shop: SyntheticFunnel) -> None:
    train, valid, test = time_split(shop.frame, shop.schema)
    assert len(train) == pytest.approx(96_000, abs=10) and len(valid) == pytest.approx(12_000, abs=10)
    assert abs(train["click"].mean() - test["click"].mean()) < 0.02


def test_start_and_hour() -> None:
    frame = generate_funnel(1_000, start="2030-05-01").frame
    times = pd.to_datetime(frame["time_ms"], unit="ms")
    assert times.min() >= pd.Timestamp("2030-05-01") and times.max() < pd.Timestamp("2030-05-29 00:01")
    assert (times.dt.hour == frame["hour"]).all()
    moved = generate_funnel(1_000, start=datetime.datetime(2030, 5, 1)).frame
    pd.testing.assert_frame_equal(frame, moved)
    one_hour_earlier = generate_funnel(1_000, start="2030-05-01T00:00+01:00").frame
    assert (frame["time_ms"] - one_hour_earlier["time_ms"] == 3_600_000).all()


def test_the_number_of_rows_need_not_be_a_multiple_of_ten() -> None:
    made = generate_funnel(13, num_users=2, num_items=20)
    assert len(made.frame) == len(made.truth) == 13
    assert (made.frame.groupby("time_ms")["item_id"].nunique() == [10, 3]).all()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ({"num_rows": 0}, ["num_rows", "at least 1", "received 0"]),
        ({"num_rows": 10.5}, ["num_rows", "10.5"]),
        ({"num_rows": True}, ["num_rows", "True"]),
        ({"seed": -1}, ["seed", "at least 0", "-1"]),
        ({"num_users": 1}, ["num_users", "at least 2"]),
        ({"num_items": 19}, ["num_items", "at least 20"]),
        ({"start": "soon"}, ["start", "'soon'"]),
        ({"start": 5}, ["start", "5"]),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        generate_funnel(**{"num_rows": 10, **arguments})
    for part in parts:
        assert part in str(caught.value)
