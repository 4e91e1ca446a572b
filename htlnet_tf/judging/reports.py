"""What a model scored on a split."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from htlnet_tf.errors import InputError
from htlnet_tf.text_tables import aligned

if TYPE_CHECKING:
    from htlnet_tf.schema import Schema


class Metric(NamedTuple):
    """How a metric is shown.

    Attributes:
      label: For people.
      better: Where it is, 1: higher, -1: lower, 0: neither.
      in_unit: Whether it is in the target's unit.
      is_main: False: another metric says the same, or almost, of models that are compared on the same rows.
      is_context: True: others say little without it, as an MAE without the level.
      of_quantiles: It judges a distribution, and stands in a table of its own.
    """

    label: str
    better: int
    in_unit: bool = False
    is_main: bool = True
    is_context: bool = False
    of_quantiles: bool = False

    @property
    def arrow(self) -> str:
        """The direction that is better: `↑`, `↓`, or nothing."""
        return {1: "↑", -1: "↓", 0: ""}[self.better]

    @property
    def is_compared(self) -> bool:
        """Whether models are compared by it: it has a better direction, no unit, and no other says the same."""
        return self.better != 0 and not self.in_unit and self.is_main

    @property
    def is_tabled(self) -> bool:
        """Whether tables of models show it: by what they are compared, and what has to be read beside it."""
        return self.is_compared or self.is_context


METRICS: dict[str, Metric] = {
    "auc": Metric("AUC", 1),
    "group_auc": Metric("GAUC", 1),
    "macro_auc": Metric("macro AUC", 1),
    "logloss": Metric("LogLoss", -1),
    "normalised_entropy": Metric("NE", -1, is_main=False),
    "calibration_error": Metric("ECE", -1),
    "calibration_error_before": Metric("ECE before", -1, is_main=False),
    "accuracy": Metric("accuracy", 1),
    "nrmse": Metric("NRMSE", -1),
    "nrmse_by_mean": Metric("RMSE/mean", -1, is_main=False),
    "nmae": Metric("NMAE", -1),
    "spearman": Metric("Spearman", 1),
    "gini": Metric("Gini", 1),
    "xauc": Metric("XAUC", 1),
    "decile_error": Metric("deciles", -1),
    "decile_error_before": Metric("deciles before", -1, is_main=False),
    "level": Metric("level", 0, is_context=True),
    "negative_share": Metric("negative", -1, is_main=False, is_context=True),
    "ndcg": Metric("NDCG", 1, is_main=False),
    "captured": Metric("captured", 1, is_main=False),
    "captured_by_user": Metric("captured by user", 1, is_main=False),
    "lift": Metric("lift", 1, is_main=False),
    "regret": Metric("regret", -1),
    "rmse": Metric("RMSE", -1, in_unit=True),
    "mae": Metric("MAE", -1, in_unit=True),
    "interval_coverage": Metric("interval coverage", 0, of_quantiles=True),
    "pinball": Metric("pinball", -1, in_unit=True, of_quantiles=True),
    "crps": Metric("CRPS", -1, in_unit=True, of_quantiles=True),
    "ncrps": Metric("NCRPS", -1, of_quantiles=True),
    "base_rate": Metric("base rate", 0),
    "mean_label": Metric("mean label", 0, in_unit=True),
    "mean_prediction": Metric("mean prediction", 0, in_unit=True),
}
_COVERAGE = re.compile(r"coverage_p(\d+)(?:_(\d+))?")


def metric_named(name: str) -> Metric:
    """How a metric is shown: one of `METRICS`, or the coverage of a quantile, `coverage_p10` or `coverage_p2_5`.

    Raises:
      InputError: There is none of this name.
    """
    if name in METRICS:
        return METRICS[name]
    found = _COVERAGE.fullmatch(name)
    if found is None:
        raise InputError(f"there is no metric '{name}', known are {[*METRICS, 'coverage_p10']}")
    return Metric("coverage P" + ".".join(filter(None, found.groups())), 0, of_quantiles=True)


_NOTABLE_SHARE = 0.01
_MOST_DECIMALS, _LARGEST = 12, 1e15


@dataclass(frozen=True)
class Order:
    """What the metrics of an order (`ndcg`, `captured`, `captured_by_user`, `lift`) are of.

    Args:
      by: The column that rows were sorted by: `score` where the schema declares a ranking, else the core.
      k: How many rows of each user's list were looked at.
      users: By target, over how many users the mean NDCG is: those with two rows at least and a label above 0.
      left_out: By target, how many users it leaves out.
    """

    by: str
    k: int
    users: Mapping[str, int] = field(default_factory=dict, hash=False)
    left_out: Mapping[str, int] = field(default_factory=dict, hash=False)

    def to_text(self) -> str:
        """A line for people."""
        counts = ", ".join(
            f"{target} {count:,} of {count + self.left_out[target]:,}" for target, count in self.users.items()
        )
        lists = f"; NDCG and captured: the first {self.k} rows of each user; users with an NDCG: {counts}"
        return f"order by {self.by}" + (lists if counts else "")


class MetricRow(NamedTuple):
    """One metric of one target; `value` is NaN where the metric is undefined, and `note` then says why."""

    target: str
    kind: str
    metric: str
    value: float
    note: str = ""


@dataclass(frozen=True)
class Report:
    """The metrics of one model on one split.

    Args:
      rows: One entry per target and metric, in schema order.
      num_rows: How many rows the metrics were computed over.
      unit: The unit of the core target, if the schema names one.
      observed_rows: By target name, the number of rows where its label was observed, over which its metrics are; only
        targets where that is not all `num_rows`.
      out_of_vocabulary: By feature with a vocabulary, the share of its values that have no row of their own there. Much
        more than in the training rows: the encoder is stale.
    """

    rows: tuple[MetricRow, ...]
    num_rows: int
    unit: str | None = None
    observed_rows: Mapping[str, int] = field(default_factory=dict, hash=False)
    out_of_vocabulary: Mapping[str, float] = field(default_factory=dict, hash=False)
    order: Order | None = None

    def value(self, target: str, metric: str) -> float:
        """The value of one metric; NaN if it is undefined.

        Raises:
          InputError: The report has no such target or metric.
        """
        for row in self.rows:
            if (row.target, row.metric) == (target, metric):
                return row.value
        known = [f"{row.target}/{row.metric}" for row in self.rows]
        raise InputError(f"the report holds no metric '{metric}' of target '{target}', only {known}")

    def of_targets(self, names: Collection[str]) -> Report:
        """The same without the metrics of other targets."""
        return replace(self, rows=tuple(row for row in self.rows if row.target in names))

    def to_frame(self) -> pd.DataFrame:
        """A long table with the columns `target`, `kind`, `metric`, `value` (float64) and `note`."""
        return pd.DataFrame(list(self.rows), columns=list(MetricRow._fields)).astype({"value": np.float64})

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: `num_rows`, `observed_rows`, `unit`, `metrics`, `undefined`,
        `out_of_vocabulary` and `order`.

        `metrics` is `{target: {metric: value}}` with None for what is undefined, and `undefined` is
        `{target: {metric: reason}}` for exactly those.
        """
        metrics: dict[str, dict[str, float | None]] = {}
        undefined: dict[str, dict[str, str]] = {}
        for row in self.rows:
            metrics.setdefault(row.target, {})[row.metric] = None if np.isnan(row.value) else row.value
            if np.isnan(row.value):
                undefined.setdefault(row.target, {})[row.metric] = row.note
        return {
            "num_rows": self.num_rows,
            "observed_rows": dict(self.observed_rows),
            "unit": self.unit,
            "metrics": metrics,
            "undefined": undefined,
            "out_of_vocabulary": dict(self.out_of_vocabulary),
            "order": None if self.order is None else asdict(self.order),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], schema: Schema) -> Report:
        """The report that `to_dict` made the document of.

        Args:
          document: As `to_dict` gives it, also after a way through JSON.
          schema: Of the model that was judged; it says the kinds of the targets.

        Raises:
          InputError: The document is no report, or has a target or a metric that is not known; names it.
        """
        kinds = {target.name: target.kind for target in schema.targets}
        rows = []
        try:
            undefined = document["undefined"]
            for target, metrics in document["metrics"].items():
                if target not in kinds:
                    raise InputError(f"the report judges the target '{target}', but the schema has {list(kinds)}")
                for metric, value in metrics.items():
                    metric_named(metric)
                    known = (float(value), "") if value is not None else (np.nan, undefined[target][metric])
                    rows.append(MetricRow(target, kinds[target], metric, *known))
            return cls(
                tuple(rows),
                document["num_rows"],
                document["unit"],
                document["observed_rows"],
                document["out_of_vocabulary"],
                Order(**document["order"]) if document.get("order") else None,
            )
        except InputError:  # which is a ValueError
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"this is no report: {type(error).__name__} {error}") from error

    def to_text(self, *, digits: int = 4) -> str:
        """A table for people: a block per kind of target, one row per target, metrics as columns.

        Args:
          digits: Decimals of the metrics without a unit.
        """
        observed = ", ".join(f"{target} {count:,}" for target, count in self.observed_rows.items())
        blocks = [f"{self.num_rows:,} rows" + (f"; with an observed label: {observed}" if observed else "")]
        groups = [(row.kind, metric_named(row.metric).of_quantiles) for row in self.rows]
        for group in dict.fromkeys(groups):
            kind = group[0]
            rows = [row for row, of_row in zip(self.rows, groups, strict=True) if of_row == group]
            metrics = list(dict.fromkeys(row.metric for row in rows))
            unit = f" ({self.unit})" if self.unit and kind == "continuous" else ""
            table = [["quantiles" if group[1] else kind, *(metric_named(m).label for m in metrics)]]
            for target in dict.fromkeys(row.target for row in rows):
                values = {row.metric: row.value for row in rows if row.target == target}
                cells = [
                    format_value(values[m], decimals_of(m, values[m], kind, digits)) if m in values else "-"
                    for m in metrics
                ]
                table.append([target + unit, *cells])
            blocks.append(aligned(table))
        if self.order is not None:
            blocks.append(self.order.to_text())
        if self.out_of_vocabulary:
            blocks.append(self._vocabulary_line())
        reasons = [f"undefined: {r.target} {metric_named(r.metric).label}: {r.note}" for r in self.rows if r.note]
        return "\n\n".join([*blocks, *(["\n".join(reasons)] if reasons else [])])

    def _vocabulary_line(self) -> str:
        """The features with the largest shares of values out of vocabulary."""
        shares = sorted(self.out_of_vocabulary.items(), key=lambda item: -item[1])
        shown = [f"{name} {share:.1%}" for name, share in shares if share >= _NOTABLE_SHARE]
        if not shown:
            return f"out of vocabulary: less than {_NOTABLE_SHARE:.0%} of every feature's values"
        more = f" and {len(shown) - 8} more features" if len(shown) > 8 else ""
        return f"out of vocabulary (from {_NOTABLE_SHARE:.0%} of the values): {', '.join(shown[:8])}{more}"

    def __str__(self) -> str:
        return self.to_text()


def decimals_of(metric: str, value: float, kind: str, digits: int) -> int:
    """How many decimals to show: `digits`, but four significant ones of what is in the core's own unit."""
    if not (metric_named(metric).in_unit and kind == "continuous") or not np.isfinite(value) or value == 0:
        return digits
    return max(int(3 - np.floor(np.log10(abs(value)))), 1)


def format_value(value: float, decimals: int) -> str:
    """A metric's value for people; what a column of digits would be too long for has an exponent."""
    if np.isnan(value):
        return "undefined"
    return f"{value:.3e}" if decimals > _MOST_DECIMALS or abs(value) >= _LARGEST else f"{value:,.{decimals}f}"
