"""The reports of several models side by side: means, spreads, and which is the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Union

import numpy as np
import pandas as pd

from htlnet_tf.errors import InputError
from htlnet_tf.judging.reports import Report, decimals_of, format_value, metric_named
from htlnet_tf.text_tables import aligned

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
    score = table["mean"] * table["metric"].map(lambda name: metric_named(name).better)
    best = score.groupby([table["target"], table["metric"]]).transform("max")
    directed = table["metric"].map(lambda name: metric_named(name).better != 0)
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
        target, metric = row["target"], metric_named(row["metric"])
        decimals = decimals_of(row["metric"], row["mean"], row["kind"], digits)
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
    return f"{aligned(lines, left=(0, 1))}\n\n{legend}"
