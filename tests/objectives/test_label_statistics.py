"""The training rows' labels as counted, and their division into parts."""

from __future__ import annotations

import numpy as np
import pytest

from htlnet_tf.encoding.label_counting import LabelCounter
from htlnet_tf.objectives.label_statistics import GRID, LabelStatistics


def _counted(*chunks: np.ndarray) -> LabelStatistics:
    counter = LabelCounter()
    for chunk in chunks:
        counter.update(np.asarray(chunk, np.float64))
    return counter.statistics()


def _true(labels: np.ndarray, bounds: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and share of the labels between the bounds, by counting."""
    part = np.searchsorted(bounds, labels, side="left")
    parts = [labels[part == m] for m in range(len(bounds) + 1)]
    return [float(p.mean()) for p in parts], [len(p) / len(labels) for p in parts]


def test_moments_are_those_of_the_labels() -> None:
    labels = np.array([0.0, 0.0, 1.0, 2.0, 5.0, 4.0])
    found = _counted(labels[:2], labels[2:])
    logs = np.log(labels[labels > 0])
    assert found.mean == pytest.approx(labels.mean()) and found.std == pytest.approx(labels.std())
    assert found.positive_share == pytest.approx(4 / 6)
    assert found.log_mean == pytest.approx(logs.mean()) and found.log_std == pytest.approx(logs.std())
    inside = found.in_units(0.0, 3.0)
    assert inside.mean == pytest.approx((labels / 3).mean())
    assert inside.log_mean == pytest.approx(logs.mean() - np.log(3))


@pytest.mark.parametrize(
    "labels",
    [
        np.random.default_rng(0).lognormal(0, 1, 20_000),
        np.where(np.random.default_rng(1).random(20_000) < 0.1, np.random.default_rng(2).lognormal(0, 1, 20_000), 0.0),
        np.random.default_rng(3).poisson(3.0, 5_000),
        np.eye(1, 10_000)[0] * 40.0,
        np.arange(10.0),
        np.array([1.0, 1.0, 1.0, 2.0]),
    ],
    ids=["no ties", "many zeros", "few values", "one positive", "few rows", "four rows"],
)
@pytest.mark.parametrize("number", [2, 10, 32])
def test_parts_are_exact_and_keep_equal_labels_together(labels: np.ndarray, number: int) -> None:
    labels = labels.astype(np.float32).astype(np.float64)
    bounds, means, shares = _counted(labels).in_units(0.0, 2.0).parts(number)
    assert (np.diff(bounds) > 0).all() and 1 <= len(bounds) <= number - 1
    true_means, true_shares = _true(labels / 2.0, bounds)
    np.testing.assert_allclose(means, true_means, rtol=1e-9)
    np.testing.assert_allclose(shares, true_shares, rtol=1e-9)


def test_parts_have_about_equally_many_labels() -> None:
    _, _, shares = _counted(np.random.default_rng(0).lognormal(0, 1, 20_000)).parts(32)
    assert len(shares) == 32 and abs(shares * 32 - 1).max() < 0.05
    # 90 % zeros take one part, and the others share the rest.
    zeros = np.random.default_rng(0).random(20_000) < 0.9
    _, _, shares = _counted(np.where(zeros, 0.0, np.random.default_rng(1).lognormal(0, 1, 20_000))).parts(11)
    assert len(shares) == 11 and abs(shares[1:] / shares[1:].mean() - 1).max() < 0.4


def test_labels_that_do_not_vary_have_no_parts() -> None:
    for labels in (np.full(1000, 3.0), np.zeros(1), np.zeros(0)):
        bounds, means, shares = _counted(labels).parts(32)
        assert len(bounds) == 0 and means.tolist() == [labels.mean() if len(labels) else 0.0] and shares.tolist() == [1]


def test_quantiles_are_labels() -> None:
    labels = np.random.default_rng(0).permutation(np.arange(GRID * 3, dtype=np.float64))
    # By hand: the last label of each part of three.
    assert _counted(labels).quantiles == tuple(float(3 * k - 1) for k in range(1, GRID))
    assert _counted(np.array([2.0, 1.0, 3.0])).quantiles == (1.0, 2.0)
