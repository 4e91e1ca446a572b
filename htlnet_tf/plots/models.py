"""Models side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator

from htlnet_tf.errors import InputError
from htlnet_tf.judging.reports import METRICS
from htlnet_tf.judging.summaries import Reports, reports_per_model, summarise_reports
from htlnet_tf.plots.figure import RAW, TRAIN, VALIDATION, PathLike, handle, panel_grid, quantity_label, save, wrap

_WIDEST = 3  # panels in a line, so that the words can still be read where a page shows the picture smaller


def plot_comparison(
    reports: Reports,
    path: PathLike,
    *,
    metrics: Sequence[str] | None = None,
    title: str | None = None,
    references: Collection[str] = (),
) -> Path:
    """One panel per target and metric; in it per model the mean, the standard deviation and the single runs.

    A dotted line marks the best mean, and a line divides models from references, whose means are squares; who does not
    predict a target has nothing in its panels. A target with many metrics takes several lines of panels.

    Args:
      reports: One report per model name, or the list of the reports of its runs (seeds), as for `compare_reports`.
      path: The PNG file to write.
      metrics: The metrics to show; by default those with a better direction and without a unit.
      title: A line above all panels.
      references: Which of the models are references; they stand below the others.

    Returns:
      `path`.

    Raises:
      InputError: There is nothing to show, the reports do not fit together, or the file cannot be written.
    """
    reports = {name: reports[name] for name in sorted(reports, key=lambda name: name in references)}
    runs, summary = reports_per_model(reports), summarise_reports(reports)
    chosen = [m for m, how in METRICS.items() if how.is_compared] if metrics is None else list(metrics)
    pairs = summary.loc[summary["metric"].isin(chosen), ["target", "metric"]].drop_duplicates()
    if pairs.empty:
        raise InputError(f"the reports hold none of the metrics {chosen}")
    lines = [n for size in pairs.groupby("target", sort=False).size() for n in wrap(size, _WIDEST)]
    names = [textwrap.fill(model, 24) for model in runs]
    # Many models are set closer, unless a name takes two lines.
    row_height = 0.32 if len(runs) < 6 or any("\n" in name for name in names) else 0.25
    labels = 0.3 + 0.07 * max(len(line) for name in names for line in name.split("\n"))
    figure, panels = panel_grid(lines, title, height=0.9 + row_height * len(runs), labels=labels, sharey=True)
    order = {model: position for position, model in enumerate(runs)}
    num_models = sum(model not in references for model in runs)
    for (target, metric), axes in zip(pairs.itertuples(index=False), panels, strict=True):
        for y in range(1, len(runs), 2):  # bands lead the eye from the names to the panels further right
            axes.axhspan(y - 0.5, y + 0.5, color="0.965", linewidth=0, zorder=0)
        if 0 < num_models < len(runs):
            axes.axhline(num_models - 0.5, color="0.3", linewidth=0.9, zorder=1)
        rows = summary[(summary["target"] == target) & (summary["metric"] == metric)]
        for row in rows.to_dict("records"):
            y, colour = order[row["model"]], VALIDATION if row["best"] else TRAIN
            if row["n"] > 1:  # a little below the bar, which would hide them
                single = [run.value(target, metric) for run in runs[row["model"]]]
                axes.plot(single, np.full(len(single), y + 0.22), "o", color=RAW, markersize=3, alpha=0.8)
            spread = row["std"] if np.isfinite(row["std"]) else 0.0
            if row["best"]:
                axes.axvline(row["mean"], color=VALIDATION, linewidth=0.9, linestyle=":", zorder=1)
            marker = "s" if row["model"] in references else "o"
            axes.errorbar(row["mean"], y, xerr=spread, fmt=marker, color=colour, markersize=6, capsize=3, zorder=3)
            if np.isnan(row["mean"]):
                axes.annotate("undefined", (0.5, y), xycoords=("axes fraction", "data"), ha="center", va="center")
        axes.set_title(f"{target}: {quantity_label(str(metric))[1]}", fontsize=10)
        axes.set_yticks(range(len(runs)), names)
        axes.set_ylim(len(runs) - 0.5, -0.5)  # the first model on top
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
        axes.ticklabel_format(axis="x", useOffset=False)
    handles = [handle("best", VALIDATION, "o")] if summary["best"].any() else []
    if summary["n"].max() > 1:
        handles = [handle("mean ± standard deviation over runs", TRAIN, "o-"), *handles]
        handles.append(handle("single run", RAW, "o", markersize=3))
    if num_models < len(runs):
        handles.append(handle("reference", TRAIN, "s"))
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    return save(figure, path)
