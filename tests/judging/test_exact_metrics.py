"""Every expected value comes from counting pairs one by one, from a definition written out, or is counted by hand."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from htlnet_tf.errors import InputError
from htlnet_tf.judging.exact_metrics import group_auc, normalized_gini, xauc

few = settings(max_examples=60)
amounts = st.lists(st.integers(0, 1000).map(lambda v: v / 8), min_size=2, max_size=40)


@pytest.fixture(autouse=True)
def _warnings_are_errors() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield


def brute_force_gini(y: np.ndarray, p: np.ndarray) -> float:
    """Area between the concentration curve and the diagonal, averaged over every order that sorts by `p`."""
    areas = []
    for order in itertools.permutations(range(len(y))):
        if all(p[a] >= p[b] for a, b in itertools.pairwise(order)):
            shares = np.cumsum(y[list(order)]) / y.sum()
            areas.append(shares.sum() / len(y) - (len(y) + 1) / (2 * len(y)))
    return float(np.mean(areas))


def brute_force_xauc(y: np.ndarray, p: np.ndarray) -> float:
    """All pairs, one by one."""
    scores = [
        0.5 if p[a] == p[b] else float((p[a] < p[b]) == (y[a] < y[b]))
        for a, b in itertools.combinations(range(len(y)), 2)
        if y[a] != y[b]
    ]
    return float(np.mean(scores)) if scores else float("nan")


def brute_force_group_auc(y: np.ndarray, p: np.ndarray, users: list[Any]) -> float:
    """User by user, pair by pair."""
    total, weight = 0.0, 0
    for user in set(users) - {None}:
        rows = [i for i, u in enumerate(users) if u == user]
        pairs = [(p[a], p[b]) for a in rows for b in rows if y[a] == 1 and y[b] == 0]
        if pairs:
            total += len(rows) * float(np.mean([0.5 if a == b else float(a > b) for a, b in pairs]))
            weight += len(rows)
    return total / weight if weight else float("nan")


class TestGini:
    @given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=2, max_size=6))
    @few
    def test_equals_the_definition(self, rows: list[tuple[int, int]]) -> None:
        y, p = np.array(rows, np.float64).T
        assume(np.ptp(y) > 0)
        assert normalized_gini(y, p) == pytest.approx(brute_force_gini(y, p) / brute_force_gini(y, y), abs=1e-12)

    @given(amounts)
    @few
    def test_of_a_perfect_a_reversed_and_no_order(self, y: list[float]) -> None:
        assume(np.ptp(y) > 0)
        values = np.array(y)
        assert normalized_gini(values, values**3) == pytest.approx(1, abs=1e-12)
        assert normalized_gini(values, -values) == pytest.approx(-1, abs=1e-12)
        assert normalized_gini(values, np.zeros(len(y))) == pytest.approx(0, abs=1e-12)


class TestXauc:
    def test_by_hand(self) -> None:
        # The pair of labels 1 and 1 does not count; 3 > 1 and 3 > 2 are wrong, 1 = 1 half, 1 < 2 twice right: 2.5 of 5.
        assert xauc([1, 1, 2, 4], [3, 1, 1, 2]) == 2.5 / 5

    @given(
        st.lists(st.tuples(st.integers(0, 6), st.integers(-3, 3) | st.floats(-1e300, 1e300)), min_size=1, max_size=40)
    )
    @few
    def test_equals_counting_pairs(self, rows: list[tuple[int, float]]) -> None:
        y, p = np.array(rows, np.float64).T
        assert xauc(y, p) == pytest.approx(brute_force_xauc(y, p), rel=1e-12, nan_ok=True)

    @pytest.mark.parametrize("seed", range(3))
    def test_equals_counting_pairs_of_many_rows(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        y = np.where(random.random(1500) < 0.4, 0, random.exponential(9.0, 1500))
        p = np.round(0.3 * y + random.normal(size=1500), seed)
        less, more = y[:, None] < y[None, :], p[:, None] - p[None, :]
        expected = ((more[less] < 0).sum() + 0.5 * (more[less] == 0).sum()) / less.sum()
        assert xauc(y, p) == pytest.approx(expected, rel=1e-14)

    @given(amounts)
    @few
    def test_of_a_perfect_a_reversed_and_no_order(self, y: list[float]) -> None:
        assume(np.ptp(y) > 0)
        values = np.array(y)
        assert xauc(values, values**3) == 1
        assert xauc(values, -values) == 0
        assert xauc(values, np.zeros(len(y))) == 0.5

    def test_one_row_or_equal_labels_have_no_pair(self) -> None:
        assert np.isnan(xauc([3.0], [1.0]))
        assert np.isnan(xauc([3.0, 3.0], [1.0, 2.0]))

    def test_a_single_wrong_pair_among_many_is_seen(self) -> None:
        # 200,000 rows in order but for the first two: their pair alone is wrong.
        n = 200_000
        y = np.arange(n, dtype=np.float64)
        p = y.copy()
        p[:2] = [1, 0]
        assert round((1 - xauc(y, p)) * (n * (n - 1) // 2), 3) == 1.0


users = st.sampled_from(["a", "b", "c", "d", None])


class TestGroupAuc:
    @given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 4), users), min_size=1, max_size=40))
    @few
    def test_equals_counting_pairs_user_by_user(self, rows: list[tuple[int, int, Any]]) -> None:
        y, p = np.array([r[0] for r in rows]), np.array([r[1] for r in rows]) / 4
        of = [r[2] for r in rows]
        expected = brute_force_group_auc(y, p, of)
        assert group_auc(y, p, of) == pytest.approx(expected, rel=1e-12, nan_ok=True)
        # What an order within each user is worth does not change if the users' levels do.
        levels = np.array([0 if user is None else 7.0 * ord(user) for user in of])
        assert group_auc(y, p + levels, of) == pytest.approx(expected, rel=1e-12, nan_ok=True)

    def test_many_users_and_rows(self) -> None:
        random = np.random.default_rng(0)
        n = 3000
        y, p, of = random.integers(0, 2, n), np.round(random.random(n), 1), random.integers(-40, 40, n)
        assert group_auc(y, p, of) == pytest.approx(brute_force_group_auc(y, p, of.tolist()), rel=1e-12)

    def test_users_of_any_kind(self) -> None:
        y, p = [0, 1, 1, 0], [0.1, 0.2, 0.3, 0.4]
        for of in (["x", "x", "y", "y"], [1, 1, 2, 2], [(1, 2), (1, 2), (3,), (3,)], np.array([1.0, 1.0, 2.0, 2.0])):
            assert group_auc(y, p, of) == 0.5  # x is in order, y reversed
        with pytest.raises(InputError, match="users must be text or whole numbers"):
            group_auc(y, p, [[1], [1], [2], [2]])
