"""Pictures of a run: learning curves, the gradients at the shared embedding, and models side by side.

Every function draws on its own `matplotlib.figure.Figure` with the Agg canvas, so that no display is needed and no
pyplot state is left behind, and writes one PNG atomically: a reader never sees half a file.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Union

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from htlnet_tf.errors import InputError
from htlnet_tf.files import atomic_file
from htlnet_tf.reports import METRICS, Reports, reports_per_model, summarise_reports
from htlnet_tf.schema import Schema

Floats = npt.NDArray[np.float64]
PathLike = Union[str, Path]

# Okabe and Ito's colours, which readers with any colour vision can tell apart. Black is the core's alone.
_CORE = "#000000"
_COLOURS = ("#E69F00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
_TRAIN, _VALIDATION, _RAW = "#0072B2", "#D55E00", "#999999"

_GRADIENT_ROWS = {"norm": "gradient norm", "cosine": "cosine with the core", "coefficient": "coefficient"}
_REFERENCES = {"cosine": 0.0, "coefficient": 1.0}  # no conflict; the plain sum
_MANY_STEPS = 60  # from here on single steps hide the trend: thin lines and a running median


def plot_learning_curves(
    history: Mapping[str, Sequence[float]], schema: Schema, path: PathLike, *, title: str | None = None
) -> Path:
    """One panel per quantity over the epochs, for the training and the validation rows; one line of panels per target.

    The best validation epoch of a quantity whose better direction is known is marked and named above its panel.

    Args:
      history: `History.history` of Keras: `loss`, `{target}_loss`, `{target}_auc`, `{core}_nrmse` ..., and the same
        with the prefix `val_`. The series of `plot_gradients` are left out.
      schema: Gives the order of the panels and the names of the targets.
      path: The PNG file to write.
      title: A line above all panels.

    Returns:
      `path`.

    Raises:
      InputError: There is nothing to plot, or the file cannot be written.
    """
    names = list(dict.fromkeys(key.removeprefix("val_") for key, values in history.items() if len(values)))
    names = [name for name in names if not name.endswith(tuple(f"_gradient_{row}" for row in _GRADIENT_ROWS))]
    if not names:
        raise InputError(f"the history holds no curves to plot, only the series {sorted(history)}")
    targets = [target.name for target in schema.targets]
    # What belongs to no target comes first; within a target Keras' order is kept, but the loss leads.
    names.sort(key=lambda name: _split(name, targets)[1] != "loss")
    groups = [[name for name in names if _split(name, targets)[0] == target] for target in ["", *targets]]
    figure, panels = _grid([len(group) for group in groups if group], title)
    for name, axes in zip(chain.from_iterable(groups), panels, strict=True):
        target, quantity = _split(name, targets)
        train, validation = _floats(history.get(name, ())), _floats(history.get(f"val_{name}", ()))
        # With `validation_freq=k` Keras gives a validation value for every k-th epoch only.
        every = max(1, train.size // validation.size) if validation.size else 1
        epochs = np.arange(1, validation.size + 1) * every
        axes.plot(np.arange(1, train.size + 1), train, "o-", color=_TRAIN, markersize=3.5, linewidth=1.5)
        axes.plot(epochs, validation, "s-", color=_VALIDATION, markersize=3.5, linewidth=1.5)
        better, label = _label(quantity)
        heading = f"{target}: {label}" if target else label
        finite = np.isfinite(validation)
        if better and finite.any():
            best = int(np.argmax(np.where(finite, better * validation, -np.inf)))
            axes.plot(epochs[best], validation[best], "*", color=_VALIDATION, markersize=13, markeredgecolor="white")
            heading += f"\nbest {validation[best]:#.4g} at epoch {epochs[best]}"
        if not finite.any() and not np.isfinite(train).any():
            _say(axes, "no finite values")
        axes.set_title(heading, fontsize=10)
        axes.set_xlabel("epoch")
        axes.set_xlim(0.6, max(train.size, epochs.max(initial=1)) + 0.4)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    handles = [_handle("training", _TRAIN, "o-"), _handle("validation", _VALIDATION, "s-")]
    handles.append(_handle("best validation epoch", _VALIDATION, "*", markersize=11))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    return _save(figure, path)


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
        (row, run, target): _floats(history.get(f"{target}_gradient_{row}", ()))
        for row in _GRADIENT_ROWS
        for run, history in histories.items()
        for target in targets
        if not (row == "cosine" and target == core)  # always 1
    }
    rows = [row for row in _GRADIENT_ROWS if any(key[0] == row and values.size for key, values in series.items())]
    if not rows:
        raise InputError(f"no run holds a series like '{core}_gradient_norm'; the runs are {list(histories)}")
    figure = _figure(max(3.6 * len(histories), 5.0) + 0.6, 2.3 * len(rows) + 1.0)
    grid = figure.subplots(len(rows), len(histories), sharex="col", sharey="row", squeeze=False)
    for row, line in zip(rows, grid, strict=True):
        values = np.concatenate([v for key, v in series.items() if key[0] == row])
        positive = values[np.isfinite(values) & (values > 0)]
        logarithmic = positive.size > 0 and row == "norm"
        if positive.size and row == "coefficient":
            # They spread over decades too if the core's loss is in raw units, but some adjustments make them negative.
            logarithmic = positive.size == np.isfinite(values).sum() and positive.max() > 50 * positive.min()
        for run, axes in zip(histories, line, strict=True):
            if row in _REFERENCES:
                axes.axhline(_REFERENCES[row], color="0.35", linewidth=0.9, linestyle="--", zorder=1)
            drawn = False
            # The core first and widest: where curves coincide, as the coefficients of a plain sum do, all stay visible.
            for (target, colour), width in zip(reversed(palette), np.linspace(3.4, 1.2, len(palette)), strict=True):
                drawn |= _draw(axes, series.get((row, run, target), _floats(())), colour, width, logarithmic)
            if not drawn:
                _say(axes, "not recorded")
            if logarithmic:
                axes.set_yscale("log")
            else:
                axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
            _finish(axes)
            axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
        line[0].set_ylabel(_GRADIENT_ROWS[row])
    for run, top, bottom in zip(histories, grid[0], grid[-1], strict=True):
        top.set_title(textwrap.fill(run, 30), fontsize=11)
        bottom.set_xlabel(x_label)
    handles = [_handle(f"{t} (core)" if t == core else t, colour, "-") for t, colour in palette]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 4), frameon=False)
    return _save(figure, path)


def plot_comparison(
    reports: Reports, path: PathLike, *, metrics: Sequence[str] | None = None, title: str | None = None
) -> Path:
    """One panel per target and metric; in it per model the mean, the standard deviation and the single runs.

    Args:
      reports: One report per model name, or the list of the reports of its runs (seeds), as for `compare_reports`.
      path: The PNG file to write.
      metrics: The metrics to show; by default those with a better direction and without a unit.
      title: A line above all panels.

    Returns:
      `path`.

    Raises:
      InputError: There is nothing to show, the reports do not fit together, or the file cannot be written.
    """
    runs, summary = reports_per_model(reports), summarise_reports(reports)
    chosen = [m for m, how in METRICS.items() if how.better and not how.in_unit] if metrics is None else list(metrics)
    pairs = summary.loc[summary["metric"].isin(chosen), ["target", "metric"]].drop_duplicates()
    if pairs.empty:
        raise InputError(f"the reports hold none of the metrics {chosen}")
    per_target = pairs.groupby("target", sort=False).size().tolist()
    figure, panels = _grid(per_target, title, height=0.9 + 0.32 * len(runs), sharey=True)
    order = {model: position for position, model in enumerate(runs)}
    for (target, metric), axes in zip(pairs.itertuples(index=False), panels, strict=True):
        rows = summary[(summary["target"] == target) & (summary["metric"] == metric)]
        for row in rows.to_dict("records"):
            y, colour = order[row["model"]], _VALIDATION if row["best"] else _TRAIN
            if row["n"] > 1:  # a little below the bar, which would hide them
                single = [run.value(target, metric) for run in runs[row["model"]]]
                axes.plot(single, np.full(len(single), y + 0.22), "o", color=_RAW, markersize=3, alpha=0.8)
            spread = row["std"] if np.isfinite(row["std"]) else 0.0
            axes.errorbar(row["mean"], y, xerr=spread, fmt="o", color=colour, markersize=6, capsize=3)
            if np.isnan(row["mean"]):
                axes.annotate("undefined", (0.5, y), xycoords=("axes fraction", "data"), ha="center", va="center")
        axes.set_title(f"{target}: {_label(str(metric))[1]}", fontsize=10)
        axes.set_yticks(range(len(runs)), [textwrap.fill(model, 24) for model in runs])
        axes.set_ylim(len(runs) - 0.5, -0.5)  # the first model on top
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
        axes.ticklabel_format(axis="x", useOffset=False)
    handles = [_handle("best", _VALIDATION, "o")] if summary["best"].any() else []
    if summary["n"].max() > 1:
        handles = [_handle("mean ± standard deviation over runs", _TRAIN, "o-"), *handles]
        handles.append(_handle("single run", _RAW, "o", markersize=3))
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    return _save(figure, path)


def _floats(values: Sequence[float]) -> Floats:
    return np.asarray(values, dtype=np.float64).reshape(-1)


def _split(name: str, targets: Sequence[str]) -> tuple[str, str]:
    """`"click_auc"` -> `("click", "auc")`; the longest target that fits, for one name may begin with another's."""
    fitting = [target for target in targets if name.startswith(f"{target}_")]
    target = max(fitting, key=len, default="")
    return target, name[len(target) + 1 :] if target else name


