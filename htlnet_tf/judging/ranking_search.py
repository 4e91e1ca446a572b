"""Weights of a ranking for a stated aim: most of the core in the first k rows, at a bound on the clicks it costs."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from htlnet_tf.errors import InputError
from htlnet_tf.judging.evaluation import Scored, judge
from htlnet_tf.judging.exact_metrics import Floats, Users, user_codes
from htlnet_tf.judging.ranking_metrics import (
    captured_of,
    discounted,
    members_of,
    ndcg_of,
    require_k,
    sorted_lists,
)
from htlnet_tf.schema import Binary, Continuous, Multiclass, Ranking, Schema
from htlnet_tf.scoring.power_product import log_scores

MAX_LOST_CLICKS = 0.02
WEIGHT = "weight_"
"""What the columns of weights begin with: a target may be called as a column beside them, `clicks` or `core`."""
_TRIALS, _FINEST = 250, 40
_REFINEMENTS = 4
_FLOOR_SHARE = 0.01
_EQUAL = 1e-12

Weights = tuple[float, ...]


class Outcome(NamedTuple):
    """What an order puts into the first k rows of the users' lists.

    Attributes:
      clicks: Share of all clicks.
      core: Share of the core's total.
      ndcg: Mean NDCG of the users, with the core's label as the gain.
    """

    clicks: float
    core: float
    ndcg: float


class ListJudge:
    """Judges orders of one set of rows.

    A row whose label was not observed counts as a row of the list with the label 0: nobody gained anything there.

    Args:
      schema: Declares the targets, among them a binary one, and the user.
      scored: Rows with labels, predictions and users.
      k: How many rows of a user's list count.

    Attributes:
      rows: How many have a user.
      users: How many there are.
      long_lists: How many have more than `k` rows; only there the order decides what is among the first.
      by_click: The outcome of the order by click alone.

    Raises:
      InputError: The schema has no user or no binary target, no user has more than `k` rows, there are no clicks or
        nothing of the core, a label of the core is negative, or the order by click alone has no click among the first
        `k` rows, so that no share of them can be lost.
    """

    def __init__(self, schema: Schema, scored: Scored, k: int) -> None:
        require_k(k)
        if schema.user is None or scored.users is None:
            raise InputError("weights are chosen by the lists of users: the schema must say which column is the `user`")
        judged = judge(schema, scored.labels, scored.predictions)
        self._k = k
        users: Users = user_codes(scored.users)
        self._clicks, self._core = (
            _filled(judged[name].labels, judged[name].observed) for name in (click_of(schema), schema.core.name)
        )
        self._members = members_of(users)
        sizes = np.bincount(self._members.users)
        self.rows, self.users, self.long_lists = int(sizes.sum()), len(sizes), int((sizes > k).sum())
        if not self.long_lists:
            raise InputError(
                f"none of the {self.users:,} users has more than k = {k} of the {self.rows:,} rows, so that any order "
                "puts all of them among the first: choose a smaller k, or give more rows"
            )
        known = users >= 0
        if self._core[known].min() < 0:
            raise InputError(f"'{schema.core.name}' has negative labels, so that there are no shares of its total")
        for name, labels in ((click_of(schema), self._clicks), (schema.core.name, self._core)):
            if not labels[known].sum() > 0:
                raise InputError(f"all labels of '{name}' are 0, so that there is nothing to put first")
        self._best = discounted(sorted_lists(self._core, self._members), self._core, k)
        self.by_click = self(log_scores(Ranking({click_of(schema): 1.0}), scored.predictions))
        if not self.by_click.clicks > 0:
            raise InputError(
                f"ranking by '{click_of(schema)}' alone has no click among the first k = {k} rows of any user, so that "
                "no share of them can be lost: choose a larger k, or give more rows"
            )

    def __call__(self, scores: Floats) -> Outcome:
        """Judges the order of scores, [N]."""
        lists = sorted_lists(scores, self._members)
        return Outcome(
            captured_of(lists, self._clicks, self._k).overall,
            captured_of(lists, self._core, self._k).overall,
            ndcg_of(lists, self._core, self._best, self._k).value,
        )


@dataclasses.dataclass(frozen=True)
class RankingSearch:
    """What a search found.

    Attributes:
      click: The name of the target whose captured share is bounded.
      k: How many rows of a user's list count.
      max_lost_clicks: The bound.
      rows: Rows with a user that were searched on.
      users: Their users.
      long_lists: How many users have more than `k` rows.
      tried: Per weight vector its weights as `weight_{target}`, `clicks`, `core` and `ndcg` as of `Outcome`,
        `lost_clicks`, and whether it `is_feasible` (within the bound), `on_front` (none has more of both), `is_chosen`.
      ranking: The proposal: the most of the core within the bound.
      chosen: Its outcome.
      by_click: The outcome of the order by click alone.
      declared: The outcome of the schema's own ranking; None without one.
    """

    click: str
    k: int
    max_lost_clicks: float
    rows: int
    users: int
    long_lists: int
    tried: pd.DataFrame
    ranking: Ranking
    chosen: Outcome
    by_click: Outcome
    declared: Outcome | None

    def lost(self, outcome: Outcome) -> float:
        """Which share of the clicks that the order by click alone captures an outcome lacks; below 0: it has more."""
        return 1 - outcome.clicks / self.by_click.clicks


def search_ranking(
    schema: Schema, scored: Scored, *, k: int, max_lost_clicks: float = MAX_LOST_CLICKS
) -> RankingSearch:
    """Searches the weights of the binary and continuous targets.

    Only the ratios of weights count for an order, so a grid over the simplex is tried, of about 250 points, and then
    four times finer steps around the best of them. Nothing is random. The largest weight of each vector is 1, so that
    scores keep away from float32's bounds. Floors are those of the schema's ranking; an amount that may be negative,
    which needs one, otherwise gets a hundredth of its mean label's size.

    Args:
      schema: Declares targets and user; a ranking, if there is one, is judged beside the others.
      scored: Rows that were not trained on, with labels, predictions and users.
      k: How many rows of a user's list count.
      max_lost_clicks: At most so large a share of the clicks that the order by click alone has in the first `k` rows
        may be missing there. Clicks are those of the first binary target.

    Returns:
      All that was tried, and the proposal.

    Raises:
      InputError: The bound is not in [0, 1], or as for `ListJudge`.
    """
    if not 0 <= max_lost_clicks <= 1:
        raise InputError(f"the share of clicks that may be lost must be between 0 and 1, received {max_lost_clicks}")
    list_judge = ListJudge(schema, scored, k)
    names = [target.name for target in schema.targets if not isinstance(target, Multiclass)]
    floors = _floors(schema, scored)
    logarithms = [
        log_scores(Ranking({name: 1.0}, {name: floors[name]} if name in floors else {}), scored.predictions)
        for name in names
    ]
    alone: Weights = tuple(float(name == click_of(schema)) for name in names)
    by_click = list_judge.by_click
    found: dict[Weights, Outcome] = {alone: by_click}

    def outcome(weights: Weights) -> Outcome:
        if weights not in found:
            # A weight of 0 times a logarithm of -inf is no number.
            parts = [weight * values for weight, values in zip(weights, logarithms, strict=True) if weight]
            found[weights] = list_judge(np.sum(parts, axis=0))
        return found[weights]

    least = by_click.clicks * (1 - max_lost_clicks) - _EQUAL

    def best_of(tried: Iterable[Weights]) -> Weights:
        # Of equally good ones the one with more clicks, then the simplest, then the first.
        return max(
            (weights for weights in tried if outcome(weights).clicks >= least),
            key=lambda w: (round(outcome(w).core, 12), round(outcome(w).clicks, 12), w.count(0.0)),
        )

    steps = _divisions(len(names))
    for point in _simplex(len(names), steps):
        outcome(_scaled(point))
    best = best_of(found)
    for level in range(1, _REFINEMENTS + 1):
        for weights in _neighbours(best, 1 / (steps * 2**level)):
            outcome(weights)
        best = best_of(found)
    # Of click alone a floor would make ties and nothing else, and the order that is the measure has none.
    ranking = _as_ranking(dict(zip(names, best, strict=True)), {} if best == alone else floors)
    return RankingSearch(
        click=click_of(schema),
        k=k,
        max_lost_clicks=max_lost_clicks,
        rows=list_judge.rows,
        users=list_judge.users,
        long_lists=list_judge.long_lists,
        tried=_table(names, found, best, by_click, least),
        ranking=ranking,
        chosen=outcome(best),
        by_click=by_click,
        declared=None if schema.ranking is None else list_judge(log_scores(schema.ranking, scored.predictions)),
    )


def click_of(schema: Schema) -> str:
    """The name of the target that is called a click: the first binary one.

    Raises:
      InputError: There is none.
    """
    for target in schema.targets:
        if isinstance(target, Binary):
            return target.name
    raise InputError("clicks are those of the first binary target, and the schema has none")


def _filled(labels: Floats, observed: np.ndarray) -> Floats:
    values = np.zeros(len(observed))
    values[observed] = labels
    return values


def _floors(schema: Schema, scored: Scored) -> dict[str, float]:
    floors = {} if schema.ranking is None else {name: least for name, least in schema.ranking.floor.items() if least}
    judged = judge(schema, scored.labels, scored.predictions)
    for target in schema.targets:
        if isinstance(target, Continuous) and not target.non_negative and target.name not in floors:
            labels = judged[target.name].labels
            size = float(np.abs(labels).mean()) if labels.size else 0.0
            floors[target.name] = float(f"{_FLOOR_SHARE * size or 1.0:.3g}")
    return floors


def _as_ranking(weights: Mapping[str, float], floors: Mapping[str, float]) -> Ranking:
    used = {name: weight for name, weight in weights.items() if weight}
    return Ranking(used, {name: least for name, least in floors.items() if name in used})


def _divisions(count: int) -> int:
    """Into how many steps each weight is divided, so that the simplex has about 250 points at most."""
    return next((n for n in range(_FINEST, 1, -1) if math.comb(n + count - 1, count - 1) <= _TRIALS), 1)


def _simplex(count: int, steps: int) -> Iterable[Weights]:
    """All vectors of `count` whole numbers that sum to `steps`, as shares."""
    for bars in itertools.combinations(range(steps + count - 1), count - 1):
        edges = (-1, *bars, steps + count - 1)
        yield tuple((b - a - 1) / steps for a, b in itertools.pairwise(edges))


def _neighbours(weights: Weights, step: float) -> Iterable[Weights]:
    """The vectors in which a part of the sum has moved from one weight to another."""
    total = sum(weights)
    shares = [weight / total for weight in weights]
    for giver, taker in itertools.permutations(range(len(shares)), 2):
        if shares[giver] > 0:
            moved = list(shares)
            given = min(step, moved[giver])
            moved[giver] -= given
            moved[taker] += given
            yield _scaled(moved)


def _scaled(shares: Sequence[float]) -> Weights:
    """The same direction with a largest weight of 1, in numbers that can be read."""
    largest = max(shares)
    return tuple(round(share / largest, 4) for share in shares)


def _table(
    names: Sequence[str], found: Mapping[Weights, Outcome], best: Weights, by_click: Outcome, least: float
) -> pd.DataFrame:
    columns = [*(WEIGHT + name for name in names), *Outcome._fields]
    table = pd.DataFrame([[*weights, *outcome] for weights, outcome in found.items()], columns=columns)
    table["lost_clicks"] = 1 - table["clicks"] / by_click.clicks
    table["is_feasible"] = table["clicks"] >= least
    table["is_chosen"] = [weights == best for weights in found]
    # Of equally good ones the chosen is first, so that it is the one on the front.
    order = np.lexsort((~table["is_chosen"], -table["core"].round(12), -table["clicks"].round(12)))
    front = np.zeros(len(table), bool)
    most = -1.0
    for row in order:  # from the most clicks to the fewest: on the front is who has more of the core than all before
        if table["core"].iloc[row] > most + _EQUAL:
            front[row], most = True, float(table["core"].iloc[row])
    table["on_front"] = front
    return table.iloc[order].reset_index(drop=True)
