"""generate_funnel: the same for a seed, a funnel, and a truth that is true."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from htlnet_tf.data.splits import time_split
from htlnet_tf.data.synthetic import SyntheticFunnel, _affinities, generate_funnel
from htlnet_tf.errors import InputError


@pytest.fixture(scope="module")
def shop() -> SyntheticFunnel:
    return generate_funnel(120_000, seed=3)


def test_the_same_seed_gives_the_same_rows_and_another_does_not() -> None:
    one, two, other = generate_funnel(2_000, seed=5), generate_funnel(2_000, seed=5), generate_funnel(2_000, seed=6)
    pd.testing.assert_frame_equal(one.frame, two.frame)
    pd.testing.assert_frame_equal(one.truth, two.truth)
    assert not one.frame["click"].equals(other.frame["click"])


def test_the_usual_shop_stays_as_it_was() -> None:
    """The sums are those of the version without `dependence` and `unit`, whose every bit they keep."""
    made = generate_funnel(2_000)
    sums = [526, 137, 3_420_938_166_800_370, 2_243_603]
    assert made.frame[["click", "purchase", "time_ms", "item_id"]].sum().tolist() == sums
    # To 1e-14 and not exactly: another processor may round exp and sin otherwise.
    expected = [float.fromhex(s) for s in ("0x1.0a0c5e56d8a94p+9", "0x1.1f49134327655p+7", "0x1.04bb31d75ef84p+12")]
    np.testing.assert_allclose(made.truth.sum(), expected, rtol=1e-14)
    np.testing.assert_allclose(made.frame["spend"].sum(), float.fromhex("0x1.078876e0192a1p+12"), rtol=1e-14)


def logits(made: SyntheticFunnel) -> tuple[np.ndarray, np.ndarray]:
    """Of a click and of a purchase after it."""
    click, purchase = made.truth["click"].to_numpy(), (made.truth["purchase"] / made.truth["click"]).to_numpy()
    return np.log(click / (1 - click)), np.log(purchase / (1 - purchase))


@pytest.mark.parametrize("seed", [0, 1])
def test_dependence_is_how_much_the_logits_of_the_steps_have_in_common(seed: int) -> None:
    made = {d: generate_funnel(40_000, seed=seed, dependence=d) for d in (0, 0.5, 0.8, 0.9, 1)}
    none, half, usual, more, one = (float(np.corrcoef(*logits(m))[0, 1]) for m in made.values())
    assert abs(none) < 0.15 and 0.3 < half < 0.5 and 0.6 < usual < 0.75 and 0.85 < more < 0.95
    assert one == pytest.approx(1, abs=1e-9)
    click, purchase = logits(made[1])
    assert np.ptp(purchase - click) < 1e-9, "they are the same but for a constant"
    usual_frame = made[0.8].frame
    for shop in made.values():
        others = ["purchase", "spend"]
        pd.testing.assert_frame_equal(shop.frame.drop(columns=others), usual_frame.drop(columns=others))
        assert 0.065 < shop.frame["purchase"].mean() < 0.095
        assert (shop.truth["purchase"] < shop.truth["click"]).all()


@pytest.mark.parametrize("dependence", [0.0, 1.0])
def test_truth_is_calibrated_at_every_dependence(dependence: float) -> None:
    made = generate_funnel(60_000, seed=4, dependence=dependence)
    for target in ("purchase", "spend"):
        deciles = pd.qcut(made.truth[target], 10, labels=False)
        errors = (made.frame[target] - made.truth[target]).groupby(deciles).agg(["mean", "std", "size"])
        assert (errors["mean"].abs() < 4 * errors["std"] / np.sqrt(errors["size"])).all()


def test_tastes_correlate_by_the_dependence_and_are_as_strong_at_each() -> None:
    for correlation in (0.0, 0.5, 0.8):
        looking, buying = _affinities(np.random.default_rng(7), correlation)
        assert np.corrcoef(looking.ravel(), buying.ravel())[0, 1] == pytest.approx(correlation, abs=1e-12)
        assert looking.std() == pytest.approx(0.9) and buying.std() == pytest.approx(0.9)


def test_cents_are_the_same_amounts_times_100() -> None:
    euro, cent = generate_funnel(3_000), generate_funnel(3_000, unit="cent")
    assert (euro.schema.core.unit, cent.schema.core.unit) == ("EUR", "cent")
    for one, other in ((euro.frame, cent.frame), (euro.truth, cent.truth)):
        pd.testing.assert_frame_equal(one.assign(spend=one["spend"] * 100), other)


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
        ({"dependence": -0.1}, ["dependence", "[0, 1]", "-0.1"]),
        ({"dependence": 1.1}, ["dependence", "1.1"]),
        ({"dependence": float("nan")}, ["dependence", "nan"]),
        ({"dependence": "half"}, ["dependence", "'half'"]),
        ({"dependence": True}, ["dependence", "True"]),
        ({"unit": "USD"}, ["unit", "'cent'", "'USD'"]),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        generate_funnel(**{"num_rows": 10, **arguments})
    for part in parts:
        assert part in str(caught.value)
