"""Whether predictions are as large as what happened."""

from __future__ import annotations

import math

from htlnet_tf.judging.reports import METRICS
from htlnet_tf.page.blocks import Block, Cell, Charts, Column, Folded, Heading, Section, Table, Text
from htlnet_tf.page.charts import Chart, Series, reliability_chart
from htlnet_tf.page.facts import Bin
from htlnet_tf.page.numbers import number_cell, share_text, unit_text
from htlnet_tf.page.run_inputs import RunInputs
from htlnet_tf.page.sections.quality import rows_of
from htlnet_tf.schema.targets import Target


def calibration_section(run: RunInputs) -> Section | None:
    """Pictures of reliability, the deciles of amounts, what a calibration changed, coverage of quantiles."""
    facts = run.known
    if not facts.calibration and not facts.quantiles and not facts.recalibration:
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
    if facts.recalibration:
        blocks += [Heading("Before and after the calibration"), _recalibration_table(run)]
    if facts.quantiles:
        blocks += [Heading("Coverage of the quantiles"), _quantiles_table(run)]
    return Section("calibration", "Calibration", blocks)


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
        title += f": {METRICS[found.metric].label} {found.value:.4f}"
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


def _recalibration_table(run: RunInputs) -> Table:
    columns = [Column("target", is_number=False), Column("error before ↓"), Column("error after ↓")]
    rows = []
    for each in run.known.recalibration:
        before, after = number_cell(each.before), number_cell(each.after)
        rows.append([Cell(each.target), before, after])
    return Table("Calibration error on the test rows", columns, rows)


def _quantiles_table(run: RunInputs) -> Table:
    columns = [Column("quantile", is_number=False), Column("labels that should lie below"), Column("that do")]
    rows = [
        [Cell(q.quantile), Cell(share_text(q.nominal), q.nominal), Cell(share_text(q.actual), q.actual)]
        for q in run.known.quantiles
    ]
    return Table("Test rows below the predicted quantiles", columns, rows)
