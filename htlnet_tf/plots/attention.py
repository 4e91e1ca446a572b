"""What the Information Fusion Units of HTLNet attend to."""

from __future__ import annotations

import textwrap
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from htlnet_tf.errors import InputError
from htlnet_tf.plots.figure import PathLike, handle, panel_grid, save, wrap
from htlnet_tf.plots.tables import mean_over_seeds
from htlnet_tf.schema import Schema

_VALUES = ["mean", "p05", "p25", "p50", "p75", "p95"]
_UNITS = {"representation": "#0072B2", "label": "#E69F00"}
_UNIFORM = "#D55E00"


def plot_attention(
    tables: pd.DataFrame | Sequence[pd.DataFrame], schema: Schema, path: PathLike, *, title: str | None = None
) -> Path:
    """One panel per target: the spread of the attention weights over the rows, per unit and preceding target.

    A dashed line marks the uniform weight 1/n over the n preceding targets.

    Args:
      tables: What `attention_table` returned, or one such table per seed, whose numbers are averaged: the columns
        `target`, `unit`, `input`, `mean`, `p05`, `p25`, `p50`, `p75`, `p95`.
      schema: Gives the order of the panels and, in them, of the inputs.
      path: The PNG file to write.
      title: A line above all panels.

    Returns:
      `path`.

    Raises:
      InputError: There is nothing to draw, a column is missing, or the file cannot be written.
    """
    rows = mean_over_seeds(tables, ["target", "unit", "input"], _VALUES, "a table of attention").dropna()
    names = [target.name for target in schema.targets]
    # Target t chooses among its t-1 predecessors, so there is no choice before the third.
    targets = [name for name in names[2:] if (rows["target"] == name).any()]
    if not targets:
        raise InputError("there are no attention weights to draw: no target has two inputs or more in the tables")
    units = [unit for unit in _UNITS if (rows["unit"] == unit).any()]
    most = max(int((rows["target"] == target).sum()) for target in targets)
    lines = wrap(len(targets), 2)
    labels = 0.07 * (min(max(map(len, names)), 24) + max(map(len, units)) + 2) * max(lines)
    figure, panels = panel_grid(
        lines, title, width=4.2 if max(lines) > 1 else 6.4, height=1.0 + 0.34 * most, labels=labels
    )
    for target, axes in zip(targets, panels, strict=True):
        inputs = names[: names.index(target)]
        of_target = {(row["unit"], row["input"]): row for row in rows[rows["target"] == target].to_dict("records")}
        ticks: dict[float, str] = {}
        for i, unit in enumerate(units):
            for j, name in enumerate(inputs):
                if (unit, name) in of_target:
                    y = i * (len(inputs) + 0.5) + j  # a gap between the units
                    _box(axes, y, of_target[unit, name], _UNITS[unit])
                    ticks[y] = f"{textwrap.shorten(name, 24, placeholder='…')}, {unit}"
        axes.axvline(1 / len(inputs), color=_UNIFORM, linestyle="--", linewidth=1.2, zorder=4.5)
        axes.set_title(f"{target} attends to", fontsize=11)
        axes.set_yticks(list(ticks), list(ticks.values()))
        axes.set_ylim(max(ticks) + 0.6, min(ticks) - 0.6)  # the first input on top
        axes.set_xlim(-0.02, 1.02)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
        axes.set_xlabel("attention weight")
        axes.grid(visible=False, axis="y")
    handles: list[Patch | object] = [Patch(color=_UNITS[unit], alpha=0.55, label=f"{unit} unit") for unit in units]
    handles.append(handle("uniform weight", _UNIFORM, "--", linewidth=1.2))
    handles.append(handle("mean", "0.1", "o"))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=4,
        frameon=False,
        title="box: middle half of the rows, bar: median, whiskers: 5th to 95th percentile",
        title_fontsize=9,
    )
    return save(figure, path)


def _box(axes: Axes, y: float, row: Mapping[Hashable, Any], colour: str) -> None:
    """One box from percentiles, with whiskers, median and mean."""
    axes.plot([row["p05"], row["p95"]], [y, y], color=colour, linewidth=1.6, zorder=3)
    box = Rectangle((row["p25"], y - 0.3), row["p75"] - row["p25"], 0.6, facecolor="white", edgecolor="none", zorder=3)
    axes.add_patch(box)
    axes.add_patch(
        Rectangle((row["p25"], y - 0.3), box.get_width(), 0.6, facecolor=colour, alpha=0.55, zorder=4, linewidth=0)
    )
    axes.plot([row["p50"], row["p50"]], [y - 0.3, y + 0.3], color="0.1", linewidth=1.6, zorder=5)
    axes.plot(row["mean"], y, "o", color="0.1", markersize=4.5, markeredgecolor="white", zorder=6)
