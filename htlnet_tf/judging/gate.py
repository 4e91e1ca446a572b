"""Is a new model at least as good as the one in service, on the same rows? A paired bootstrap of every metric."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from htlnet_tf.documents import without_nan
from htlnet_tf.errors import InputError
from htlnet_tf.judging.evaluation import judge, order_scores, quantile_columns, user_numbers
from htlnet_tf.judging.exact_metrics import Floats, UserColumn, Users
from htlnet_tf.judging.gate_settings import GateSettings
from htlnet_tf.judging.ranking_metrics import K
from htlnet_tf.judging.reports import metric_named
from htlnet_tf.judging.resampled_metrics import Judged, Metrics, metrics_of
from htlnet_tf.judging.resampling import Weights, clusters, resampled, whole
from htlnet_tf.schema import Binary, Continuous, Schema
from htlnet_tf.text_tables import aligned


@dataclasses.dataclass(frozen=True)
class Verdict:
    """One metric of one target.

    Attributes:
      target: Its name.
      metric: Its name in a report.
      stable: Of the model in service.
      new: Of the new model.
      worse: By how much the new one is worse, below 0: better; of a level, by how much it is further from 1.
      low: Lower end of the interval of `worse`.
      high: Upper end.
      margin: How much is allowed.
      ok: Whether the new model passes.
    """

    target: str
    metric: str
    stable: float
    new: float
    worse: float
    low: float
    high: float
    margin: float
    ok: bool

    def __str__(self) -> str:
        return (
            f"{self.target} {metric_named(self.metric).label}: {self.new:.5g} instead of {self.stable:.5g}, worse by "
            f"{self.worse:.3g} ({self.low:.3g} to {self.high:.3g}), allowed {self.margin:.3g}"
        )


@dataclasses.dataclass(frozen=True)
class GateReport:
    """A new model against the one in service.

    Attributes:
      rows: How many both were judged on.
      users: How many users, or rows where the schema declares none, were drawn from.
      settings: What was asked for.
      verdicts: By target and metric, in the order of the funnel.
      undefined: `target metric` of those that these rows leave undefined for one of the models.
    """

    rows: int
    users: int
    settings: GateSettings
    verdicts: tuple[Verdict, ...]
    undefined: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether the new model passes everywhere."""
        return all(verdict.ok for verdict in self.verdicts)

    @property
    def failed(self) -> tuple[Verdict, ...]:
        """Where it does not, those furthest beyond their margin first."""
        beyond = [verdict for verdict in self.verdicts if not verdict.ok]
        return tuple(sorted(beyond, key=lambda v: -(v.worse / v.margin if v.margin else np.inf)))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        document: dict[str, Any] = without_nan(
            {
                "ok": self.ok,
                "failed": [f"{verdict.target} {verdict.metric}" for verdict in self.failed],
                "rows": self.rows,
                "users": self.users,
                "settings": dataclasses.asdict(self.settings),
                "metrics": [dataclasses.asdict(verdict) for verdict in self.verdicts],
                "undefined": list(self.undefined),
            }
        )
        return document

    def to_text(self) -> str:
        """A table for people, and where the new model fails."""
        settings = self.settings
        interval = f"{settings.confidence:.0%} interval"
        table = [["target", "metric", "stable", "new", "worse by", interval, "allowed", ""]]
        for v in self.verdicts:
            between = f"{v.low:+.4f} to {v.high:+.4f}"
            cells = [f"{v.stable:.4f}", f"{v.new:.4f}", f"{v.worse:+.4f}", between, f"{v.margin:.4f}"]
            table.append([v.target, metric_named(v.metric).label, *cells, "" if v.ok else "WORSE"])
        blocks = [
            f"{self.rows:,} rows, {settings.resamples} resamples of {self.users:,} users or rows",
            aligned(table, left=(0, 1)),
        ]
        if self.undefined:
            blocks.append(f"undefined here: {', '.join(self.undefined)}")
        if self.ok:
            return "\n\n".join([*blocks, "no metric is worse beyond its margin"])
        return "\n\n".join([*blocks, "\n".join(["FAILED", *(f"  {verdict}" for verdict in self.failed)])])


