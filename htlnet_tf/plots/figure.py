"""What all pictures share: colours, grids of panels, legend entries, and writing the file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Union

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from htlnet_tf.errors import InputError
from htlnet_tf.files import atomic_file, local_path
from htlnet_tf.judging.reports import METRICS

Floats = npt.NDArray[np.float64]
PathLike = Union[str, Path]

# Okabe and Ito's colours, which readers with any colour vision can tell apart. Black is the core's alone.
CORE = "#000000"
COLOURS = ("#E69F00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
TRAIN, VALIDATION, RAW = "#0072B2", "#D55E00", "#999999"

# For lines of many models, the strongest colours first; Okabe and Ito's yellow is too pale for a line on white, so grey
# and wine (Tol) stand in. When they are used up, they come again with dashed lines.
_MODEL_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#777777", "#882255")
_MARKERS = "osD^vPX<>ph*"


class Style(NamedTuple):
    """How one model's line is drawn."""

    colour: str
    marker: str
    line: str

    @property
    def format(self) -> str:
        """Marker and line, as Matplotlib takes them."""
        return self.marker + self.line


def model_styles(models: Sequence[str], first: str | None = None) -> dict[str, Style]:
    """How each model is drawn; `first` gets the first colour, by default `models[0]`."""
    order = sorted(models, key=lambda model: model != first)
    count = len(_MODEL_COLOURS)
    styles = {
        model: Style(_MODEL_COLOURS[i % count], _MARKERS[i % len(_MARKERS)], "--" if i // count % 2 else "-")
        for i, model in enumerate(order)
    }
    return {model: styles[model] for model in models}


def floats(values: Sequence[float]) -> Floats:
    """float64 [n]."""
    return np.asarray(values, dtype=np.float64).reshape(-1)


def spans(values: Floats, factor: float) -> bool:
    """Whether the finite values are all positive and the largest exceeds `factor` times the smallest."""
    finite = values[np.isfinite(values)]
    return bool(finite.size and finite.min() > 0 and finite.max() > factor * finite.min())


def quantity_label(quantity: str) -> tuple[int, str]:
    """The better direction of a quantity (0: not known) and its label with an arrow."""
    if quantity in ("loss", "relative_loss"):
        return -1, f"{quantity.replace('_', ' ')} ↓"
    metric = METRICS.get(quantity)
    return (metric.better, f"{metric.label} {metric.arrow}".rstrip()) if metric else (0, quantity.replace("_", " "))


def wrap(count: int, widest: int) -> list[int]:
    """Lengths of lines that hold `count` panels, at most `widest` each and about equally many."""
    lines = -(-count // widest)
    return [count // lines + (line < count % lines) for line in range(lines)]


def panel_grid(
    lengths: Sequence[int],
    title: str | None,
    *,
    width: float = 3.0,
    height: float = 2.5,
    labels: float = 0.0,
    sharey: bool = False,
) -> tuple[Figure, list[Axes]]:
    """A figure with lines of panels, and the panels line by line.

    Args:
      lengths: How many panels each line has.
      title: A line above all panels.
      width: Of a panel, in inches.
      height: Of a panel, in inches.
      labels: Room to the left for long tick labels, in inches.
      sharey: All panels have one y axis; only the first of a line is labelled.
    """
    lines, columns = len(lengths), max(lengths)
    figure = new_figure(max(width * columns, 5.0) + labels, height * lines + (1.0 if title else 0.7))
    panels: list[Axes] = []
    for length, line in zip(lengths, figure.subplots(lines, columns, sharey=sharey, squeeze=False), strict=True):
        panels.extend(line[:length])
        for spare in line[length:]:
            spare.remove()
    for axes in panels:
        finish(axes)
    if title:
        figure.suptitle(title, fontsize=12)
    return figure, panels


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, that needs no display."""
    figure = Figure(figsize=(width, height), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def finish(axes: Axes) -> None:
    """A light grid behind the data, and no frame."""
    axes.grid(color="0.9", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)


def say(axes: Axes, text: str) -> None:
    """Words where a panel has nothing to show."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="0.4")


def handle(label: str, colour: str, style: str, *, markersize: float = 5.0, linewidth: float = 1.5) -> Line2D:
    """A legend entry; `style` is a marker, a line `-` or `--`, or a marker and then a line."""
    marker = style.rstrip("-")
    entry = Line2D([], [], color=colour, marker=marker or None, label=label, markersize=markersize, linewidth=linewidth)
    lines = {"": "none", "-": "-", "--": "--"}
    entry.set(linestyle=lines[style[len(marker) :]])
    return entry


def add_legend(figure: Figure, handles: Sequence[Artist], widest: int = 4) -> None:
    """The one legend, below all panels, in lines of at most `widest` entries; the figure grows by them."""
    lines = -(-len(handles) // widest)
    figure.set_figheight(figure.get_figheight() + 0.22 * (lines - 1))
    columns = -(-len(handles) // lines)
    figure.legend(handles=list(handles), loc="outside lower center", ncols=columns, frameon=False)


def short_number(value: float, _: int | None = None) -> str:
    """A tick's label that stays narrow: `0.02`, `500`, `20k`, `1.5M`."""
    if abs(value) >= 1e12:
        return f"{value:g}"
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{suffix}"
    return f"{value:g}"


def save(figure: Figure, path: PathLike) -> Path:
    """Writes the PNG.

    Raises:
      InputError: The path does not end in `.png`, or the file cannot be written.
    """
    target = local_path(path)
    if target.suffix.lower() != ".png":
        raise InputError(f"pictures are PNG files, so the path must end in .png, but it is '{target}'")
    with atomic_file(target) as partial:
        figure.savefig(partial, format="png")
    return target
