"""The score in the graph is the product of powers, computed in NumPy's float64, also at float32's ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import htlnet_tf as htl
from htlnet_tf.scoring.power_product import LARGEST, SMALLEST, power_product, score_scale
from htlnet_tf.scoring.ranking import ranking_score

TARGETS = (htl.Binary("click"), htl.Multiclass("stars", num_classes=3), htl.Continuous("spend"))


def score(weights: dict[str, float], floor: dict[str, float] | None = None, **predictions: Any) -> np.ndarray:
    ranking = htl.Ranking(weights, floor or {})
    schema = htl.Schema(features=(htl.Categorical("user_id"),), targets=TARGETS, ranking=ranking)
    tensors = {name: tf.constant(values, tf.float32) for name, values in predictions.items()}
    result = ranking_score(schema, ranking, tensors)
    assert result.dtype == tf.float32
    return np.asarray(result.numpy())


def test_by_hand() -> None:
    got = score(
        {"click": 0.5, "stars_2": 1.0, "spend": 2.0},
        {"spend": 3.0},
        click=[0.25, 1.0],
        stars=[[0.1, 0.1, 0.8], [0.5, 0.25, 0.25]],
        spend=[5.0, 1.0],
    )
    np.testing.assert_allclose(got, [0.5 * 0.8 * 25, 1 * 0.25 * 9], rtol=1e-6)
    # A weight of 0 leaves out even a prediction of 0; one below 0 prefers small predictions.
    np.testing.assert_allclose(score({"click": 0, "spend": 1}, click=[0.0], spend=[7.0]), [7.0], rtol=1e-6)
    np.testing.assert_allclose(score({"spend": -2}, {"spend": 0.5}, spend=[4.0, 0.0]), [1 / 16, 4.0], rtol=1e-6)


def test_extremes_are_exact_or_bounded() -> None:
    weights = {"click": 5.0, "spend": 5.0}
    # 1e-30 ** 5 is no float32, and nor is 1e30 ** 5; their product is 1.
    np.testing.assert_allclose(score(weights, click=[1e-30], spend=[1e30]), [1.0], rtol=1e-5)
    assert score(weights, click=[1.0], spend=[1e30]) == np.float32(LARGEST)
    assert score(weights, click=[1e-30], spend=[1.0]) == 0
    assert score(weights, click=[0.0], spend=[1e30]) == 0
    assert score({"spend": -1000}, {"spend": 1e-30}, spend=[0.0]) == np.float32(LARGEST)
    assert score({"click": 0.001}, click=[0.0]) == 0
    assert np.isnan(score(weights, {"spend": 1.0}, click=[0.5], spend=[np.nan]))
    assert np.isnan(score(weights, click=[np.nan], spend=[0.5]))


amounts = st.floats(0.0, float(np.float32(3e38)), width=32)


@settings(max_examples=200)
@given(
    st.floats(0.0, 1.0, width=32),
    amounts,
    st.floats(-5, 5, width=32),
    st.floats(-5, 5, width=32),
    st.floats(1e-6, 1e6),
)
def test_graph_and_numpy_agree(click: float, spend: float, of_click: float, of_spend: float, floor: float) -> None:
    if not (of_click or of_spend):
        of_click = 1.0
    ranking = htl.Ranking({"click": of_click, "spend": of_spend}, {"click": floor, "spend": floor})
    got = score(dict(ranking.weights), dict(ranking.floor), click=[click], spend=[spend])
    expected = power_product(ranking, {"click": [click], "spend": [spend]})
    assert np.isfinite(got).all() and (got >= 0).all() and (got <= np.float32(LARGEST)).all()
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=SMALLEST)
    # In float64 without logarithms, where it can be held.
    with np.errstate(over="ignore", under="ignore"):
        product = np.float64(max(click, floor)) ** of_click * np.float64(max(spend, floor)) ** of_spend
    if SMALLEST < product < LARGEST:
        np.testing.assert_allclose(expected, product, rtol=1e-10)


@settings(max_examples=100)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1e6)), min_size=2, max_size=8), st.floats(0.01, 100))
def test_only_ratios_of_weights_count_for_the_order(rows: list[tuple[float, float]], factor: float) -> None:
    from htlnet_tf.scoring.power_product import log_scores

    predictions = {name: [row[i] for row in rows] for i, name in enumerate(("click", "spend"))}
    weights, floor = {"click": 0.5, "spend": 0.25}, {"click": 1e-6, "spend": 1e-6}
    one = log_scores(htl.Ranking(weights, floor), predictions)
    other = log_scores(htl.Ranking({name: factor * w for name, w in weights.items()}, floor), predictions)
    np.testing.assert_allclose(other, factor * one, rtol=1e-9, atol=1e-9)


def test_a_difference_is_relative_but_for_what_predictions_leave_open() -> None:
    ranking = htl.Ranking({"click": 0.5})
    scales = score_scale(ranking, {"click": [0.25, 0.0]}, {"click": 1.0}, 1e-5)
    # By hand: sqrt(0.25 + 1e-5) - 0.5 is 1e-5, the size 1 of its prediction; sqrt(1e-5) is 316 times 1e-5.
    np.testing.assert_allclose(scales, [1.0, np.sqrt(1e-5) / 1e-5], rtol=1e-4)
    amount = htl.Ranking({"spend": 1.0})
    np.testing.assert_allclose(score_scale(amount, {"spend": [50.0, 2.0]}, {"spend": 10.0}, 1e-5), [50, 10], rtol=1e-4)
    assert (score_scale(amount, {"spend": [0.0]}, {"spend": 1e-30}, 1e-5) > 0).all()


@pytest.mark.parametrize("weights", [{"click": 1.0}, {"spend": 1.0}])
def test_an_empty_batch_has_no_scores(weights: dict[str, float]) -> None:
    assert score(weights, click=np.zeros(0), spend=np.zeros(0)).shape == (0,)
