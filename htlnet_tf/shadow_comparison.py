"""`htlnet compare-logs`: what two versions answered to the same requests, as a shadow has logged it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import pearsonr, spearmanr

from htlnet_tf.data.sources.source import open_source
from htlnet_tf.documents import without_nan
from htlnet_tf.errors import InputError
from htlnet_tf.judging.exact_metrics import metrics_of
from htlnet_tf.judging.reports import METRICS
from htlnet_tf.serving.clients.shadow_log import read_log
from htlnet_tf.text_tables import aligned

QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)
TOP = 10
_SIDES = ("first", "second")


@dataclasses.dataclass(frozen=True)
class ScoreDifference:
    """How one column of scores differs, over the rows that both versions scored.

    Attributes:
      name: The column.
      rows: How many.
      mean_first: The first version's mean score.
      mean_second: The second's.
      quantiles: Of second less first, at `QUANTILES`.
      pearson: Correlation of the scores; NaN where one side is constant.
      spearman: Of their ranks, over all rows.
      other_best: The share of the requests of two rows and more whose best row is another.
      same_top: Of these requests, the mean share of the first version's best `TOP` rows, or of half of the rows where
        there are fewer than twice as many, that are among the second's.
    """

    name: str
    rows: int
    mean_first: float
    mean_second: float
    quantiles: tuple[float, ...]
    pearson: float
    spearman: float
    other_best: float
    same_top: float


@dataclasses.dataclass(frozen=True)
class LogComparison:
    """What the lines of a shadow's log say.

    Attributes:
      asked: Which label or version each of `first` and `second` is.
      requests: How many were asked of both.
      dropped: How many were asked of the first alone, for want of time.
      failed: By side, the share of the requests without an answer.
      latency_ms: By side, the quantiles 0.5 and 0.99 of the answers' times.
      scores: One entry per column of scores.
      metrics: By column that labels are there for, metric and side, the value; empty without labels.
      labelled_rows: How many rows have found their labels; None without labels.
    """

    asked: Mapping[str, str]
    requests: int
    dropped: int
    failed: Mapping[str, float]
    latency_ms: Mapping[str, tuple[float, float]]
    scores: tuple[ScoreDifference, ...]
    metrics: Mapping[str, Mapping[str, Mapping[str, float]]]
    labelled_rows: int | None

    @property
    def dropped_share(self) -> float:
        """Of all requests, those that were dropped."""
        return self.dropped / (self.requests + self.dropped)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; what is undefined is None."""
        document = dataclasses.asdict(self) | {"dropped_share": self.dropped_share}
        document["latency_ms"] = {side: {"p50": p50, "p99": p99} for side, (p50, p99) in self.latency_ms.items()}
        for score in document["scores"]:
            names = (f"p{100 * q:g}" for q in QUANTILES)
            score["quantiles"] = dict(zip(names, score["quantiles"], strict=True))
        plain: dict[str, Any] = without_nan(document)
        return plain

    def to_text(self) -> str:
        """Tables for people."""
        sides = [["", "asked", "failed", "p50 ms", "p99 ms"]]
        for side in _SIDES:
            p50, p99 = (_number(ms) for ms in self.latency_ms[side])
            sides.append([side, self.asked[side], f"{self.failed[side]:.2%}", p50, p99])
        header = ["score", "rows", "first", "second", *(f"p{100 * q:g}" for q in QUANTILES)]
        scores = [[*header, "Pearson", "Spearman", "other best", "same top"]]
        for s in self.scores:
            numbers = (s.mean_first, s.mean_second, *s.quantiles, s.pearson, s.spearman)
            shares = ("-" if math.isnan(share) else f"{share:.1%}" for share in (s.other_best, s.same_top))
            scores.append([s.name, f"{s.rows:,}", *map(_number, numbers), *shares])
        blocks = [
            f"{self.requests:,} requests of both; {self.dropped:,} more dropped ({self.dropped_share:.2%})",
            aligned(sides, left=(0, 1)),
            aligned(scores),
        ]
        if self.labelled_rows is not None:
            table = [["target", "metric", "first", "second"]]
            for target, metrics in self.metrics.items():
                for metric, values in metrics.items():
                    table.append([target, METRICS[metric].label, *(_number(values[side]) for side in _SIDES)])
            blocks += [f"{self.labelled_rows:,} rows have labels", aligned(table, left=(0, 1))]
        return "\n\n".join(blocks)


def compare_logs(logs: Sequence[str | Path], labels: pd.DataFrame | str | Path | None = None) -> LogComparison:
    """Compares what a shadow has logged of two versions.

    Args:
      logs: Folders of `shadow_log`, or files in them.
      labels: Rows with the logged keys (`shadow_keys` of the client) and labels in columns that are called as the
        scores are: a frame, or files. A column of zeros and ones is judged as a step, any other as an amount.

    Raises:
      InputError: A log cannot be read or has no requests; or labels have not the keys, have them twice, or none of
        their columns is called as a score.
    """
    lines = list(read_log(logs))
    asked = [line for line in lines if "first" in line]
    if not asked:
        raise InputError(f"no requests are logged in {', '.join(map(str, logs))}")
    both = [i for i, line in enumerate(asked) if all(line[side]["scores"] is not None for side in _SIDES)]
    rows = pd.concat([_rows(i, asked[i]) for i in both]) if both else pd.DataFrame()
    columns: list[Any] = rows.columns.tolist()
    names = [name for side, name in columns if side == "first" and ("second", name) in rows]
    metrics: dict[str, dict[str, dict[str, float]]] = {}
    labelled = None
    if labels is not None:
        labelled, metrics = _judged(rows, names, labels)
    return LogComparison(
        asked={side: ", ".join(dict.fromkeys(str(line[side]["asked"]) for line in asked)) for side in _SIDES},
        requests=len(asked),
        dropped=sum(line.get("dropped", 0) for line in lines),
        failed={side: float(np.mean([line[side]["error"] is not None for line in asked])) for side in _SIDES},
        latency_ms={side: _latencies(line[side] for line in asked) for side in _SIDES},
        scores=tuple(_difference(name, rows) for name in names),
        metrics=metrics,
        labelled_rows=labelled,
    )


