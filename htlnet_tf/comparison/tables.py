"""The results as Markdown tables and as numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from htlnet_tf.comparison.runs import RunRecord
from htlnet_tf.comparison.significance import LEVEL, paired_tests
from htlnet_tf.comparison.variants import SUBJECT, Table
from htlnet_tf.judging.reports import METRICS, Report, format_value
from htlnet_tf.judging.summaries import summarise_reports
from htlnet_tf.schema import Continuous, Schema
from htlnet_tf.text_tables import markdown

Records = Mapping[str, Sequence[RunRecord]]

ORACLE = "oracle"
"""The row of the truth."""

_SIGNIFICANT = "†"


def runs_table(records: Records) -> pd.DataFrame:
    """Every run in a row: `variant`, `seed`, `parameters`, `epochs`, `best_epoch`, `seconds_per_epoch`, `failure`, and
    every metric as `{target}/{metric}`.
    """
    rows = []
    for record in (record for of_variant in records.values() for record in of_variant):
        facts = ("variant", "seed", "parameters", "epochs", "best_epoch", "seconds_per_epoch", "failure")
        metrics = {} if record.report is None else {f"{r.target}/{r.metric}": r.value for r in record.report.rows}
        rows.append({name: getattr(record, name) for name in facts} | metrics)
    return pd.DataFrame(rows)


def good_reports(records: Records, variants: Iterable[str]) -> dict[str, dict[int, Report]]:
    """By variant, by seed, the reports of those none of whose runs diverged."""
    reports = {v: {r.seed: r.report for r in records[v] if r.report is not None} for v in variants if v in records}
    return {v: by_seed for v, by_seed in reports.items() if by_seed and len(by_seed) == len(records[v])}


def as_lists(reports: Mapping[str, Mapping[int, Report]]) -> dict[str, list[Report]]:
    """By variant, the reports without their seeds."""
    return {variant: list(by_seed.values()) for variant, by_seed in reports.items()}


def table_markdown(
    table: Table, records: Records, schema: Schema, references: Mapping[str, Report] | None = None
) -> str:
    """One table of the results: a Markdown table per target, and one of what the variants cost.

    Args:
      table: Which variants, under which labels.
      records: The runs, by variant.
      schema: Gives the order of the targets.
      references: By label, the metrics of what is no model: of the truth where it is known, of the mean, of zero.
    """
    reports = good_reports(records, table.rows.values())
    blocks = [f"## {table.title}"]
    summary = summarise_reports(as_lists(reports)) if reports else pd.DataFrame()
    tests = paired_tests(reports, SUBJECT) if SUBJECT in reports and len(reports) > 1 else None
    for target in schema.targets if reports else ():
        unit = f" ({target.unit})" if isinstance(target, Continuous) and target.unit else ""
        blocks += [
            f"### {target.name}{unit}",
            markdown(_target_cells(target.name, table, summary, tests, references or {})),
        ]
    diverged = [label for label, v in table.rows.items() if v in records and v not in reports]
    blocks += [_diverged(label, records[table.rows[label]]) for label in diverged]
    blocks += ["### Cost", markdown(_cost_cells(table, records))]
    return "\n\n".join(blocks)


def legend(seeds: int, *, tested: bool, references: Iterable[str] = ()) -> str:
    """What the marks of the tables mean."""
    lines = [
        "↑ higher is better, ↓ lower is better; the best in bold",
        "NRMSE: RMSE / std(y), NMAE: MAE / mean|y|, GAUC: AUC per user, weighted by rows, XAUC: share of the pairs of "
        "rows in the right order, Gini: of the core along the ranking, over that of the perfect one, deciles: mean "
        "distance of mean prediction and mean label over ten groups of rows by prediction, over mean|y|, level: total "
        "predicted over total actual, negative: share of the predictions below 0, ECE: as deciles, of a probability, "
        "NE: LogLoss over that of the base rate",
    ]
    if seeds > 1:
        lines.append(f"mean ± sample standard deviation over {seeds} seeds")
    if tested:
        lines.append(
            f"p: two-sided paired t-test over the seeds of {SUBJECT} against the best other row, not corrected for the "
            f"number of tests; {_SIGNIFICANT} marks the better of the two where p <= {LEVEL}"
            + (": from two seeds, which is next to nothing" if seeds == 2 else "")
        )
    if "mean" in references:
        lines.append("mean, zero: the same prediction for every row, the training rows' mean and 0")
    if ORACLE in references:
        lines.append(
            "regret: expected LogLoss minus the truth's, in nats (steps), and expected squared error minus the truth's "
            "over var(y) (core), both without the labels' noise; the oracle predicts the truth"
        )
    return "; ".join(lines) + "."


def _target_cells(
    target: str, table: Table, summary: pd.DataFrame, tests: pd.DataFrame | None, references: Mapping[str, Report]
) -> list[list[str]]:
    of_target = summary[summary["target"] == target]
    metrics = [m for m in dict.fromkeys(of_target["metric"]) if METRICS[m].is_tabled]
    rows = {(row["model"], row["metric"]): row for row in of_target.to_dict("records")}
    against = {} if tests is None else _best_others(tests, target)
    cells = [["", *(f"{METRICS[m].label} {METRICS[m].arrow}".rstrip() for m in metrics)]]
    for label, report in references.items():
        values = {row.metric: row.value for row in report.rows if row.target == target}
        if values:
            # Regret is what a prediction loses against the truth; of constants it was not computed.
            values |= {"regret": 0.0} if label == ORACLE else {}
            cells.append([label, *(format_value(values[m], 4) if m in values else "-" for m in metrics)])
    for label, variant in table.rows.items():
        if (variant, metrics[0]) in rows:
            cells.append([label, *(_cell(rows[variant, m], against.get(m)) for m in metrics)])
    if any(np.isfinite(test["p_value"]) for test in against.values()):
        cells.append(["p", *(_p_value(against[m]["p_value"]) if m in against else "" for m in metrics)])
    return cells


def _best_others(tests: pd.DataFrame, target: str) -> dict[str, dict]:
    """By metric, the test of the subject against the best other."""
    of_target = tests[(tests["target"] == target) & tests["best_other"]]
    return {row["metric"]: row for row in of_target.to_dict("records")}


def _cell(row: Mapping, test: Mapping | None) -> str:
    text = format_value(row["mean"], 4)
    if np.isfinite(row["std"]):
        text += f" ± {format_value(row['std'], 4)}"
    text = f"**{text}**" if row["best"] else text
    if test is not None and test["p_value"] <= LEVEL:
        ahead = test["difference"] * METRICS[row["metric"]].better > 0
        text += f" {_SIGNIFICANT}" if row["model"] == test["subject" if ahead else "other"] else ""
    return text


def _p_value(value: float) -> str:
    return "-" if np.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _diverged(label: str, runs: Sequence[RunRecord]) -> str:
    failures = [run.failure for run in runs if run.failure]
    return f"{label}: {len(failures)} of {len(runs)} runs diverged, so it has no row ({failures[0]})."


def _cost_cells(table: Table, records: Records) -> list[list[str]]:
    cells = [["", "parameters", "s / epoch", "epochs", "best epoch"]]
    for label, variant in table.rows.items():
        runs = [record for record in records.get(variant, ()) if record.report is not None]
        if runs:
            means = [np.mean([getattr(r, n) for r in runs]) for n in ("seconds_per_epoch", "epochs", "best_epoch")]
            cells.append([label, f"{runs[0].parameters:,}", *(f"{mean:.2f}" for mean in means)])
    return cells
