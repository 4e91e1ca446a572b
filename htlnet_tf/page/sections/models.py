"""Models side by side: their metrics as tables and pictures, the tests, what they cost, every run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from htlnet_tf.judging.reports import metric_named
from htlnet_tf.page.blocks import Block, Cell, Charts, Column, Folded, Section, Table, Text, Tile
from htlnet_tf.page.charts import Chart
from htlnet_tf.page.comparison_inputs import ComparedTable, ComparisonInputs
from htlnet_tf.page.dot_charts import DotRow, dot_chart
from htlnet_tf.page.numbers import metric_text, number_cell
from htlnet_tf.page.sections.quality import metrics_explained, rows_of
from htlnet_tf.schema.targets import Target

_PICTURED = {
    "binary": ("auc", "group_auc", "logloss"),
    "multiclass": ("macro_auc", "logloss"),
    "continuous": ("nrmse", "spearman", "gini", "decile_error"),
}
_COSTS = {
    "parameters": ("parameters", 0),
    "seconds_per_epoch": ("s / epoch", 2),
    "epochs": ("epochs", 2),
    "best_epoch": ("best epoch", 2),
    "training_seconds": ("s in all", 1),
}


def models_sections(comparison: ComparisonInputs) -> list[Section]:
    """A section for each table of the results."""
    return [_table_section(comparison, table) for table in comparison.tables]


def model_tiles(comparison: ComparisonInputs) -> list[Tile]:
    """Of each target, the best mean in its first metric and whose it is."""
    found = []
    for target in comparison.schema.targets:
        metric = _PICTURED[target.kind][0]
        rows = comparison.summary
        rows = rows[(rows["target"] == target.name) & (rows["metric"] == metric) & rows["mean"].notna()]
        if rows.empty:
            continue
        best = rows.iloc[int(np.argmax(rows["mean"].to_numpy(np.float64) * metric_named(metric).better))]
        labels = {v: label for table in comparison.tables for v, label in table.labels.items()}
        label = f"best {metric_named(metric).label} {metric_named(metric).arrow} of {target.name}"
        beside = labels.get(str(best["model"]), str(best["model"]))
        found.append(Tile(label, metric_text(metric, float(best["mean"]), target.kind), beside))
    return found


def costs_section(comparison: ComparisonInputs) -> Section | None:
    """What the variants cost, and every run by itself."""
    runs = comparison.runs
    known = [name for name in _COSTS if name in runs and runs[name].notna().any()]
    if not known:
        return None
    references = {name for table in comparison.tables for name in table.references}
    lines = []
    for variant, of_variant in runs.groupby("variant", sort=False):
        means = {name: of_variant[name].mean() for name in known}
        cells = [_cost(name, means[name], variant in references) for name in known]
        lines.append([Cell(str(variant)), *cells])
    columns = [Column("model", is_number=False), *(Column(_COSTS[name][0]) for name in known)]
    said = "Means over the runs; of references, parameters are leaves or coefficients, and epochs trees or iterations."
    blocks: list[Block] = [Text(said), Table("Cost", columns, lines), Folded("Every run", [_runs_table(comparison)])]
    return Section("cost", "What they cost", blocks)


def _cost(name: str, value: float, is_reference: bool) -> Cell:
    if name in ("seconds_per_epoch", "best_epoch") and is_reference:
        return Cell("-")
    return number_cell(value, _COSTS[name][1])


def _table_section(comparison: ComparisonInputs, table: ComparedTable) -> Section:
    summary = comparison.summary[comparison.summary["table"] == table.name]
    targets = [t for t in comparison.schema.targets if (summary["target"] == t.name).any()]
    runs = int(summary["n"].max()) if len(summary) else 0
    said = "Metrics on the test rows, the best marked."
    said += f" Mean ± sample standard deviation over {runs} seeds." if runs > 1 else ""
    blocks: list[Block] = [Text(f"{said} ↑ higher is better, ↓ lower is better.")]
    missing = [label for variant, label in table.labels.items() if variant not in set(summary["model"])]
    if missing:
        blocks.append(Text(f"Without a row, for a run diverged or is not there: {', '.join(missing)}."))
    for target in targets:
        blocks.append(_target_table(comparison, table, target, summary[summary["target"] == target.name]))
    blocks.append(metrics_explained(str(metric) for metric in summary["metric"]))
    charts = [chart for target in targets for chart in _dot_charts(comparison, table, target, summary)]
    if charts:
        said = "Means over the seeds with their standard deviation, single runs pale, the best in orange"
        said += "; squares are references." if table.references else "."
        blocks += [Text(said), Charts(charts)]
    tests = comparison.tests
    if tests is not None and (tests["table"] == table.name).any():
        blocks.append(_tests(tests[tests["table"] == table.name], table))
    return Section(table.name, table.title, blocks)


def _target_table(comparison: ComparisonInputs, table: ComparedTable, target: Target, summary: pd.DataFrame) -> Table:
    metrics = [str(m) for m in dict.fromkeys(summary["metric"]) if metric_named(str(m)).is_tabled]
    rows = {(str(row["model"]), str(row["metric"])): row for row in summary.to_dict("records")}
    lines: list[list[Cell]] = []
    for name, report in comparison.constants.items():
        values = rows_of(report, target.name)
        if values:
            lines.append([Cell(name), *(_constant(values.get(metric), target, metric) for metric in metrics)])
    models = [v for v in table.labels if v not in table.references]
    for heading, variants in (("references", list(table.references)), ("models", models)):
        shown = [v for v in variants if (v, metrics[0]) in rows] if metrics else []
        if shown and (table.references or comparison.constants):
            lines.append([Cell(heading)])
        lines += [[Cell(table.labels[v]), *(_mean(rows.get((v, m)), target) for m in metrics)] for v in shown]
    if lines and comparison.constants:
        lines.insert(0, [Cell("without a model")])
    columns = [Column("model", is_number=False)]
    columns += [Column(f"{metric_named(m).label} {metric_named(m).arrow}".rstrip()) for m in metrics]
    unit = getattr(target, "unit", None)
    return Table(f"{target.name} ({unit})" if unit else target.name, columns, lines)


def _constant(row: Any, target: Target, metric: str) -> Cell:
    if row is None:
        return Cell("-")
    known = None if math.isnan(row.value) else row.value
    return Cell(metric_text(metric, row.value, target.kind), known)


def _mean(row: Mapping[Any, Any] | None, target: Target) -> Cell:
    if row is None:
        return Cell("-")
    metric, mean, std = str(row["metric"]), float(row["mean"]), float(row["std"])
    spread = "" if math.isnan(std) else f"± {metric_text(metric, std, target.kind)}"
    known = None if math.isnan(mean) else mean
    return Cell(metric_text(metric, mean, target.kind), known, aside=spread, is_best=bool(row["best"]))


def _dot_charts(
    comparison: ComparisonInputs, table: ComparedTable, target: Target, summary: pd.DataFrame
) -> list[Chart]:
    charts = []
    for metric in _PICTURED[target.kind]:
        rows = summary[(summary["target"] == target.name) & (summary["metric"] == metric)]
        by_model = {str(row["model"]): row for row in rows.to_dict("records")}
        column = f"{target.name}/{metric}"
        dots = []
        for variant in (v for v in table.labels if v in by_model):
            row = by_model[variant]
            runs = comparison.runs
            single = runs.loc[runs["variant"] == variant, column].tolist() if column in runs else []
            is_reference = variant in table.references
            label = table.labels[variant]
            dots.append(DotRow(label, row["mean"], row["std"], single, bool(row["best"]), is_reference))
        if len(dots) > 1:
            title = f"{target.name}: {metric_named(metric).label} {metric_named(metric).arrow}"
            charts.append(dot_chart(title, dots, x_label=metric_named(metric).label))
    return charts


def _tests(tests: pd.DataFrame, table: ComparedTable) -> Folded:
    subject = str(tests["subject"].iloc[0])
    lines = []
    for row in tests[tests["best_other"]].to_dict("records"):
        metric = metric_named(str(row["metric"]))
        difference, p = float(row["difference"]), float(row["p_value"])
        is_ahead = difference * metric.better > 0
        p_text = "undefined" if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"
        other = table.labels.get(str(row["other"]), str(row["other"]))
        lines.append(
            [
                Cell(str(row["target"])),
                Cell(f"{metric.label} {metric.arrow}"),
                Cell(other + (" (reference)" if row["is_reference"] else "")),
                Cell(f"{difference:+.4f}", difference, note="better" if is_ahead else "worse" if difference else ""),
                Cell(p_text, None if math.isnan(p) else p),
            ]
        )
    columns = [Column(label, is_number=False) for label in ("target", "metric", "against the best other")]
    columns += [Column(f"{table.labels.get(subject, subject)} minus it"), Column("p")]
    said = "Two-sided paired t-tests over the seeds, not corrected for their number."
    label = f"Tests of {table.labels.get(subject, subject)} against the best other model and the best reference"
    return Folded(label, [Text(said), Table("Tests", columns, lines)])


def _runs_table(comparison: ComparisonInputs) -> Table:
    wanted = [(t, _PICTURED[t.kind][0]) for t in comparison.schema.targets]
    known = [(t, m) for t, m in wanted if f"{t.name}/{m}" in comparison.runs]
    lines: list[Sequence[Cell]] = []
    for run in comparison.runs.to_dict("records"):
        failure = run.get("failure")
        cells = [number_cell(float(run[f"{t.name}/{m}"])) for t, m in known]
        note = failure if isinstance(failure, str) and failure else ""
        lines.append([Cell(str(run["variant"]), note=note), Cell(str(run["seed"]), float(run["seed"])), *cells])
    columns = [Column("model", is_number=False), Column("seed")]
    columns += [Column(f"{t.name}: {metric_named(m).label} {metric_named(m).arrow}") for t, m in known]
    return Table("Every run", columns, lines)
