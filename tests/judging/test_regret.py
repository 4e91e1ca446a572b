"""Expected values come from sums by hand or from expectations written out over every label in NumPy float64."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from htlnet_tf.data.synthetic import generate_funnel
from htlnet_tf.errors import InputError
from htlnet_tf.judging.evaluation import evaluate_predictions
from htlnet_tf.judging.regret import regret
from htlnet_tf.schema import Binary, Categorical, Continuous, Multiclass, Schema

SCHEMA = Schema(
    features=(Categorical("user_id"),),
    targets=(Binary("click"), Multiclass("stars", num_classes=3), Continuous("spend", non_negative=False)),
)
COLUMNS = ["click", "stars_0", "stars_1", "stars_2", "spend"]

probability = st.floats(0.001, 0.999)
classes = st.tuples(*[st.floats(0.01, 1.0)] * 3).map(lambda p: [v / sum(p) for v in p])
scores = st.tuples(probability, classes, st.floats(-100, 100)).map(lambda row: [row[0], *row[1], row[2]])


def table(*rows: Any) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=COLUMNS)


def labels(num_rows: int) -> pd.DataFrame:
    count = np.arange(num_rows)
    return pd.DataFrame({"click": count % 2, "stars": count % 3, "spend": count * 3.0})


def test_by_hand() -> None:
    truth = table([0.5, 0.5, 0.25, 0.25, 1.0], [0.25, 1.0, 0.0, 0.0, 2.0])
    predictions = table([0.25, 0.25, 0.25, 0.5, 3.0], [0.25, 0.5, 0.25, 0.25, 5.0])
    got = regret(SCHEMA, labels(2), truth, predictions)
    # Row 1: 1/2 log(2) + 1/2 log(2/3); row 2: none.
    assert got["click"] == pytest.approx((0.5 * np.log(2) + 0.5 * np.log(2 / 3)) / 2, rel=1e-12)
    # Row 1: 1/2 log(2) + 1/4 log(1/2); row 2: log(2).
    assert got["stars"] == pytest.approx((0.25 * np.log(2) + np.log(2)) / 2, rel=1e-12)
    # Errors 2 and 3, labels 0 and 3 with the variance 9/4.
    assert got["spend"] == pytest.approx((4 + 9) / 2 / (9 / 4), rel=1e-12)


def test_it_is_the_expected_excess_of_the_metrics() -> None:
    """Over every combination of labels with its probability, by the evaluation's own LogLoss."""
    schema = Schema(features=SCHEMA.features, targets=(Binary("click"), Continuous("spend")))
    truth = pd.DataFrame({"click": [0.2, 0.7, 0.5], "spend": [0.0, 1.0, 2.0]})
    predictions = pd.DataFrame({"click": [0.3, 0.6, 0.5], "spend": [1.0, 1.0, 2.0]})
    expected = 0.0
    for drawn in itertools.product([0, 1], repeat=3):
        happened = np.array(drawn)
        chance = np.prod(np.where(happened == 1, truth["click"], 1 - truth["click"]))
        rows = pd.DataFrame({"click": happened, "spend": truth["spend"]})
        model, oracle = (evaluate_predictions(schema, rows, p).value("click", "logloss") for p in (predictions, truth))
        expected += chance * (model - oracle)
    assert regret(schema, rows, truth, predictions)["click"] == pytest.approx(expected, rel=1e-10)


def test_the_excess_on_drawn_labels_comes_close() -> None:
    shop = generate_funnel(60_000, seed=2)
    off = shop.truth.assign(click=shop.truth["click"] ** 1.5, spend=shop.truth["spend"] * 1.5)
    got = regret(shop.schema, shop.frame, shop.truth, off)
    model, oracle = (evaluate_predictions(shop.schema, shop.frame, p) for p in (off, shop.truth))
    assert got["purchase"] == 0
    assert got["click"] == pytest.approx(model.value("click", "logloss") - oracle.value("click", "logloss"), rel=0.1)
    excess = model.value("spend", "nrmse") ** 2 - oracle.value("spend", "nrmse") ** 2
    assert got["spend"] == pytest.approx(excess, rel=0.25)