def gate(
    schema: Schema,
    labels: pd.DataFrame,
    new: pd.DataFrame,
    stable: pd.DataFrame,
    users: UserColumn | None = None,
    settings: GateSettings | None = None,
    *,
    stable_schema: Schema | None = None,
) -> GateReport:
    """Compares two models' predictions of the same rows, metric by metric.

    Both are judged on the same resamples of the users, so that what makes rows hard or easy cancels. Judged are AUC,
    group AUC, LogLoss, calibration error and level of steps; macro AUC, LogLoss and accuracy of classes; NRMSE, NMAE,
    Spearman, Gini, the deciles' error, level and pinball loss of amounts; NDCG, captured shares and lift of the order.
    XAUC and CRPS are left to `htlnet_tf.evaluate`.

    Args:
      schema: Declares the targets, and the ranking of the new model.
      labels: [N] rows, as for `htlnet_tf.judging.evaluation.evaluate_predictions`, as the following.
      new: The new model's predictions.
      stable: Those of the model in service.
      users: Each row's user; None: rows are drawn.
      settings: Margins and interval.
      stable_schema: Of the model in service, whose ranking may be another; None: the same.

    Raises:
      InputError: As for `evaluate_predictions`, or no metric is defined on these rows.
    """
    settings = settings or GateSettings()
    codes = user_numbers(schema, labels, users)
    drawn = clusters(codes, len(labels))
    models = [
        _prepared(of_model, labels, predictions, codes, drawn)
        for of_model, predictions in ((schema, new), (stable_schema or schema, stable))
    ]
    now, before = (_values(model, whole(drawn)) for model in models)
    names = [name for name in now if name in before]
    worse: dict[tuple[str, str], list[Floats]] = {name: [] for name in names}
    for weights in resampled(drawn, settings.resamples, seed=settings.seed):
        drawn_now, drawn_before = (_values(model, weights) for model in models)
        for (target, metric), differences in worse.items():
            of_both = [_badness(metric, values[target, metric]) for values in (drawn_now, drawn_before)]
            differences.append(of_both[0] - of_both[1])
    rates = {name: float(np.abs(judged.labels).mean()) for name, judged in models[0].judged.items()}
    verdicts, undefined = [], []
    for target, metric in names:
        both = (float(now[target, metric][0]), float(before[target, metric][0]))
        differences_of = np.concatenate(worse[target, metric])
        differences_of = differences_of[np.isfinite(differences_of)]
        if not np.isfinite(both).all() or not differences_of.size:
            undefined.append(f"{target} {metric}")
            continue
        margin = settings.margin(target, metric, value=both[1], rate=rates[target])
        verdicts.append(_verdict(target, metric, both, differences_of, margin, settings))
    if not verdicts:
        raise InputError("these rows leave every metric of the gate undefined: they need labels")
    return GateReport(len(labels), int(drawn.max()) + 1, settings, tuple(verdicts), tuple(undefined))


def require_same_targets(new: Schema, stable: Schema) -> None:
    """Checks that two models predict the same.

    Raises:
      InputError: A target is in one of them alone, or of another kind.
    """
    one, other = ([(t.name, t.kind, *t.score_names) for t in schema.targets] for schema in (new, stable))
    if one != other:
        raise InputError(
            f"the models have other targets: {[name for name, *_ in one]} and {[name for name, *_ in other]}, which "
            "must be the same ones in the same order"
        )


class _Model(NamedTuple):
    """By target with labels, what it is judged on, its metrics, and the rows that they are of, bool [N]."""

    judged: dict[str, Judged]
    metrics: dict[str, Metrics]
    observed: dict[str, np.ndarray]


def _prepared(
    schema: Schema, labels: pd.DataFrame, predictions: pd.DataFrame, codes: Users | None, drawn: Users
) -> _Model:
    _, scores = order_scores(schema, predictions)
    model = _Model({}, {}, {})
    for name, (y, p, observed) in judge(schema, labels, predictions).items():
        if not y.size:
            continue
        target = schema.target(name)
        quantiles = {}
        if isinstance(target, Continuous) and target.quantiles:
            columns = quantile_columns(target, predictions, observed)
            quantiles = {} if columns is None else dict(zip(target.quantiles, columns.T, strict=True))
        users = None if codes is None else codes[observed]
        judged = Judged(y, p, scores[observed], users, drawn[observed], K, quantiles)
        model.judged[name], model.observed[name] = judged, observed
        ranked = isinstance(target, Binary) or target == schema.core
        model.metrics[name] = metrics_of(target.kind, judged, ranked=ranked)
    return model


def _values(model: _Model, weights: Weights) -> dict[tuple[str, str], Floats]:
    """By target and metric, a value per resample; of the metrics that a margin is known of."""
    found = {}
    for target, metrics in model.metrics.items():
        for metric, values in metrics(weights.of(model.observed[target])).items():
            found[target, metric] = values
    return found


def _badness(metric: str, values: Floats) -> Floats:
    """What is larger where a metric is worse."""
    if metric == "level":
        return np.abs(values - 1)
    return -metric_named(metric).better * values


def _verdict(
    target: str, metric: str, values: tuple[float, float], differences: Floats, margin: float, settings: GateSettings
) -> Verdict:
    now, before = values
    tail = (1 - settings.confidence) / 2
    low, high = (float(bound) for bound in np.quantile(differences, (tail, 1 - tail)))
    worse = float(_badness(metric, np.array(now)) - _badness(metric, np.array(before)))
    ok = high <= margin if settings.strict else not (worse > margin and low > 0)
    return Verdict(target, metric, before, now, worse, low, high, margin, ok)
