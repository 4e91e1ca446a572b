"""The search keeps its bound, finds what is plainly best, and is the same each time; shares are those by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf.errors import InputError
from htlnet_tf.judging.evaluation import Scored
from htlnet_tf.judging.ranking_search import ListJudge, _divisions, _simplex, search_ranking
from htlnet_tf.scoring.power_product import log_scores

SCHEMA = htl.Schema(
    features=(htl.Categorical("user_id"),),
    targets=(htl.Binary("click"), htl.Multiclass("stars", num_classes=2), htl.Binary("buy"), htl.Continuous("spend")),
    user="user_id",
)


def scored(users: int = 40, rows: int = 25, seed: int = 0) -> Scored:
    """Who clicks and who spends are hardly the same rows; predictions are the truth but for some noise."""
    random = np.random.default_rng(seed)
    count = users * rows
    click, buy = random.beta(1, 3, count), random.beta(1, 6, count)
    spend = buy * random.lognormal(2, 1, count)
    stars = np.full(count, 0.5)
    labels = pd.DataFrame(
        {
            "click": (random.random(count) < click).astype(int),
            "stars": 0,
            "buy": (random.random(count) < buy).astype(int),
            "spend": spend * random.lognormal(0, 0.5, count),
        }
    )
    predictions = pd.DataFrame({"click": click, "stars_0": stars, "stars_1": stars, "buy": buy, "spend": spend})
    return Scored(labels, predictions, pd.Series(np.repeat(np.arange(users), rows)))


@pytest.mark.parametrize("bound", [0.0, 0.02, 0.2, 1.0])
def test_the_most_of_the_core_within_the_bound(bound: float) -> None:
    rows = scored()
    found = search_ranking(SCHEMA, rows, k=5, max_lost_clicks=bound)
    tried = found.tried
    within = tried[tried["clicks"] >= found.by_click.clicks * (1 - bound) - 1e-9]
    assert found.lost(found.chosen) <= bound + 1e-9
    assert found.chosen.core == pytest.approx(within["core"].max())
    assert tried["is_feasible"].sum() == len(within)
    (chosen,) = tried[tried["is_chosen"]].to_dict("records")
    assert chosen["on_front"]
    assert {n: chosen[f"weight_{n}"] for n in found.ranking.weights} == dict(found.ranking.weights)
    # The outcome is that of the proposal as it is declared.
    declared = ListJudge(SCHEMA, rows, 5)(log_scores(found.ranking, rows.predictions))
    assert declared == found.chosen
    assert max(found.ranking.weights.values()) == 1 and "stars_1" not in found.ranking.weights


def test_more_clicks_may_be_lost_for_more_of_the_core() -> None:
    cores = [search_ranking(SCHEMA, scored(), k=5, max_lost_clicks=b).chosen.core for b in (0.0, 0.05, 0.3, 1.0)]
    assert cores == sorted(cores) and cores[-1] > cores[0] + 0.1


def test_nothing_on_the_front_is_beaten() -> None:
    tried = search_ranking(SCHEMA, scored(), k=5).tried
    values = tried[["clicks", "core"]].to_numpy()
    for row, on_front in zip(values, tried["on_front"], strict=True):
        beaten = ((values >= row - 1e-12).all(axis=1) & (values > row + 1e-9).any(axis=1)).any()
        assert not (on_front and beaten)


def test_it_is_the_same_each_time() -> None:
    first, second = (search_ranking(SCHEMA, scored(), k=5) for _ in range(2))
    pd.testing.assert_frame_equal(first.tried, second.tried)
    assert first.ranking == second.ranking


def test_shares_by_hand() -> None:
    schema = htl.Schema(features=SCHEMA.features, targets=(SCHEMA.targets[0], SCHEMA.core), user="user_id")
    labels = pd.DataFrame({"click": [1, 0, 0, 1], "spend": [0.0, 5.0, 3.0, np.nan]})
    predictions = pd.DataFrame({"click": [0.9, 0.1, 0.2, 0.5], "spend": [1.0, 8.0, 5.0, 1.0]})
    rows = Scored(labels, predictions, pd.Series(["a", "a", "a", "b"]))
    found = search_ranking(schema, rows, k=1, max_lost_clicks=1.0)
    # By click alone user a is shown the first row; user b has but one row, without a label of the core.
    assert found.by_click[:2] == (1.0, 0.0)
    assert found.chosen[:2] == pytest.approx((0.5, 5 / 8))
    assert (found.rows, found.users, found.long_lists) == (4, 2, 1)


def test_targets_may_be_called_as_the_columns_beside_their_weights() -> None:
    names = {"click": "clicks", "stars": "ndcg", "buy": "is_feasible", "spend": "core"}
    schema = SCHEMA.with_targets([dataclasses.replace(target, name=names[target.name]) for target in SCHEMA.targets])
    plain = search_ranking(SCHEMA, scored(), k=5)
    rows = scored()
    called = names | {"stars_0": "ndcg_0", "stars_1": "ndcg_1"}
    renamed = Scored(rows.labels.rename(columns=called), rows.predictions.rename(columns=called), rows.users)
    found = search_ranking(schema, renamed, k=5)
    columns = {f"weight_{name}": f"weight_{names[name]}" for name in ("click", "buy", "spend")}
    pd.testing.assert_frame_equal(found.tried, plain.tried.rename(columns=columns))
    assert found.tried.columns.is_unique


def test_without_a_click_by_click_none_can_be_lost() -> None:
    schema = htl.Schema(features=SCHEMA.features, targets=(SCHEMA.targets[0], SCHEMA.core), user="user_id")
    labels = pd.DataFrame({"click": [0, 1], "spend": [1.0, 0.0]})
    predictions = pd.DataFrame({"click": [0.9, 0.1], "spend": [1.0, 2.0]})
    with pytest.raises(InputError, match="by 'click' alone has no click among the first k = 1 rows"):
        search_ranking(schema, Scored(labels, predictions, pd.Series(["a", "a"])), k=1)


def test_the_order_by_click_alone_knows_no_floor() -> None:
    # With the floor all clicks would be tied.
    floored = dataclasses.replace(SCHEMA, ranking=htl.Ranking({"click": 1, "spend": 1}, {"click": 1.0}))
    found, plain = (search_ranking(schema, scored(), k=5, max_lost_clicks=0.0) for schema in (floored, SCHEMA))
    assert found.by_click == plain.by_click
    assert found.ranking == htl.Ranking({"click": 1.0})
    assert ListJudge(floored, scored(), 5)(log_scores(found.ranking, scored().predictions)) == found.chosen


def test_the_grid_is_a_simplex() -> None:
    assert list(_simplex(2, 2)) == [(0.0, 1.0), (0.5, 0.5), (1.0, 0.0)]
    for count in range(2, 12):
        points = list(_simplex(count, _divisions(count)))
        assert len(points) == len(set(points)) <= 250
        np.testing.assert_allclose(np.sum(points, axis=1), 1)


def test_floors_are_the_declared_ones_or_what_a_negative_core_needs() -> None:
    declared = dataclasses.replace(SCHEMA, ranking=htl.Ranking({"spend": 1, "stars_1": 1}, {"spend": 2.0}))
    found = search_ranking(declared, scored(), k=5, max_lost_clicks=1.0)
    assert found.ranking.floor == {"spend": 2.0}
    assert found.declared is not None and 0 < found.declared.core <= 1
    core = dataclasses.replace(SCHEMA.core, non_negative=False)
    negative = SCHEMA.with_targets((*SCHEMA.targets[:-1], core))
    rows = scored()
    found = search_ranking(negative, rows, k=5, max_lost_clicks=1.0)
    assert found.ranking.floor["spend"] == pytest.approx(0.01 * rows.labels["spend"].mean(), rel=0.01)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": dataclasses.replace(SCHEMA, user=None)}, "which column is the `user`"),
        ({"k": 25}, "none of the 40 users has more than k = 25 of the 1,000 rows"),
        ({"k": 0}, "must be at least 1"),
        ({"max_lost_clicks": 1.5}, "between 0 and 1, received 1.5"),
        ({"labels": {"click": 0}}, "all labels of 'click' are 0"),
        ({"labels": {"spend": 0.0}}, "all labels of 'spend' are 0"),
        ({"schema": SCHEMA.with_targets(SCHEMA.targets[1::2])}, "the schema has none"),
    ],
)
def test_what_cannot_be_searched_is_said(change: dict[str, Any], message: str) -> None:
    rows = scored()
    rows = dataclasses.replace(rows, labels=rows.labels.assign(**change.get("labels", {})))
    arguments = {"k": 5} | {name: change[name] for name in ("k", "max_lost_clicks") if name in change}
    with pytest.raises(InputError, match=message):
        search_ranking(change.get("schema", SCHEMA), rows, **arguments)
