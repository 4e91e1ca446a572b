"""Expected values by hand, or from loops over users and over all orders of tied rows in NumPy float64."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import htlnet_tf as htl
from htlnet_tf.errors import InputError
from htlnet_tf.judging.evaluation import evaluate_predictions
from htlnet_tf.judging.ranking_metrics import captured, lift, members_of, ndcg
from htlnet_tf.judging.reports import Report

TARGETS = (htl.Binary("click"), htl.Continuous("spend"))
SCHEMA = htl.Schema(features=(htl.Categorical("user_id"),), targets=TARGETS, user="user_id")


def arrays(labels: Any, scores: Any, users: Any) -> tuple[Any, Any, Any]:
    return np.array(labels, np.float64), np.array(scores, np.float64), np.array(users, np.int64)


def test_ndcg_by_hand() -> None:
    rows = arrays([3, 0, 1, 5, 0, 0, 2, 7], [1, 3, 2, 1, 2, 1, 9, 4], [0, 0, 0, 1, 2, 2, -1, 1])
    # User 0 is shown 0, 1, 3; user 1 is shown 7, 5, as it should be; user 2 has nothing, and one row is nobody's.
    shown, best = 1 / np.log2(3) + 3 / np.log2(4), 3 / np.log2(2) + 1 / np.log2(3)
    found = ndcg(*rows, k=10)
    assert found.value == pytest.approx((shown / best + 1) / 2, rel=1e-12)
    assert (found.users, found.left_out) == (2, 1)
    # Of the first row alone user 0 has nothing, user 1 all.
    assert ndcg(*rows, k=1).value == pytest.approx((0 + 1) / 2)


def test_users_are_numbered_without_gaps() -> None:
    members = members_of(np.array([7, -1, 3, 7, -1, 9]))
    assert (members.rows.tolist(), members.users.tolist()) == ([0, 2, 3, 5], [1, 0, 1, 2])


def test_captured_by_hand() -> None:
    rows = arrays([3, 0, 1, 5, 0, 0], [1, 3, 2, 1, 2, 1], [0, 0, 0, 1, 2, 2])
    found = captured(*rows, k=2)
    assert found.overall == pytest.approx((1 + 5) / 9)
    assert found.by_user == pytest.approx((1 / 4 + 1) / 2)


def test_lift_by_hand() -> None:
    labels = np.arange(20, dtype=np.float64)  # 190 in all
    assert lift(labels, labels) == pytest.approx((19 + 18) / 190 / 0.1)
    assert lift(labels, -labels) == pytest.approx((0 + 1) / 190 / 0.1)
    assert lift(labels, np.zeros(20)) == pytest.approx(1.0)  # all orders, on average
    assert lift(np.arange(15.0), np.arange(15.0)) == pytest.approx((14 + 13 / 2) / 105 / 0.1)  # one row and a half
    assert np.isnan(lift(np.zeros(4), labels[:4]))


def by_orders(metric: Any, labels: np.ndarray, scores: np.ndarray) -> float:
    """The mean over all orders of the rows that the scores allow."""
    values = []
    for order in itertools.permutations(range(len(labels))):
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order)):
            values.append(metric(labels[list(order)]))
    return float(np.mean(values))


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), min_size=2, max_size=6), st.integers(1, 4))
def test_ties_count_as_the_mean_over_their_orders(rows: list[tuple[int, int]], k: int) -> None:
    labels, scores, users = arrays([r[0] for r in rows], [r[1] for r in rows], [0] * len(rows))
    discounts = 1 / np.log2(np.arange(len(rows)) + 2) * (np.arange(len(rows)) < k)
    best = np.sort(labels)[::-1] @ discounts
    if best > 0:
        expected = by_orders(lambda y: y @ discounts / best, labels, scores)
        assert ndcg(labels, scores, users, k).value == pytest.approx(expected, rel=1e-9)
        share = by_orders(lambda y: y[:k].sum() / y.sum(), labels, scores)
        assert captured(labels, scores, users, k).overall == pytest.approx(share, rel=1e-9)
    else:
        assert np.isnan(ndcg(labels, scores, users, k).value)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_users_are_judged_apart(seed: int, k: int) -> None:
    random = np.random.default_rng(seed)
    labels, scores, users = arrays(
        random.integers(0, 3, 40), random.integers(0, 6, 40), random.choice([-1, 3, 7, 8, 20], 40)
    )
    order = random.permutation(40)
    found, totals, own = [], [], []
    for user in set(users.tolist()) - {-1}:
        of = users == user
        alone = ndcg(labels[of], scores[of], users[of], k)
        found += [alone.value] if alone.users else []
        part = captured(labels[of], scores[of], users[of], k)
        if labels[of].sum():
            own.append(part.overall)
            totals.append((part.overall * labels[of].sum(), labels[of].sum()))
    whole = ndcg(labels[order], scores[order], users[order], k)
    assert whole.users == len(found)
    if found:
        assert whole.value == pytest.approx(np.mean(found), rel=1e-12)
        both = captured(labels[order], scores[order], users[order], k)
        assert both.by_user == pytest.approx(np.mean(own), rel=1e-12)
        assert both.overall == pytest.approx(sum(t[0] for t in totals) / sum(t[1] for t in totals), rel=1e-12)


class TestReport:
    LABELS = pd.DataFrame({"click": [0, 1, 0, 1], "spend": [0.0, 4.0, 0.0, 2.0]})
    PREDICTIONS = pd.DataFrame({"click": [0.9, 0.5, 0.2, 0.4], "spend": [1.0, 2.0, 4.0, 1.0]})
    USERS = ("a", "a", "b", "b")

    def report(self, schema: htl.Schema = SCHEMA, users: Any = USERS, **arguments: Any) -> Report:
        return evaluate_predictions(schema, self.LABELS, self.PREDICTIONS, users, **arguments)

    def test_by_the_core_without_a_ranking(self) -> None:
        r = self.report()
        # By spend, user a is shown 4, 0, as it should be; user b is shown 0, 2.
        assert r.value("spend", "ndcg") == pytest.approx((1 + 1 / np.log2(3)) / 2)
        assert r.value("click", "ndcg") == pytest.approx((1 + 1 / np.log2(3)) / 2)
        assert (r.value("spend", "captured"), r.value("spend", "captured_by_user")) == (1, 1)
        # The best 0.4 rows are row 2, which has nothing.
        assert r.value("spend", "lift") == 0
        assert r.order is not None
        assert (r.order.by, r.order.k) == ("spend", 10)
        assert r.order.users == {"click": 2, "spend": 2} and r.order.left_out == {"click": 0, "spend": 0}
        assert "order by spend; NDCG and captured: the first 10 rows of each user" in r.to_text()
        assert Report.from_dict(r.to_dict(), SCHEMA) == r
        assert Report.from_dict({**r.to_dict(), "order": None}, SCHEMA).order is None

    def test_k(self) -> None:
        r = self.report(k=1)
        assert r.value("spend", "captured") == pytest.approx(4 / 6)
        assert r.value("spend", "captured_by_user") == pytest.approx((1 + 0) / 2)
        assert r.order is not None and r.order.k == 1
        for k in (0, -1):
            with pytest.raises(InputError, match="k, how many rows of a user's list are looked at"):
                self.report(k=k)

    def test_by_the_score_of_a_ranking(self) -> None:
        schema = htl.Schema(
            features=SCHEMA.features, targets=TARGETS, user="user_id", ranking=htl.Ranking({"click": 1})
        )
        r = self.report(schema)
        assert r.order is not None and r.order.by == "score"
        # By click, user a is shown 0, 4, and user b 2, 0.
        assert r.value("spend", "ndcg") == pytest.approx((1 / np.log2(3) + 1) / 2)
        given_scores = self.PREDICTIONS.assign(score=[1.0, 2.0, 1.0, 2.0])
        assert evaluate_predictions(schema, self.LABELS, given_scores, self.USERS).value("spend", "ndcg") == 1
        with pytest.raises(InputError, match=r"'score'.* predictions must be finite numbers"):
            evaluate_predictions(schema, self.LABELS, given_scores.assign(score=[1, np.inf, 0, 0]), self.USERS)

    def test_without_users_there_is_the_lift_alone(self) -> None:
        schema = htl.Schema(features=SCHEMA.features, targets=TARGETS)
        r = self.report(schema, None)
        metrics = {row.metric for row in r.rows}
        assert "lift" in metrics and not metrics & {"ndcg", "captured", "captured_by_user"}
        assert r.order is not None and r.order.to_text() == "order by spend"

    def test_what_is_undefined_says_why(self) -> None:
        r = self.report(users=None)
        undefined = r.to_dict()["undefined"]
        assert undefined["spend"]["ndcg"] == undefined["spend"]["captured"] == "no row has a user"
        amount = htl.Continuous("spend", non_negative=False)
        schema = htl.Schema(features=SCHEMA.features, targets=(TARGETS[0], amount), user="user_id")
        labels = self.LABELS.assign(spend=[-1.0, 2.0, 3.0, 4.0])
        r = evaluate_predictions(schema, labels, self.PREDICTIONS, self.USERS)
        assert all("negative" in r.to_dict()["undefined"]["spend"][m] for m in ("ndcg", "captured", "lift"))
        assert r.value("click", "ndcg") > 0
        r = evaluate_predictions(SCHEMA, self.LABELS.assign(spend=0.0), self.PREDICTIONS, self.USERS)
        assert r.to_dict()["undefined"]["spend"]["lift"] == "all labels are 0"
        assert r.to_dict()["undefined"]["spend"]["ndcg"] == "no user has two rows and a label above 0"
        nobody = evaluate_predictions(SCHEMA, self.LABELS.assign(spend=np.nan), self.PREDICTIONS, self.USERS)
        assert nobody.to_dict()["undefined"]["spend"]["captured"] == "no row has an observed label"
