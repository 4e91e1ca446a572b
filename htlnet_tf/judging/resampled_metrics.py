"""The metrics of a report as functions of weights: what a row weighs is how often it is in a resample.

Rows are sorted once, whatever is resampled. With weights of 1 each is the metric of `htlnet_tf.judging.exact_metrics`
and its neighbours; with whole weights, that of the rows repeated so often.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from htlnet_tf.judging.exact_metrics import Floats, Users, user_aucs
from htlnet_tf.judging.quantile_metrics import pinball
from htlnet_tf.judging.ranking_metrics import TOP_SHARE, discounted, lists_of
from htlnet_tf.judging.resampling import Weights

Metrics = Callable[[Weights], dict[str, Floats]]
"""From weights of R resamples to R values of each metric, not finite where a resample leaves it undefined."""

_BINS = 10
_EPS = float(np.finfo(np.float64).eps)


class Sorted:
    """Rows in the order of a score, equal ones as one group.

    Args:
      scores: [N].
    """

    def __init__(self, scores: Floats) -> None:
        self.order = np.argsort(scores, kind="stable")
        ordered = scores[self.order]
        self._starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        self._all = len(self._starts) == len(scores)
        self._groups = np.cumsum(np.concatenate([[0], (ordered[1:] != ordered[:-1]).astype(np.int64)]))
        self.values = ordered[self._starts]

    def grouped(self, rows: Floats) -> Floats:
        """Sums over the groups, [R, G], of numbers by row in the rows' own order, [R, N]."""
        ordered = np.take(rows, self.order, axis=1)
        if self._all:
            return ordered
        # Twice as quick as np.add.reduceat, where most groups are a single row.
        ends = np.append(self._starts[1:], len(self.order)) - 1
        return np.diff(np.take(np.cumsum(ordered, axis=1), ends, axis=1), axis=1, prepend=0.0)

    def ranks(self, weights: Floats) -> Floats:
        """The mean rank of each group less that of all rows, [R, G]; `weights` are those of the groups."""
        before = np.cumsum(weights, axis=1)
        total = before[:, -1:]
        return before - (weights - 1) / 2 - (total + 1) / 2

    def of_rows(self, groups: Floats) -> Floats:
        """What the groups have, [R, G], by row in the rows' own order, [R, N]."""
        found = np.empty((len(groups), len(self.order)))
        found[:, self.order] = groups if self._all else np.take(groups, self._groups, axis=1)
        return found


class Judged(NamedTuple):
    """What one target of one model is judged on; rows are those where the label was observed.

    Attributes:
      labels: [M].
      predictions: [M, K].
      scores: [M], what the rows are ranked by.
      users: [M], each row's user, -1 where it has none; None: there are no lists.
      clusters: [M], what is drawn, see `htlnet_tf.judging.resampling.clusters`.
      k: How many rows of a user's list are looked at.
      quantiles: By level, the predicted quantiles, [M].
    """

    labels: Floats
    predictions: Floats
    scores: Floats
    users: Users | None
    clusters: Users
    k: int
    quantiles: Mapping[float, Floats]


def metrics_of(kind: str, judged: Judged, *, ranked: bool) -> Metrics:
    """The metrics of a target as one function of weights.

    Args:
      kind: Of the target.
      judged: Its rows.
      ranked: Whether the order of the rows is judged by it, as by steps and the core.
    """
    parts = {"binary": _binary, "multiclass": _multiclass, "continuous": _continuous}[kind](judged)
    if judged.users is not None:
        parts.append(_of_users(kind, judged, ranked=ranked))
    if ranked and kind == "continuous" and judged.labels.min() >= 0:
        parts.append(_lift(judged.labels, judged.scores))

    def compute(weights: Weights) -> dict[str, Floats]:
        found: dict[str, Floats] = {}
        with np.errstate(divide="ignore", invalid="ignore"):
            for part in parts:
                found |= part(weights)
        return found

    return compute


def _binary(judged: Judged) -> list[Metrics]:
    y, p = judged.labels, judged.predictions[:, 0]
    clipped = np.clip(p, _EPS, 1 - _EPS)
    columns = np.stack([np.ones_like(y), y, p, -np.log(np.where(y == 1, clipped, 1 - clipped))], axis=1)
    order = Sorted(p)

    def sums(weights: Weights) -> dict[str, Floats]:
        n, labels, predicted, loss = weights.sums(columns).T
        return {"logloss": loss / n, "level": predicted / labels}

    def ordered(weights: Weights) -> dict[str, Floats]:
        w = order.grouped(weights.rows)
        positive = order.grouped(weights.rows * y)
        found = {"auc": _auc(positive, w - positive)}
        return found | {"calibration_error": _decile_error(order, w, positive, np.ones(len(w)))}

    return [ordered, sums]


def _multiclass(judged: Judged) -> list[Metrics]:
    y, p = judged.labels.astype(np.int64), judged.predictions
    own = np.clip((p / p.sum(axis=1, keepdims=True))[np.arange(len(y)), y], _EPS, 1 - _EPS)
    columns = np.stack([np.ones(len(y)), -np.log(own), (p.argmax(axis=1) == y).astype(np.float64)], axis=1)
    orders = [Sorted(p[:, k]) for k in range(p.shape[1])]

    def sums(weights: Weights) -> dict[str, Floats]:
        n, loss, right = weights.sums(columns).T
        return {"logloss": loss / n, "accuracy": right / n}

    def ordered(weights: Weights) -> dict[str, Floats]:
        aucs = []
        for k, order in enumerate(orders):
            positive = order.grouped(weights.rows * (y == k))
            aucs.append(_auc(positive, order.grouped(weights.rows) - positive))
        return {"macro_auc": np.mean(aucs, axis=0)}

    return [ordered, sums]