def _rows(number: int, line: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of a request with columns (side, name), which are joined by their index where ranked answers differ."""
    sides = {}
    for side in _SIDES:
        found = pd.DataFrame(line[side]["scores"], dtype=np.float64)
        index = pd.Index(line[side]["index"], dtype=object)
        # Rows of a table whose index repeats can be told apart by their place alone.
        sides[side] = found.set_axis(index if index.is_unique else pd.RangeIndex(len(found)))
    table = pd.concat(sides, axis=1, join="inner")
    position = list(line["first"]["index"])
    for name, values in line["keys"].items():
        if len(values) == 1:
            table["key", name] = values[0]
        elif len(values) == len(position) and line["method"] != "rank":
            table["key", name] = pd.Series(values, index=sides["first"].index, dtype=object)
    table["request", ""] = number
    return table


def _latencies(answers: Iterable[Mapping[str, Any]]) -> tuple[float, float]:
    times = [1000 * answer["seconds"] for answer in answers if answer["error"] is None]
    if not times:
        return math.nan, math.nan
    p50, p99 = np.quantile(times, (0.5, 0.99))
    return float(p50), float(p99)


def _difference(name: str, rows: pd.DataFrame) -> ScoreDifference:
    table = pd.DataFrame(
        {"first": rows["first", name], "second": rows["second", name], "request": rows["request", ""]}
    ).dropna()
    first, second = table["first"].to_numpy(), table["second"].to_numpy()
    if not len(table):
        nothing = math.nan
        return ScoreDifference(name, 0, nothing, nothing, (nothing,) * len(QUANTILES), *[nothing] * 4)
    varies = len(table) > 1 and np.ptp(first) > 0 and np.ptp(second) > 0
    others, tops = [], []
    for _, request in table.groupby("request"):
        if len(request) > 1:
            a, b = (np.argsort(-request[side].to_numpy(), kind="stable") for side in _SIDES)
            others.append(a[0] != b[0])
            k = min(TOP, max(1, len(request) // 2))
            tops.append(len(set(a[:k]) & set(b[:k])) / k)
    return ScoreDifference(
        name=name,
        rows=len(table),
        mean_first=float(first.mean()),
        mean_second=float(second.mean()),
        quantiles=tuple(np.quantile(second - first, QUANTILES).tolist()),
        pearson=float(pearsonr(first, second).statistic) if varies else math.nan,
        spearman=float(spearmanr(first, second).statistic) if varies else math.nan,
        other_best=float(np.mean(others)) if others else math.nan,
        same_top=float(np.mean(tops)) if tops else math.nan,
    )


def _judged(
    rows: pd.DataFrame, names: Sequence[str], given: pd.DataFrame | str | Path
) -> tuple[int, dict[str, dict[str, dict[str, float]]]]:
    labels = given if isinstance(given, pd.DataFrame) else pd.concat([c.frame for c in open_source(given).chunks()])
    columns: list[Any] = rows.columns.tolist()
    keys = [str(name) for side, name in columns if side == "key"]
    if not keys:
        raise InputError("labels are joined by logged keys, but none are logged: give the client shadow_keys")
    for key in keys:
        if key not in labels:
            raise InputError(f"the labels lack the column '{key}', by which they are joined to the logged rows")
    targets = [name for name in names if name in labels]
    if not targets:
        raise InputError(f"no column of the labels is called as a score; there are the scores {list(names)}")
    # As text, since a log's JSON and a table may say the same number in two ways.
    by_key = labels[targets].set_axis(pd.MultiIndex.from_frame(labels[keys].astype(str)))
    if by_key.index.has_duplicates:
        twice = by_key.index[by_key.index.duplicated()][0]
        raise InputError(f"the labels have the keys {keys} = {list(twice)} twice, so they cannot be joined by them")
    found = by_key.reindex(pd.MultiIndex.from_arrays([rows["key", key].astype(str) for key in keys]))
    metrics: dict[str, dict[str, dict[str, float]]] = {}
    for name in targets:
        y = pd.to_numeric(found[name], errors="coerce").to_numpy(np.float64)
        scores = {side: rows[side, name].to_numpy(np.float64) for side in _SIDES}
        there = np.isfinite(y) & np.isfinite(scores["first"]) & np.isfinite(scores["second"])
        if not there.any():
            continue
        kind = "binary" if np.isin(y[there], (0, 1)).all() else "continuous"
        outcomes = {
            side: metrics_of(kind, y[there], values[there][:, np.newaxis], None) for side, values in scores.items()
        }
        metrics[name] = {
            metric: {side: _value(outcomes[side][metric]) for side in _SIDES} for metric in outcomes["first"]
        }
    return int(found.notna().any(axis=1).sum()), metrics


def _value(outcome: float | str) -> float:
    return math.nan if isinstance(outcome, str) else float(outcome)


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4g}"