def _label(quantity: str) -> tuple[int, str]:
    """The better direction of a quantity (0: not known) and its label with an arrow."""
    if quantity == "loss":
        return -1, "loss ↓"
    metric = METRICS.get(quantity)
    return (metric.better, f"{metric.label} {metric.arrow}".rstrip()) if metric else (0, quantity.replace("_", " "))


def _palette(schema: Schema) -> list[tuple[str, str]]:
    """Each target's name and colour."""
    colours = [_COLOURS[position % len(_COLOURS)] for position in range(len(schema.preceding))]
    return [(target.name, colour) for target, colour in zip(schema.targets, [*colours, _CORE], strict=True)]


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


def _grid(
    lengths: Sequence[int], title: str | None, *, height: float = 2.5, sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure with one line of panels per entry of `lengths`, which says how many; the panels line by line."""
    lines, columns = len(lengths), max(lengths)
    figure = _figure(max(3.0 * columns, 5.0) + (1.0 if sharey else 0.0), height * lines + (1.0 if title else 0.7))
    panels: list[Axes] = []
    for length, line in zip(lengths, figure.subplots(lines, columns, sharey=sharey, squeeze=False), strict=True):
        panels.extend(line[:length])
        for spare in line[length:]:
            spare.remove()
    for axes in panels:
        _finish(axes)
    if title:
        figure.suptitle(title, fontsize=12)
    return figure, panels


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _finish(axes: Axes) -> None:
    axes.grid(color="0.9", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)


def _say(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="0.4")


def _handle(label: str, colour: str, style: str, *, markersize: float = 5.0) -> Line2D:
    handle = Line2D([], [], color=colour, marker=style.rstrip("-") or None, label=label, markersize=markersize)
    if not style.endswith("-"):
        handle.set_linestyle("none")
    return handle


def _save(figure: Figure, path: PathLike) -> Path:
    target = Path(path)
    if target.suffix.lower() != ".png":
        raise InputError(f"pictures are PNG files, so the path must end in .png, but it is '{target}'")
    with atomic_file(target) as partial:
        figure.savefig(partial, format="png")
    return target
