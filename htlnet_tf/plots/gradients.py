"""The tasks' gradients at the shared embedding."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from htlnet_tf.errors import InputError
from htlnet_tf.plots.figure import (
    COLOURS,
    CORE,
    Floats,
    PathLike,
    finish,
    floats,
    handle,
    new_figure,
    save,
    say,
    spans,
)
from htlnet_tf.schema import Schema

ROWS = {"norm": "gradient norm", "cosine": "cosine with the core", "coefficient": "coefficient"}
_REFERENCES = {"cosine": 0.0, "coefficient": 1.0}  # no conflict; the plain sum
_MANY_STEPS = 60  # from here on single steps hide the trend: thin lines and a running median


def plot_gradients(
    histories: Mapping[str, Mapping[str, Sequence[float]]], schema: Schema, path: PathLike, *, x_label: str = "step"
) -> Path:
    """The tasks' gradients at the shared embedding, one column per run (after the paper's Figure 5).

    Rows: the norm of each task's gradient (logarithmic), its cosine with the core's, and its coefficient in the sum
    that the optimiser gets. Where there are many steps, thin lines show them and thick ones their running median.

    Args:
      histories: Per run, e.g. `"HTLNet"` and `"HTLNet, plain sum"`, the series `{target}_gradient_norm`,
        `{target}_gradient_cosine` and `{target}_gradient_coefficient`, per step or per epoch. Each may be absent and
        may hold NaN.
      schema: Names the targets; the last one is the core.
      path: The PNG file to write.
      x_label: What one point of a series is, e.g. `"step"` or `"epoch"`.

    Returns:
      `path`.

    Raises:
      InputError: No run holds such a series, or the file cannot be written.
    """
    targets, core, palette = [target.name for target in schema.targets], schema.core.name, _palette(schema)
    series = {
        (row, run, target): floats(history.get(f"{target}_gradient_{row}", ()))
        for row in ROWS
        for run, history in histories.items()
        for target in targets
        if not (row == "cosine" and target == core)  # always 1
    }
    rows = [row for row in ROWS if any(key[0] == row and values.size for key, values in series.items())]
    if not rows:
        raise InputError(f"no run holds a series like '{core}_gradient_norm'; the runs are {list(histories)}")
    figure = new_figure(max(3.6 * len(histories), 5.0) + 0.6, 2.3 * len(rows) + 1.0)
    grid = figure.subplots(len(rows), len(histories), sharex="col", sharey="row", squeeze=False)
    for row, line in zip(rows, grid, strict=True):
        values = np.concatenate([v for key, v in series.items() if key[0] == row])
        if row == "norm":
            logarithmic = bool((values[np.isfinite(values)] > 0).any())
        else:  # coefficients spread over decades too if the core's loss is in raw units, but may be negative
            logarithmic = row == "coefficient" and spans(values, 50)
        for run, axes in zip(histories, line, strict=True):
            if row in _REFERENCES:
                axes.axhline(_REFERENCES[row], color="0.35", linewidth=0.9, linestyle="--", zorder=1)
            drawn = False
            # The core first and widest: where curves coincide, as the coefficients of a plain sum do, all stay visible.
            for (target, colour), width in zip(reversed(palette), np.linspace(3.4, 1.2, len(palette)), strict=True):
                drawn |= _draw(axes, series.get((row, run, target), floats(())), colour, width, logarithmic)
            if not drawn:
                say(axes, "not recorded")
            if logarithmic:
                axes.set_yscale("log")
            else:
                axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
            finish(axes)
            axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
        line[0].set_ylabel(ROWS[row])
    for run, top, bottom in zip(histories, grid[0], grid[-1], strict=True):
        top.set_title(textwrap.fill(run, 30), fontsize=11)
        bottom.set_xlabel(x_label)
    handles = [handle(f"{t} (core)" if t == core else t, colour, "-") for t, colour in palette]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 4), frameon=False)
    return save(figure, path)


def _palette(schema: Schema) -> list[tuple[str, str]]:
    """Each target's name and colour."""
    colours = [COLOURS[position % len(COLOURS)] for position in range(len(schema.targets) - 1)]
    return [(target.name, colour) for target, colour in zip(schema.targets, [*colours, CORE], strict=True)]


def _draw(axes: Axes, values: Floats, colour: str, width: float, logarithmic: bool) -> bool:
    """One series; says whether there was anything to draw."""
    values = np.where(np.isfinite(values) & ((values > 0) | (not logarithmic)), values, np.nan)
    steps = np.arange(1, values.size + 1)
    if values.size < _MANY_STEPS:
        axes.plot(steps, values, "o-", color=colour, linewidth=width, markersize=2.5 + width)
        axes.margins(x=0.25 if values.size == 1 else 0.05)
    else:
        axes.plot(steps, values, color=colour, linewidth=0.5, alpha=0.3)
        window = max(5, values.size // 20)
        median = pd.Series(values).rolling(window, center=True, min_periods=1).median()
        axes.plot(steps, median.to_numpy(), color=colour, linewidth=width)
    return bool(np.isfinite(values).any())
