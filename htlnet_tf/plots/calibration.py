"""Whether predictions come true on average: mean label against mean prediction, bin by bin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Union

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from htlnet_tf.errors import InputError
from htlnet_tf.plots.figure import (
    PathLike,
    Style,
    add_legend,
    handle,
    model_styles,
    panel_grid,
    save,
    short_number,
    spans,
    wrap,
)
from htlnet_tf.plots.tables import mean_over_seeds
from htlnet_tf.schema import Schema

_X, _Y, _ERROR = "mean_prediction", "mean_label", "std_error"
_DECADES = 30.0  # from this ratio of the largest to the smallest prediction on, a linear axis piles up the low bins


def plot_calibration(
    tables: Mapping[str, Union[pd.DataFrame, Sequence[pd.DataFrame]]],
    schema: Schema,
    path: PathLike,
    *,
    highlight: str | None = None,
    title: str | None = None,
) -> Path:
    """One panel per target: per model, the mean label over the mean prediction of its bins, beside the diagonal.

    One model is drawn bold, with one standard error up and down. Axes are logarithmic where a target's predictions are
    all positive and span decades; a bin whose mean label is 0 then lies on the lower edge, as an open triangle.

    Args:
      tables: Per model name, what `calibration_table` returned, or one such table per seed, whose bins are averaged:
        the columns `target`, `bin`, `mean_prediction`, `mean_label`, `std_error`. Bins with NaN are left out.
      schema: Gives the order of the panels and the core's unit.
      path: The PNG file to write.
      highlight: The bold model; by default the first one.
      title: A line above all panels.

    Returns:
      `path`.

    Raises:
      InputError: There is nothing to draw, `highlight` is no model, a column is missing, or the file cannot be written.
    """
    models = list(tables)
    bold = highlight if highlight is not None or not models else models[0]
    if bold is not None and bold not in tables:
        raise InputError(f"highlight must be one of the models {models}, received '{bold}'")
    rows = _rows(tables)
    targets = [target.name for target in schema.targets if (rows["target"] == target.name).any()]
    if not targets:
        raise InputError(f"the tables of calibration hold no bins of the schema's targets; the models are {models}")
    styles = model_styles(models, bold)
    figure, panels = panel_grid(wrap(len(targets), 3), title, width=3.5, height=3.5)
    any_empty = False
    for target, axes in zip(targets, panels, strict=True):
        of_target = rows[rows["target"] == target].sort_values(_X)
        low, high, logarithmic = _limits(of_target)
        axes.plot([low, high], [low, high], "--", color="0.25", linewidth=1.0, zorder=1)
        # The bold one last, on top of the others.
        for model in sorted(models, key=lambda model: model == bold):
            curve, style = of_target[of_target["model"] == model], styles[model]
            empty = curve[curve[_Y] <= 0] if logarithmic else curve[:0]
            if len(empty):
                any_empty = True
                edge = np.full(len(empty), low)
                axes.plot(empty[_X], edge, "v", color=style.colour, markerfacecolor="white", clip_on=False, zorder=4)
            _draw(axes, curve.drop(empty.index), style, bold=model == bold)
        _finish(axes, low, high, logarithmic)
        unit = f" ({schema.core.unit})" if target == schema.core.name and schema.core.unit else ""
        axes.set_title(target, fontsize=11)
        axes.set_xlabel(f"mean prediction{unit}")
        axes.set_ylabel(f"mean label{unit}")
    handles = [
        handle(model, style.colour, style.format, linewidth=2.6 if model == bold else 1.1)
        for model, style in styles.items()
    ]
    handles.append(handle("perfectly calibrated", "0.25", "--", linewidth=1.0))
    handles.append(handle("± standard error", "0.4", "|", markersize=10))
    if any_empty:
        handles.append(handle("mean label 0", "0.4", "v"))
        handles[-1].set_markerfacecolor("white")
    add_legend(figure, handles)
    return save(figure, path)


def _rows(tables: Mapping[str, Union[pd.DataFrame, Sequence[pd.DataFrame]]]) -> pd.DataFrame:
    """The bins of all models, averaged over their seeds; with a column `model`."""
    values = [_X, _Y, _ERROR]
    # The seeds share their rows, so averaging does not shrink the labels' standard error: its mean stands.
    curves = [
        mean_over_seeds(each, ["target", "bin"], values, f"a table of calibration ({model})").assign(model=model)
        for model, each in tables.items()
    ]
    filled = [curve for curve in curves if len(curve)]
    if not filled:
        return pd.DataFrame(columns=["target", "bin", *values, "model"])
    return pd.concat(filled, ignore_index=True).dropna(subset=[_X, _Y])


def _limits(rows: pd.DataFrame) -> tuple[float, float, bool]:
    """Where both axes of a panel begin and end, and whether they are logarithmic."""
    x, y = rows[_X].to_numpy(np.float64), rows[_Y].to_numpy(np.float64)
    logarithmic = spans(x, _DECADES)
    both = np.concatenate([x, y[y > 0]] if logarithmic else [x, y])
    low, high = float(both.min()), float(both.max())
    if logarithmic:
        return low / 1.3, high * 1.3, True
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 0.05
    return low - margin if low < 0 else max(low - margin, 0.0), high + margin, False


def _draw(axes: Axes, curve: pd.DataFrame, style: Style, *, bold: bool) -> None:
    if not bold:
        axes.plot(curve[_X], curve[_Y], style.format, color=style.colour, linewidth=1.1, markersize=3.5)
        return
    axes.errorbar(
        curve[_X],
        curve[_Y],
        yerr=curve[_ERROR].fillna(0.0),
        fmt=style.format,
        color=style.colour,
        linewidth=2.6,
        markersize=5.5,
        elinewidth=1.4,
        capsize=2.5,
        zorder=3,
    )


def _finish(axes: Axes, low: float, high: float, logarithmic: bool) -> None:
    """The same limits and ticks on both axes of a panel, so that the diagonal is one."""
    if logarithmic:
        axes.set_xscale("log")
        axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        if logarithmic:
            few = high < 100 * low
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,), numticks=12))
            axis.set_minor_locator(NullLocator() if few else LogLocator(subs=tuple(range(2, 10)), numticks=99))
            axis.set_minor_formatter(NullFormatter())
        else:
            axis.set_major_locator(MaxNLocator(nbins=4))
        axis.set_major_formatter(FuncFormatter(short_number))
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
