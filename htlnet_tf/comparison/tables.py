"""The results as Markdown tables and as numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from htlnet_tf.comparison.runs import RunRecord
from htlnet_tf.comparison.significance import LEVEL, paired_tests
from htlnet_tf.comparison.variants import SUBJECT, Table
from htlnet_tf.judging.reports import Report, format_value, metric_named
from htlnet_tf.judging.summaries import summarise_reports
from htlnet_tf.schema import Continuous, Schema
from htlnet_tf.text_tables import markdown

Records = Mapping[str, Sequence[RunRecord]]

ORACLE = "oracle"
"""The row of the truth."""

_SIGNIFICANT, _AGAINST_REFERENCE = "†", "‡"


def runs_table(records: Records) -> pd.DataFrame:
    """Every run in a row: `variant`, `seed`, `parameters`, `epochs`, `best_epoch`, `seconds_per_epoch`,
    `training_seconds`, `failure`, and every metric as `{target}/{metric}`.
    """
    rows = []
    for record in (record for of_variant in records.values() for record in of_variant):
        costs = ("parameters", "epochs", "best_epoch", "seconds_per_epoch", "training_seconds")
        facts = ("variant", "seed", *costs, "failure")
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
    table: Table, records: Records, schema: Schema, constants: Mapping[str, Report] | None = None
) -> str:
    """One table of the results: a Markdown table per target, and one of what the variants cost.

    Args:
      table: Which variants, under which labels.
      records: The runs, by variant.
      schema: Gives the order of the targets.
      constants: By label, the metrics of what is not fitted: of the truth where it is known, of the mean, of zero.
    """
    reports = good_reports(records, table.labels)
    blocks = [f"## {table.title}"]
    summary = summarise_reports(as_lists(reports)) if reports else pd.DataFrame()
    tests = paired_tests(reports, SUBJECT, table.references) if SUBJECT in reports and len(reports) > 1 else None
    judged = set(summary["target"]) if reports else set()
    for target in (t for t in schema.targets if t.name in judged):
        unit = f" ({target.unit})" if isinstance(target, Continuous) and target.unit else ""
        blocks += [
            f"### {target.name}{unit}",
            markdown(_target_cells(target.name, table, summary, tests, constants or {})),
        ]
    diverged = [(label, v) for v, label in table.labels.items() if v in records and v not in reports]
    blocks += [_diverged(label, records[v]) for label, v in diverged]
    blocks += ["### Cost"]
    blocks += [markdown(cells) for cells in (_cost_cells(table, records), _reference_costs(table, records)) if cells]
    return "\n\n".join(blocks)


def legend(
    seeds: int,
    *,
    tested: bool,
    constants: Iterable[str] = (),
    references: Iterable[str] = (),
    without_means: Sequence[str] = (),
) -> str:
    """What the marks of the tables mean.

    Args:
      seeds: How many.
      tested: Whether there are p-values.
      constants: As for `table_markdown`.
      references: Which there are.
      without_means: Features of which these see little, see `fields_without_means`.
    """
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
    references = list(references)
    if tested:
        lines.append(
            f"p: two-sided paired t-test over the seeds of {SUBJECT} against the best other model, not corrected for "
            f"the number of tests; {_SIGNIFICANT} marks the better of the two where p <= {LEVEL}"
            + (": from two seeds, which is next to nothing" if seeds == 2 else "")
        )
        if references:
            lines.append(f"p, references and {_AGAINST_REFERENCE}: likewise against the best reference")
    if references:
        lines.append(
            "references: what one would take instead, on the same rows and columns; each on the targets it predicts"
        )
    if references and without_means:
        lines.append(
            f"of {', '.join(without_means)}, which have many values, the schema has no target's mean (`statistics`): "
            "references see little of them, where models have embeddings"
        )
    if "mean" in constants:
        lines.append("mean, zero: the same prediction for every row, the training rows' mean and 0")
    if ORACLE in constants:
        lines.append(
            "regret: expected LogLoss minus the truth's, in nats (steps), and expected squared error minus the truth's "
            "over var(y) (core), both without the labels' noise; the oracle predicts the truth"
        )
    return "; ".join(lines) + "."


def _target_cells(
    target: str, table: Table, summary: pd.DataFrame, tests: pd.DataFrame | None, constants: Mapping[str, Report]
) -> list[list[str]]:
    of_target = summary[summary["target"] == target]
    metrics = [m for m in dict.fromkeys(of_target["metric"]) if metric_named(m).is_tabled]
    rows = {(row["model"], row["metric"]): row for row in of_target.to_dict("records")}
    against = {} if tests is None else _best_others(tests, target, is_reference=False)
    beside = {} if tests is None else _best_others(tests, target, is_reference=True)
    cells = [["", *(f"{metric_named(m).label} {metric_named(m).arrow}".rstrip() for m in metrics)]]
    for label, report in constants.items():
        values = {row.metric: row.value for row in report.rows if row.target == target}
        if values:
            # Regret is what a prediction loses against the truth; of constants it was not computed.
            values |= {"regret": 0.0} if label == ORACLE else {}
            cells.append([label, *(format_value(values[m], 4) if m in values else "-" for m in metrics)])
    marks = [(_SIGNIFICANT, against), (_AGAINST_REFERENCE, beside)]
    groups = (("*references*", {name: name for name in table.references}), ("*models*", table.rows))
    for heading, group in groups:
        shown = {label: variant for label, variant in group.items() if (variant, metrics[0]) in rows}
        if shown and table.references:
            cells.append([heading, *("" for _ in metrics)])
        for label, variant in shown.items():
            cells.append([label, *(_cell(rows.get((variant, m)), {k: t.get(m) for k, t in marks}) for m in metrics)])
    for label, found in (("p", against), ("p, references", beside)):
        if any(np.isfinite(test["p_value"]) for test in found.values()):
            cells.append([label, *(_p_value(found[m]["p_value"]) if m in found else "" for m in metrics)])
    return cells


def _best_others(tests: pd.DataFrame, target: str, *, is_reference: bool) -> dict[str, dict]:
    """By metric, the test of the subject against the best other model, or the best reference."""
    of_target = tests[(tests["target"] == target) & tests["best_other"] & (tests["is_reference"] == is_reference)]
    return {row["metric"]: row for row in of_target.to_dict("records")}


def _cell(row: Mapping | None, tests: Mapping[str, Mapping | None]) -> str:
    """A mean with its spread, and by mark the tests that it is the better side of; a dash for what was not judged."""
    if row is None:
        return "-"
    text = format_value(row["mean"], 4)
    if np.isfinite(row["std"]):
        text += f" ± {format_value(row['std'], 4)}"
    text = f"**{text}**" if row["best"] else text
    won = ""
    for mark, test in tests.items():
        if test is not None and test["p_value"] <= LEVEL:
            ahead = test["difference"] * metric_named(row["metric"]).better > 0
            won += mark if row["model"] == test["subject" if ahead else "other"] else ""
    return f"{text} {won}".rstrip()


def _p_value(value: float) -> str:
    return "-" if np.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _diverged(label: str, runs: Sequence[RunRecord]) -> str:
    failures = [run.failure for run in runs if run.failure]
    return f"{label}: {len(failures)} of {len(runs)} runs diverged, so it has no row ({failures[0]})."


def _cost_cells(table: Table, records: Records) -> list[list[str]]:
    """What the models cost; nothing if there are none."""
    cells = [["", "parameters", "s / epoch", "epochs", "best epoch", "s in all"]]
    for label, variant in table.rows.items():
        runs = _good_runs(records, variant)
        if runs:
            means = [_mean_cost(runs, n) for n in ("seconds_per_epoch", "epochs", "best_epoch")]
            cells.append([label, f"{runs[0].parameters:,}", *(f"{mean:.2f}" for mean in means), _seconds(runs)])
    return cells if table.rows else []


def _reference_costs(table: Table, records: Records) -> list[list[str]]:
    """What the references cost; nothing if there are none."""
    cells = [["", "leaves, coefficients", "trees, iterations", "s in all"]]
    for name in table.references:
        runs = _good_runs(records, name)
        if runs:
            means = [_mean_cost(runs, n) for n in ("parameters", "epochs")]
            cells.append([name, *(f"{mean:,.0f}" for mean in means), _seconds(runs)])
    return cells if table.references else []


def _good_runs(records: Records, variant: str) -> list[RunRecord]:
    return [record for record in records.get(variant, ()) if record.report is not None]


def _mean_cost(runs: Sequence[RunRecord], name: str) -> float:
    return float(np.mean([getattr(run, name) for run in runs]))


def _seconds(runs: Sequence[RunRecord]) -> str:
    told = [run.training_seconds for run in runs if run.training_seconds is not None]
    return f"{np.mean(told):.1f}" if told else "-"
