"""Calibration and learning of several models in one picture each."""

from __future__ import annotations

import pandas as pd

from htlnet_tf.judging.reports import metric_named
from htlnet_tf.page.blocks import Block, Charts, Section, Text
from htlnet_tf.page.charts import COLOURS, Chart, Series, line_chart, reliability_chart
from htlnet_tf.page.comparison_inputs import ComparisonInputs
from htlnet_tf.page.sections.learning import gradient_blocks
from htlnet_tf.schema.targets import Target

_FOLLOWED = {"binary": "auc", "multiclass": "macro_auc", "continuous": "nrmse"}


def compared_calibration(comparison: ComparisonInputs) -> Section | None:
    """One picture of reliability per target, the first models as lines: more of them could not be told apart."""
    shown = list(comparison.calibration)[: len(COLOURS)]
    if not shown:
        return None
    charts = [_reliability(comparison, target, shown) for target in comparison.schema.targets]
    said = (
        "The test rows in the order of their prediction, in ten groups of equally many, means over the seeds: on the "
        "dashed line what is predicted happens."
    )
    said += _left_out(len(comparison.calibration))
    return Section("calibration", "Calibration", [Text(said), Charts([chart for chart in charts if chart is not None])])


def compared_learning(comparison: ComparisonInputs) -> Section | None:
    """The validations of each model's first run, and gradients where they are kept."""
    blocks: list[Block] = []
    shown = list(comparison.histories)[: len(COLOURS)]
    if shown:
        blocks.append(Text(f"Validations of each model's first run.{_left_out(len(comparison.histories))}"))
        titles = {"val_relative_loss": "relative loss ↓"}
        for target in comparison.schema.targets:
            metric = metric_named(_FOLLOWED[target.kind])
            titles[f"val_{target.name}_{_FOLLOWED[target.kind]}"] = f"{target.name}: {metric.label} {metric.arrow}"
        blocks.append(Charts([c for column, title in titles.items() for c in _curve(comparison, shown, column, title)]))
    targets = [t.name for t in comparison.schema.targets]
    for number, (name, gradients) in enumerate(comparison.gradients.items()):
        blocks += gradient_blocks(targets, gradients, heading=f"Gradients of {name}", explained=number == 0)
    return Section("learning", "Learning", blocks) if blocks else None


def _left_out(count: int) -> str:
    return f" The first {len(COLOURS)} of {count} are shown." if count > len(COLOURS) else ""


def _reliability(comparison: ComparisonInputs, target: Target, shown: list[str]) -> Chart | None:
    series = []
    for colour, variant in zip(COLOURS, shown, strict=False):
        table = comparison.calibration[variant]
        bins = table[table["target"] == target.name]
        if len(bins):
            x, y = (bins[name].astype(float).tolist() for name in ("mean_prediction", "mean_label"))
            series.append(Series(variant, x, y, colour, dots=True))
    unit = getattr(target, "unit", None)
    return reliability_chart(target.name, series, unit=unit or "") if series else None


def _curve(comparison: ComparisonInputs, shown: list[str], column: str, title: str) -> list[Chart]:
    series = []
    for colour, variant in zip(COLOURS, shown, strict=False):
        history: pd.DataFrame = comparison.histories[variant]
        if column in history:
            values = history[column].astype(float).tolist()
            x = [float(i) for i in range(1, len(values) + 1)]
            series.append(Series(variant, x, values, colour, dots=len(values) <= 30))
    return [line_chart(title, series, x_label="validation", counted=True)] if series else []
