"""How good the predictions are, per target, beside those that need no model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from htlnet_tf.judging.reports import MetricRow, Report, metric_named
from htlnet_tf.page.blocks import Block, Cell, Column, Folded, Pairs, Section, Table, Tables, Text, Tile
from htlnet_tf.page.numbers import metric_about, metric_cell, metric_text, share_text
from htlnet_tf.page.run_inputs import RunInputs
from htlnet_tf.schema import Schema
from htlnet_tf.schema.targets import Target

_HEADLINES = {"binary": "auc", "multiclass": "macro_auc", "continuous": "nrmse"}
_BESIDE = {
    "binary": ("normalised_entropy", "calibration_error"),
    "multiclass": ("logloss", "accuracy"),
    "continuous": ("spearman", "gini", "level"),
}


def quality_section(run: RunInputs) -> Section | None:
    """The exact metrics of every target."""
    if run.report is None:
        return None
    trivial = trivial_reports(run)
    tables = [_target_table(target, run.report, trivial) for target in run.schema.targets]
    blocks: list[Block] = [
        Text(_intro(run.report, trivial)),
        Tables([table for table in tables if table is not None]),
        metrics_explained(row.metric for row in run.report.rows),
    ]
    return Section("quality", "Quality on the test rows", blocks)


def trivial_reports(run: RunInputs) -> dict[str, Report]:
    """By name, the reports of predictions that need no model."""
    return {name: Report.from_dict(document, run.schema) for name, document in run.known.trivial.items()}


def metrics_explained(metrics: Iterable[str]) -> Folded:
    """What the metrics are, for who opens it."""
    told = {metric_named(metric).label: metric_about(metric) for metric in dict.fromkeys(metrics)}
    return Folded("What the metrics are", [Pairs([(label, about) for label, about in told.items() if about])])


def tiles(run: RunInputs) -> list[Tile]:
    """The number to read first of each target, and what it has to be held against."""
    if run.report is None:
        return []
    found = []
    means = trivial_reports(run).get("mean")
    for target in run.schema.targets:
        rows = rows_of(run.report, target.name)
        headline = _HEADLINES[target.kind]
        if headline not in rows:
            continue
        beside = [_said(name, rows[name]) for name in _BESIDE[target.kind] if name in rows]
        if means is not None and target.kind == "continuous" and headline in rows_of(means, target.name):
            beside.insert(0, f"the mean has {metric_text(headline, means.value(target.name, headline), target.kind)}")
        label = f"{target.name}, {metric_named(headline).label} {metric_named(headline).arrow}"
        found.append(Tile(label, metric_text(headline, rows[headline].value, target.kind), ", ".join(beside)))
    return found


def rows_of(report: Report, target: str) -> dict[str, MetricRow]:
    """By metric, a target's rows of a report."""
    return {row.metric: row for row in report.rows if row.target == target}


def unit_of(schema: Schema, target: Target) -> str:
    """The unit of an amount, if it has one."""
    return getattr(target, "unit", None) or ""


def _said(metric: str, row: MetricRow) -> str:
    return f"{metric_named(metric).label} {metric_text(metric, row.value, row.kind)}"


def _intro(report: Report, trivial: Mapping[str, Report]) -> str:
    said = f"{report.num_rows:,} rows that the model was not trained on."
    for target, count in report.observed_rows.items():
        said += f" {target} was observed in {count:,} of them ({share_text(count / max(report.num_rows, 1))})."
    if trivial:
        said += " Beside it what needs no model: every row gets the training rows' mean, or 0. The best is marked."
    return said + " ↑ higher is better, ↓ lower is better."


def _target_table(target: Target, report: Report, trivial: Mapping[str, Report]) -> Table | None:
    reports = {"this model": report, **trivial}
    by_name = {name: rows_of(each, target.name) for name, each in reports.items()}
    shown = {name: rows for name, rows in by_name.items() if rows}
    if "this model" not in shown:
        return None
    unit = getattr(target, "unit", None)
    lines = []
    for metric in shown["this model"]:
        how = metric_named(metric)
        best = _best({name: rows[metric].value for name, rows in shown.items() if metric in rows}, how.better)
        label = " ".join(filter(None, [how.label, f"({unit})" if how.in_unit and unit else "", how.arrow]))
        line = [Cell(label)]
        for name, rows in shown.items():
            row = rows.get(metric)
            line.append(
                Cell("-") if row is None else metric_cell(metric, row.value, row.kind, row.note, is_best=name in best)
            )
        lines.append(line)
    columns = [Column("metric", is_number=False), *(Column(name) for name in shown)]
    core = ", the core" if target.kind == "continuous" and unit else ""
    return Table(f"{target.name} ({target.kind}{core})", columns, lines)


def _best(values: Mapping[str, float], better: int) -> set[str]:
    known = {name: better * value for name, value in values.items() if not math.isnan(value)}
    if not better or len(known) < 2:
        return set()
    top = max(known.values())
    return {name for name, value in known.items() if value == top} if len(set(known.values())) > 1 else set()
