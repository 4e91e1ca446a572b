"""Whether predictions are as large as what happened."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from htlnet_tf.judging.reports import metric_named
from htlnet_tf.page.blocks import Block, Cell, Charts, Column, Folded, Heading, Section, Table, Text
from htlnet_tf.page.charts import Chart, Series, reliability_chart
from htlnet_tf.page.facts import Bin
from htlnet_tf.page.numbers import number_cell, share_text, unit_text
from htlnet_tf.page.run_inputs import RunInputs
from htlnet_tf.page.sections.quality import rows_of
from htlnet_tf.schema.targets import Target


class Recalibration(NamedTuple):
    """What a calibration fitted after the training has changed: a target's calibration error before and after."""

    target: str
    before: float
    after: float


class Quantile(NamedTuple):
    """A predicted quantile: the share of the labels that should lie below it, and the share that does."""

    quantile: str
    nominal: float
    actual: float


def calibration_section(run: RunInputs) -> Section | None:
    """Pictures of reliability, the deciles of amounts, what a calibration changed, coverage of quantiles."""
    facts = run.known
    changed, quantiles = _recalibrations(run), _quantiles(run)
    if not facts.calibration and not quantiles and not changed:
        return None
    blocks: list[Block] = []
    if facts.calibration:
        blocks.append(
            Text(
                "The test rows in the order of their prediction, in ten groups of equally many: on the dashed line "
                "what is predicted happens. Bars are one standard error up and down."
            )
        )
        by_target = [(t, [b for b in facts.calibration if b.target == t.name]) for t in run.schema.targets]
        blocks.append(Charts([_chart(run, target, bins) for target, bins in by_target if bins]))
        blocks.append(Folded("The groups as numbers", [_bins_table(t, bins) for t, bins in by_target if bins]))
    if changed:
        blocks += [Heading("Before and after the calibration"), _recalibration_table(changed)]
    if quantiles:
        blocks += [Heading("Coverage of the quantiles"), _quantiles_table(quantiles)]
    return Section("calibration", "Calibration", blocks)


def _recalibrations(run: RunInputs) -> list[Recalibration]:
    """The report's errors before and after."""
    found = []
    for row in run.report.rows if run.report is not None else ():
        if row.metric in ("calibration_error_before", "decile_error_before"):
            after = rows_of(run.report, row.target).get(row.metric.removesuffix("_before")) if run.report else None
            if after is not None:
                found.append(Recalibration(row.target, row.value, after.value))
    return found


def _quantiles(run: RunInputs) -> list[Quantile]:
    """The report's coverage."""
    found = []
    for row in run.report.rows if run.report is not None else ():
        named = re.fullmatch(r"coverage_p(\d+)(?:_(\d+))?", row.metric)
        if named is not None and not math.isnan(row.value):
            percent = ".".join(filter(None, named.groups()))
            found.append(Quantile(f"{row.target} P{percent}", float(percent) / 100, row.value))
    return found


def _chart(run: RunInputs, target: Target, bins: list[Bin]) -> Chart:
    errors = [math.nan if b.std_error is None else b.std_error for b in bins]
    series = Series(
        "groups of rows",
        [b.mean_prediction for b in bins],
        [b.mean_label for b in bins],
        dots=True,
        errors=errors,
    )
    rows = rows_of(run.report, target.name) if run.report is not None else {}
    found = next((rows[name] for name in ("calibration_error", "decile_error") if name in rows), None)
    title = target.name
    if found is not None and not math.isnan(found.value):
        title += f": {metric_named(found.metric).label} {found.value:.4f}"
    lowest, highest = bins[0], bins[-1]
    unit = getattr(target, "unit", None)
    says = (
        f"{title}. Lowest group: predicted {unit_text(lowest.mean_prediction, unit)}, happened "
        f"{unit_text(lowest.mean_label, unit)}; highest group: predicted {unit_text(highest.mean_prediction, unit)}, "
        f"happened {unit_text(highest.mean_label, unit)}"
    )
    return reliability_chart(title, [series], unit=unit or "", says=says)


def _bins_table(target: Target, bins: list[Bin]) -> Table:
    unit = getattr(target, "unit", None)
    of = f" ({unit})" if unit else ""
    columns = [
        Column("group", is_number=False),
        Column("rows"),
        Column(f"mean prediction{of}"),
        Column(f"mean label{of}"),
        Column("standard error"),
    ]
    rows = [
        [
            Cell(str(b.bin + 1), b.bin + 1),
            Cell(f"{b.rows:,}", b.rows),
            number_cell(b.mean_prediction, 5),
            number_cell(b.mean_label, 5),
            number_cell(b.std_error, 5),
        ]
        for b in bins
    ]
    return Table(target.name, columns, rows)


def _recalibration_table(changed: Sequence[Recalibration]) -> Table:
    columns = [Column("target", is_number=False), Column("error before ↓"), Column("error after ↓")]
    rows = []
    for each in changed:
        before, after = number_cell(each.before), number_cell(each.after)
        rows.append([Cell(each.target), before, after])
    return Table("Calibration error on the test rows", columns, rows)


def _quantiles_table(quantiles: Sequence[Quantile]) -> Table:
    columns = [Column("quantile", is_number=False), Column("labels that should lie below"), Column("that do")]
    rows = [
        [Cell(q.quantile), Cell(share_text(q.nominal), q.nominal), Cell(share_text(q.actual), q.actual)]
        for q in quantiles
    ]
    return Table("Test rows below the predicted quantiles", columns, rows)