@given(st.lists(st.tuples(scores, scores), min_size=2, max_size=6))
@settings(max_examples=60)
def test_it_is_zero_for_the_truth_and_positive_for_all_else(rows: list[tuple[list[float], list[float]]]) -> None:
    truth, predictions = table(*(a for a, _ in rows)), table(*(b for _, b in rows))
    given_labels = labels(len(rows))
    assert regret(SCHEMA, given_labels, truth, truth) == {"click": 0.0, "stars": 0.0, "spend": 0.0}
    got = regret(SCHEMA, given_labels, truth, predictions)
    for target in SCHEMA.targets:
        names = list(target.score_names)
        gap = (truth[names] - predictions[names]).abs().max(axis=None)
        assert got[target.name] >= 0
        if gap > 1e-6:  # of a smaller one the square may be less than the rounding
            assert got[target.name] > 0


@given(st.floats(0.01, 0.99), st.floats(1e-9, 1e-7))
@settings(max_examples=40)
def test_small_differences_do_not_cancel(p: float, step: float) -> None:
    """KL is step^2 / (2 p (1 - p)) to second order, far below the rounding of its two logarithms."""
    row = [1 / 3, 1 / 3, 1 / 3, 0.0]
    moved = p + step
    got = regret(SCHEMA, labels(2), table([p, *row], [p, *row]), table([moved, *row], [moved, *row]))
    assert got["click"] == pytest.approx((moved - p) ** 2 / (2 * p * (1 - p)), rel=1e-4)


def test_certain_but_wrong_costs_the_clipped_log() -> None:
    row = [1 / 3, 1 / 3, 1 / 3, 0.0]
    got = regret(SCHEMA, labels(2), table([1.0, *row], [0.0, *row]), table([0.0, *row], [0.0, *row]))
    assert got["click"] == pytest.approx(-np.log(np.finfo(np.float64).eps) / 2, rel=1e-12)


def test_only_observed_rows_count() -> None:
    given_labels = labels(3).assign(click=[1, None, 0], spend=[np.nan, 2.0, 2.0])
    row = [1 / 3, 1 / 3, 1 / 3]
    truth = table([0.5, *row, 1.0], [0.5, *row, 1.0], [0.5, *row, 1.0])
    predictions = table([0.5, *row, 1.0], [0.9, *row, 1.0], [0.5, *row, 3.0])
    got = regret(SCHEMA, given_labels, truth, predictions)
    assert got["click"] == 0  # the row that is off has no label
    assert np.isnan(got["spend"])  # both labels are 2
    nothing = regret(SCHEMA, given_labels.assign(click=None), truth, predictions)
    assert np.isnan(nothing["click"]) and nothing["stars"] == 0


def test_rows_must_be_the_same() -> None:
    good = table(*[[0.5, 0.25, 0.25, 0.5, 1.0]] * 3)
    other = good.set_axis([0, 2, 1])
    for truth, predictions, parts in (
        (good[:2], good, ["truth", "2 rows"]),
        (good, good[:2], ["2 rows"]),
        (other, good, ["truth", "same index", "row 1"]),
        (good, other, ["same index", "row 1"]),
        (good.drop(columns="stars_1"), good, ["truth", "'stars_1'"]),
        (good, good.drop(columns="spend"), ["'spend'"]),
        (good.assign(click=1.5), good, ["truth", "'click'", "1.5"]),
        (good.assign(spend=np.nan), good, ["truth", "'spend'", "nan"]),
    ):
        with pytest.raises(InputError) as caught:
            regret(SCHEMA, labels(3), truth, predictions)
        for part in parts:
            assert part in str(caught.value)
