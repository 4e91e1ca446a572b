"""Metrics of weighted rows, against the exact metrics of the rows repeated so often."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from htlnet_tf.judging import exact_metrics
from htlnet_tf.judging.quantile_metrics import pinball
from htlnet_tf.judging.ranking_metrics import order_metrics
from htlnet_tf.judging.resampled_metrics import Judged, metrics_of
from htlnet_tf.judging.resampling import Weights, clusters, resampled, whole

USERS, ROWS_OF_A_USER = 20, 10  # of ten rows each, so that ten parts of equal weight are whole rows


def rows(kind: str, seed: int, *, ties: bool) -> Judged:
    random = np.random.default_rng(seed)
    count = USERS * ROWS_OF_A_USER
    users = np.arange(count) % USERS
    scores = random.random(count)
    if ties:
        scores = np.round(scores, 1)
    if kind == "binary":
        labels, predictions = random.binomial(1, 0.4, count).astype(float), random.random((count, 1))
    elif kind == "multiclass":
        labels, predictions = random.integers(0, 3, count).astype(float), random.dirichlet([1, 1, 1], count)
    else:
        labels, predictions = (
            random.exponential(3, count) * random.binomial(1, 0.5, count),
            random.gamma(2, 2, (count, 1)),
        )
    if ties and kind != "multiclass":
        predictions = np.round(predictions, 1)
    quantiles = {0.1: predictions[:, 0] / 2, 0.9: predictions[:, 0] * 2} if kind == "continuous" else {}
    return Judged(labels, predictions, scores, users, users, 3, quantiles)


def repeated(judged: Judged, counts: np.ndarray) -> Judged:
    """Each user as often as it is counted, every time as another user."""
    parts, names = [], []
    for user, count in enumerate(counts.astype(int)):
        for copy in range(count):
            found = np.flatnonzero(judged.users == user)
            parts.append(found)
            names.append(np.full(len(found), user + USERS * copy))
    at = np.concatenate(parts)
    users = np.concatenate(names)
    quantiles = {q: values[at] for q, values in judged.quantiles.items()}
    return Judged(judged.labels[at], judged.predictions[at], judged.scores[at], users, users, judged.k, quantiles)


def exact(kind: str, judged: Judged) -> dict[str, object]:
    found = dict(exact_metrics.metrics_of(kind, judged.labels, judged.predictions, judged.users))
    if kind != "multiclass":
        found |= order_metrics(kind, judged.labels, judged.scores, judged.users, judged.k)[0]
    if kind == "binary":
        found["level"] = judged.predictions.mean() / judged.labels.mean()
    if judged.quantiles:
        losses = [pinball(judged.labels, values, q).mean() for q, values in judged.quantiles.items()]
        found["pinball"] = np.mean(losses)
    return found


NUMBER = {"binary": 6, "multiclass": 3, "continuous": 11}


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("kind", list(NUMBER))
@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 1000),
    counts=st.lists(st.integers(0, 3), min_size=USERS, max_size=USERS).filter(lambda c: sum(c) > 3),
)
def test_weights_are_repeated_rows(kind: str, ties: bool, seed: int, counts: list[int]) -> None:
    judged = rows(kind, seed, ties=ties)
    weights = np.stack([np.ones(USERS), np.array(counts, float)])
    found = metrics_of(kind, judged, ranked=kind != "multiclass")(Weights(weights, judged.clusters))
    assert len(found) == NUMBER[kind]
    for number, of in enumerate((judged, repeated(judged, weights[1]))):
        expected = exact(kind, of)
        for metric, values in found.items():
            wanted = expected[metric]
            if isinstance(wanted, str):
                continue
            assert values[number] == pytest.approx(wanted, rel=1e-9, abs=1e-12), metric


def test_rows_without_a_user_are_drawn_by_themselves() -> None:
    assert clusters(None, 3).tolist() == [0, 1, 2]
    assert clusters(np.array([4, -1, 4, -1, 2]), 5).tolist() == [1, 2, 1, 3, 0]
    assert clusters(np.array([-1, -1]), 2).tolist() == [0, 1]


def test_resamples_are_the_same_again_whatever_the_block() -> None:
    codes = np.repeat(np.arange(50), 4)
    drawn = np.concatenate([weights.counts for weights in resampled(codes, 30, seed=1)])
    again = np.concatenate([weights.counts for weights in resampled(codes, 30, seed=1)])
    np.testing.assert_array_equal(drawn, again)
    assert drawn.shape == (30, 50)
    assert drawn.mean() == pytest.approx(1.0, abs=0.1)
    assert whole(codes).rows.tolist() == [[1.0] * 200]
    some = Weights(drawn, codes).of(codes < 10)
    np.testing.assert_array_equal(some.rows, np.repeat(drawn[:, :10], 4, axis=1))
    columns = np.arange(80.0).reshape(40, 2)
    np.testing.assert_allclose(some.sums(columns), some.rows @ columns)
