"""How each model's regret changes over a condition."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from htlnet_tf.errors import InputError
from htlnet_tf.plots.figure import (
    PathLike,
    add_legend,
    handle,
    model_styles,
    panel_grid,
    save,
    short_number,
    spans,
    wrap,
)
from htlnet_tf.plots.tables import require_columns

_COLUMNS = ["condition", "model", "target", "value"]


def plot_regret(frame: pd.DataFrame, path: PathLike, *, x: str, title: str | None = None) -> Path:
    """One panel per target: each model's mean regret per condition, with its range over the seeds.

    The regret is on a logarithmic axis where a target's means are all positive and span more than a decade.

    Args:
      frame: One row per seed, with the columns `condition` (a label), `model`, `target` and `value` (the regret).
        Conditions, models and targets are shown in order of appearance. Rows with a missing or infinite value are left
        out.
      path: The PNG file to write.
      x: What the conditions are, e.g. `"share of observed labels"`.
      title: A line above all panels.

    Returns:
      `path`.

    Raises:
      InputError: There is nothing to draw, a column is missing, or the file cannot be written.
    """
    require_columns(frame, _COLUMNS, "a frame of regrets")
    rows = frame.loc[np.isfinite(frame["value"].to_numpy(np.float64)), _COLUMNS]
    if rows.empty:
        raise InputError(f"the frame of regrets holds no finite values; it has {len(frame)} rows")
    conditions, models, targets = (rows[c].drop_duplicates().tolist() for c in ("condition", "model", "target"))
    # The range, not the standard deviation: of positive values it stays positive, so that a logarithm can show it.
    means = rows.groupby(["target", "model", "condition"], sort=False, observed=True)["value"].agg(
        ["mean", "min", "max", "size"]
    )
    styles = model_styles(models)
    # A little apart, so that the bars of models that are equally good can be told apart.
    shifts = np.linspace(-0.12, 0.12, len(models)) if len(models) > 1 else np.zeros(1)
    figure, panels = panel_grid(wrap(len(targets), 3), title, width=3.6, height=3.0)
    for target, axes in zip(targets, panels, strict=True):
        of_target = means.loc[target]
        for model, shift in zip(models, shifts, strict=True):
            if model not in of_target.index.get_level_values("model"):
                continue
            curve = of_target.loc[model].reindex(conditions)
            mean = curve["mean"].to_numpy()
            errors = np.stack([mean - curve["min"].to_numpy(), curve["max"].to_numpy() - mean]).clip(0.0)
            errors[:, np.isnan(mean)] = 0.0
            axes.errorbar(
                np.arange(len(conditions)) + shift,
                mean,
                yerr=errors,
                fmt=styles[model].format,
                color=styles[model].colour,
                linewidth=1.5,
                markersize=4.5,
                elinewidth=0.9,
                capsize=1.5,
            )
        if spans(of_target["mean"].to_numpy(), 10.0):
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0), numticks=12))
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.yaxis.set_major_formatter(FuncFormatter(short_number))
        else:
            axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
        axes.set_title(target, fontsize=11)
        axes.set_xticks(range(len(conditions)), [textwrap.fill(str(c), 12) for c in conditions])
        axes.set_xlim(-0.4, len(conditions) - 0.6)
        axes.set_xlabel(x)
        axes.grid(visible=False, axis="x")
        axes.set_ylabel("regret")
    handles = [handle(model, style.colour, style.format) for model, style in styles.items()]
    if means["size"].max() > 1:
        handles.append(handle("range over the seeds", "0.4", "|", markersize=10))
    add_legend(figure, handles)
    return save(figure, path)
