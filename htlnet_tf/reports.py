"""What a model scored on a split, and tables that set models side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Union

import numpy as np
import pandas as pd

from htlnet_tf.errors import InputError

if TYPE_CHECKING:
    from htlnet_tf.schema import Schema


class Metric(NamedTuple):
    """How a metric is shown: its label, where `better` is (1: higher, -1: lower, 0: neither), if it is `in_unit`s."""

    label: str
    better: int
    in_unit: bool = False

    @property
    def arrow(self) -> str:
        """The direction that is better: `↑`, `↓`, or nothing."""
        return {1: "↑", -1: "↓", 0: ""}[self.better]

    @property
    def is_compared(self) -> bool:
        """Whether models are compared by it: it has a better direction and no unit."""
        return self.better != 0 and not self.in_unit


METRICS: dict[str, Metric] = {
    "auc": Metric("AUC", 1),
    "group_auc": Metric("GAUC", 1),
    "macro_auc": Metric("macro AUC", 1),
    "logloss": Metric("LogLoss", -1),
    "accuracy": Metric("accuracy", 1),
    "nrmse": Metric("NRMSE", -1),
    "nmae": Metric("NMAE", -1),
    "spearman": Metric("Spearman", 1),
    "gini": Metric("Gini", 1),
    "xauc": Metric("XAUC", 1),
    "regret": Metric("regret", -1),
    "rmse": Metric("RMSE", -1, in_unit=True),
    "mae": Metric("MAE", -1, in_unit=True),
    "base_rate": Metric("base rate", 0),
    "mean_label": Metric("mean label", 0, in_unit=True),
    "mean_prediction": Metric("mean prediction", 0, in_unit=True),
}


_NOTABLE_SHARE = 0.01


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

    def to_frame(self) -> pd.DataFrame:
        """A long table with the columns `target`, `kind`, `metric`, `value` (float64) and `note`."""
        return pd.DataFrame(list(self.rows), columns=list(MetricRow._fields)).astype({"value": np.float64})

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: `num_rows`, `observed_rows`, `unit`, `metrics`, `undefined` and
        `out_of_vocabulary`.

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
                    if metric not in METRICS:
                        raise InputError(f"the report holds an unknown metric '{metric}', known are {list(METRICS)}")
                    known = (float(value), "") if value is not None else (np.nan, undefined[target][metric])
                    rows.append(MetricRow(target, kinds[target], metric, *known))
            return cls(
                tuple(rows),
                document["num_rows"],
                document["unit"],
                document["observed_rows"],
                document["out_of_vocabulary"],
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
        for kind in dict.fromkeys(row.kind for row in self.rows):
            rows = [row for row in self.rows if row.kind == kind]
            metrics = list(dict.fromkeys(row.metric for row in rows))
            unit = f" ({self.unit})" if self.unit and kind == "continuous" else ""
            table = [[kind, *(METRICS[m].label for m in metrics)]]
            for target in dict.fromkeys(row.target for row in rows):
                values = {metric: self.value(target, metric) for metric in metrics}
                cells = [
                    format_value(value, _decimals(metric, value, kind, digits)) for metric, value in values.items()
                ]
                table.append([target + unit, *cells])
            blocks.append(_align(table, left=1))
        if self.out_of_vocabulary:
            blocks.append(self._vocabulary_line())
        reasons = [f"undefined: {r.target} {METRICS[r.metric].label}: {r.note}" for r in self.rows if r.note]
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


Reports = Mapping[str, Union[Report, Sequence[Report]]]  # one report per model, or one per run (seed) of each model


def reports_per_model(reports: Reports) -> dict[str, list[Report]]:
    """The list of runs of every model, also where a model came with a single report.

    Raises:
      InputError: There is nothing to compare, or the reports were made over different numbers of rows.
    """
    runs = {str(model): [r] if isinstance(r, Report) else list(r) for model, r in reports.items()}
    if not runs or not all(runs.values()):
        counts = {model: len(rs) for model, rs in runs.items()}
        raise InputError(f"at least one report per model is needed, but the numbers of reports are {counts}")
    sizes = {model: sorted({r.num_rows for r in rs}) for model, rs in runs.items()}
    if len({size for s in sizes.values() for size in s}) > 1:
        raise InputError(f"models can only be compared on the same rows, but the numbers of rows are {sizes}")
    return runs


def summarise_reports(reports: Reports) -> pd.DataFrame:
    """Mean and spread of every metric of every model, as numbers.

    Args:
      reports: One report per model name, or the list of the reports of its runs (seeds).

    Returns:
      A long table with the columns `target`, `kind`, `metric`, `model`, `mean`, `std` (sample standard deviation over
      the runs, NaN for one run), `n` (the number of runs) and `best` (whether no model has a better mean; never true
      with one model, or for a metric without a better direction). The mean is NaN if any run's value is undefined.

    Raises:
      InputError: There is nothing to compare, or the reports were made over different numbers of rows.
    """
    runs = reports_per_model(reports)
    frames = [r.to_frame().assign(model=model) for model, rs in runs.items() for r in rs]
    keys = ["target", "kind", "metric", "model"]
    grouped = pd.concat(frames, ignore_index=True).groupby(keys, sort=False)["value"]
    # A mean over the runs that happen to be defined would set different things side by side.
    table = grouped.agg(mean=lambda v: v.mean(skipna=False), std=lambda v: v.std(skipna=False), n="size").reset_index()
    # A metric that only a later model has was met last, but belongs to its target.
    position = {target: i for i, target in enumerate(table["target"].unique())}
    table = table.sort_values("target", key=lambda names: names.map(position), kind="stable", ignore_index=True)
    score = table["mean"] * table["metric"].map({name: metric.better for name, metric in METRICS.items()})
    best = score.groupby([table["target"], table["metric"]]).transform("max")
    directed = table["metric"].map({name: metric.better != 0 for name, metric in METRICS.items()})
    return table.assign(best=(score == best) & directed & (len(runs) > 1))


def compare_reports(reports: Reports, *, digits: int = 4) -> pd.DataFrame:
    """A table for people that sets models side by side.

    Args:
      reports: One report per model name, or the list of the reports of its runs (seeds).
      digits: Decimals of the metrics without a unit.

    Returns:
      Text cells, indexed by `target` and `metric` (its label and an arrow to where better is), one column per model. A
      cell is the mean, with ` ± ` the sample standard deviation if there are several runs (the column then states n),
      and ` *` if it is the best. It is `undefined` if that is so in any run, and `-` if the model has no such metric.

    Raises:
      InputError: As for `summarise_reports`, which gives the same as numbers.
    """
    summary = summarise_reports(reports)
    runs = reports_per_model(reports)
    columns = {model: f"{model} (n={len(rs)})" if len(rs) > 1 else model for model, rs in runs.items()}
    units = {target: r.unit for rs in runs.values() for r in rs for target, kind, *_ in r.rows if kind == "continuous"}
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for row in summary.to_dict("records"):
        target, metric = row["target"], METRICS[row["metric"]]
        decimals = _decimals(row["metric"], row["mean"], row["kind"], digits)
        text = format_value(row["mean"], decimals)
        if not np.isnan(row["std"]):
            text += f" ± {format_value(row['std'], decimals)}"
        unit = f"({units[target]})" if metric.in_unit and units.get(target) else ""
        label = " ".join(filter(None, [metric.label, unit, metric.arrow]))
        cells.setdefault((target, label), {})[columns[row["model"]]] = text + (" *" if row["best"] else "")
    index = pd.MultiIndex.from_tuples(list(cells), names=["target", "metric"])
    rows = [[c.get(column, "-") for column in columns.values()] for c in cells.values()]
    return pd.DataFrame(rows, index=index, columns=list(columns.values()))


def comparison_text(reports: Reports, *, digits: int = 4) -> str:
    """`compare_reports` as an aligned text table with a legend; arguments and errors are the same."""
    table = compare_reports(reports, digits=digits)
    lines: list[list[str]] = [["target", "metric", *table.columns]]
    previous = None
    for (target, label), cells in zip(table.index, table.to_numpy().tolist(), strict=True):
        # The marker's column is kept free in every cell, so that the digits stand below each other.
        padded = [cell if cell.endswith(" *") else f"{cell}  " for cell in cells]
        lines.append([target if target != previous else "", label, *padded])
        previous = target
    legend = "↑ higher is better, ↓ lower is better, * best"
    if any(" ± " in cell for row in lines for cell in row):
        legend += "; mean ± sample standard deviation over n runs"
    return f"{_align(lines, left=2)}\n\n{legend}"


def _decimals(metric: str, value: float, kind: str, digits: int) -> int:
    """How many decimals to show: `digits`, but four significant ones of what is in the core's own unit."""
    if not (METRICS[metric].in_unit and kind == "continuous") or not np.isfinite(value) or value == 0:
        return digits
    return int(np.clip(3 - np.floor(np.log10(abs(value))), 1, 12))


def format_value(value: float, decimals: int) -> str:
    """A metric's value for people."""
    return "undefined" if np.isnan(value) else f"{value:,.{decimals}f}"


def _align(table: Sequence[Sequence[str]], *, left: int) -> str:
    """Columns padded to their widest cell, the first `left` of them to the left; a rule below the header."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for row in table:
        cells = zip(row, widths, strict=True)
        lines.append("  ".join(c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(cells)).rstrip())
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])