def _continuous(judged: Judged) -> list[Metrics]:
    y, p = judged.labels, judged.predictions[:, 0]
    centre = y.mean()  # so that little is lost where squares are subtracted
    losses = [pinball(y, quantile, q) for q, quantile in judged.quantiles.items()]
    columns = np.stack(
        [np.ones_like(y), y, np.abs(y), (y - centre) ** 2, p, (y - p) ** 2, np.abs(y - p)]
        + ([np.mean(losses, axis=0)] if losses else []),
        axis=1,
    )
    by_label, order = Sorted(y), Sorted(p)

    def sums(weights: Weights) -> dict[str, Floats]:
        n, labels, sizes, squares, predicted, errors, distances, *loss = weights.sums(columns).T
        variance = squares / n - (labels / n - centre) ** 2
        found = {
            "nrmse": np.sqrt(errors / n / variance),
            "nmae": distances / sizes,
            "level": predicted / labels,
        }
        return found | ({"pinball": loss[0] / n} if loss else {})

    def ordered(weights: Weights) -> dict[str, Floats]:
        rows = weights.rows
        total = rows.sum(axis=1, keepdims=True)
        mean = (rows @ y)[:, None] / total
        w, w_label = order.grouped(rows), by_label.grouped(rows)
        ranks, label_ranks = order.ranks(w), by_label.ranks(w_label)
        labels = order.grouped(rows * y)
        own = ((labels - mean * w) * ranks).sum(axis=1)
        best = (w_label * (by_label.values - mean) * label_ranks).sum(axis=1)
        together = (order.grouped(rows * by_label.of_rows(label_ranks)) * ranks).sum(axis=1)
        spread = np.sqrt((w * ranks**2).sum(axis=1) * (w_label * label_ranks**2).sum(axis=1))
        return {
            "gini": own / best,
            "spearman": together / spread,
            "decile_error": _decile_error(order, w, labels, (rows @ np.abs(y)) / total[:, 0]),
        }

    return [sums, ordered]


def _of_users(kind: str, judged: Judged, *, ranked: bool) -> Metrics:
    """Means over users of what each has by itself, which no resampling changes."""
    codes = judged.users if judged.users is not None else np.zeros(0, np.int64)
    y = judged.labels
    known = codes >= 0
    of_user = np.zeros(int(codes.max(initial=-1)) + 1, np.int64)
    of_user[codes[known]] = judged.clusters[known]
    sums: dict[str, tuple[np.ndarray, Floats, Floats]] = {}
    if kind == "binary" and known.any():
        users, values, rows = user_aucs(y, judged.predictions[:, 0], codes)
        sums["group_auc"] = users, values * rows, rows
    if ranked and known.any() and y.min() >= 0:
        lists = lists_of(judged.scores, codes)
        numbered = np.unique(codes[known])
        gains, best = discounted(lists, y, judged.k), discounted(lists_of(y, codes), y, judged.k)
        some = (np.bincount(lists.users) > 1) & (best > 0)
        sums["ndcg"] = numbered[some], gains[some] / best[some], np.ones(int(some.sum()))
        if kind == "continuous":
            labels = lists.of(y)
            total = np.asarray(np.bincount(lists.users, weights=labels), np.float64)
            first = labels * (lists.positions < judged.k)
            found = np.asarray(np.bincount(lists.users, weights=first), np.float64)
            sums["captured"] = numbered, found, total
            some = total > 0
            sums["captured_by_user"] = numbered[some], found[some] / total[some], np.ones(int(some.sum()))

    def compute(weights: Weights) -> dict[str, Floats]:
        means = {}
        for name, (users, above, below) in sums.items():
            counts = weights.counts[:, of_user[users]]
            means[name] = (counts @ above) / (counts @ below)
        return means

    return compute


def _lift(y: Floats, scores: Floats) -> Metrics:
    order = Sorted(-scores)

    def compute(weights: Weights) -> dict[str, Floats]:
        rows, labels = order.grouped(weights.rows), order.grouped(weights.rows * y)
        at = np.array([[TOP_SHARE]]) * rows.sum(axis=1, keepdims=True)
        top = _cumulated_at(rows, [labels], at)[0][:, 0]
        return {"lift": top / labels.sum(axis=1) / TOP_SHARE}

    return compute


def _auc(positive: Floats, negative: Floats) -> Floats:
    """Of the weights of both classes in the groups, [R, G]; NaN without either class."""
    before = np.cumsum(negative, axis=1) - negative
    wins = (positive * (before + negative / 2)).sum(axis=1)
    return np.asarray(wins / (positive.sum(axis=1) * negative.sum(axis=1)))


def _decile_error(order: Sorted, weights: Floats, labels: Floats, scale: Floats) -> Floats:
    """The mean distance of prediction and label over ten parts of equal weight, over `scale`, [R].

    A row on the border of two parts is in both, in part.
    """
    total = weights.sum(axis=1, keepdims=True)
    at = total * np.arange(_BINS + 1) / _BINS
    sums = _cumulated_at(weights, [labels - weights * order.values], at)[0]
    return np.asarray(np.abs(np.diff(sums, axis=1)).sum(axis=1) / total[:, 0] / scale)


def _cumulated_at(weights: Floats, columns: list[Floats], at: Floats) -> list[Floats]:
    """Sums over the first so much weight, each [R, P], of groups in order; a group counts in part."""
    zero = np.zeros((len(weights), 1))
    ends = np.concatenate([zero, np.cumsum(weights, axis=1)], axis=1)
    found = []
    for column in columns:
        sums = np.concatenate([zero, np.cumsum(column, axis=1)], axis=1)
        found.append(np.stack([np.interp(at[r], ends[r], sums[r]) for r in range(len(weights))]))
    return found
