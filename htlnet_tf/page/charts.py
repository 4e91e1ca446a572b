"""Pictures as numbers: where lines, dots and letters stand. `charts.html.j2` writes them as SVG.

They are small, and a page sets as many side by side as it is wide, so that letters keep their size on a phone. Colours
are names that the style sheet knows by light and by dark.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from htlnet_tf.page.scales import Scale, scale_of, short_number

COLOURS = ("c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8")
WIDTH, HEIGHT = 320.0, 220.0
LEFT, RIGHT, TOP, BOTTOM = 48.0, 12.0, 10.0, 36.0


@dataclasses.dataclass(frozen=True)
class Series:
    """Points that belong together.

    Attributes:
      label: In the legend.
      x: Values.
      y: Values, NaN where there is none.
      colour: One of `COLOURS`, or `"muted"`.
      dashed: Drawn with gaps: what is only there to be compared with.
      dots: Whether every point has a dot.
      errors: Half the length of a bar through each point, NaN for none; empty: no bars.
      best: The position of the point that is marked; None: none is.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str = "c1"
    dashed: bool = False
    dots: bool = False
    errors: Sequence[float] = ()
    best: int | None = None


@dataclasses.dataclass(frozen=True)
class Line:
    """A drawn line: `points` as SVG has them."""

    points: str
    colour: str
    dashed: bool = False


@dataclasses.dataclass(frozen=True)
class Dot:
    """A drawn point; `says` is shown to who points at it."""

    x: float
    y: float
    colour: str
    says: str
    is_best: bool = False
    is_square: bool = False


@dataclasses.dataclass(frozen=True)
class Label:
    """Letters in the picture."""

    x: float
    y: float
    text: str


@dataclasses.dataclass(frozen=True)
class Chart:
    """A picture.

    Attributes:
      title: Above it.
      says: What is to be seen, for who does not see it.
      width: Of the picture in its own units.
      height: Likewise.
      frame: Left, top, right and bottom of the part with the lines.
      x_ticks: Places and labels.
      y_ticks: Likewise.
      x_label: Below it.
      y_label: Above the axis.
      lines: Behind the dots.
      guides: Thin lines behind all others.
      bars: Lines of errors.
      dots: On top.
      labels: Of rows, where the y axis has no ticks.
      legend: Names and colours, and whether the line has gaps.
    """

    title: str
    says: str
    frame: tuple[float, float, float, float]
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    x_label: str
    y_label: str = ""
    lines: Sequence[Line] = ()
    guides: Sequence[Line] = ()
    bars: Sequence[Line] = ()
    dots: Sequence[Dot] = ()
    labels: Sequence[Label] = ()
    legend: Sequence[tuple[str, str, bool]] = ()
    width: float = WIDTH
    height: float = HEIGHT


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str = "",
    says: str = "",
    may_be_log: bool = False,
    include: Sequence[float] = (),
    guide: float | None = None,
    counted: bool = False,
) -> Chart:
    """Lines over an axis.

    Args:
      title: Above it.
      series: What is drawn; the first ones on top.
      x_label: Below it.
      y_label: What the values are.
      says: For who does not see it; by default the title and what the lines are.
      may_be_log: Whether values that span decades make the y axis logarithmic.
      include: Values that the y axis has as well.
      guide: The y of a thin line across; None: there is none.
      counted: Whether x counts something, so that its ticks are whole numbers.
    """
    frame = (LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM)
    left, top, right, bottom = frame
    xs = [x for each in series for x in each.x]
    x = _edge_to_edge(xs, left, right)
    y = scale_of((v for each in series for v in each.y), bottom, top, may_be_log=may_be_log, include=include)
    guides = []
    if guide is not None and y.low <= guide <= y.high:
        guides.append(Line(points([(left, y(guide)), (right, y(guide))]), "muted", True))
    chart = _drawn(title, series, x, y, frame, x_label, y_label, says, guides)
    if not counted:
        return chart
    return dataclasses.replace(chart, x_ticks=x.whole_ticks())


def reliability_chart(title: str, series: Sequence[Series], *, unit: str = "", says: str = "") -> Chart:
    """Mean labels over mean predictions beside the diagonal, on axes that are the same in both directions.

    Args:
      title: Above it.
      series: Per model, x the mean predictions and y the mean labels of its bins.
      unit: Of both.
      says: As for `line_chart`.
    """
    frame = (LEFT, TOP, WIDTH - RIGHT, HEIGHT + 40 - BOTTOM)
    left, top, right, bottom = frame
    predictions = [v for each in series for v in each.x]
    labels = [v for each in series for v in each.y]
    # A bin in which nothing happened has no place on a logarithmic axis: its dot lies on the lower edge.
    positive = [v for v in labels if v > 0]
    across = scale_of(predictions, left, right, may_be_log=True)
    values = predictions + (positive if across.is_log else labels)
    x = scale_of(values, left, right, may_be_log=across.is_log, include=() if across.is_log else (0.0,))
    y = dataclasses.replace(x, start=bottom, end=top)
    guides = [Line(points([(x(v), y(v)) for v in (x.low, x.high)]), "muted", True)]
    of = f" ({unit})" if unit else ""
    chart = _drawn(title, series, x, y, frame, f"mean prediction{of}", f"mean label{of}", says, guides)
    return dataclasses.replace(chart, height=HEIGHT + 40)


def _drawn(
    title: str,
    series: Sequence[Series],
    x: Scale,
    y: Scale,
    frame: tuple[float, float, float, float],
    x_label: str,
    y_label: str,
    says: str,
    guides: Sequence[Line],
) -> Chart:
    lines, bars, dots = [], [], []
    for each in reversed(series):
        places = [
            (x(a), y(b)) if math.isfinite(a) and math.isfinite(b) else None for a, b in zip(each.x, each.y, strict=True)
        ]
        lines += [Line(points(part), each.colour, each.dashed) for part in _unbroken(places)]
        for number, (place, a, b) in enumerate(zip(places, each.x, each.y, strict=True)):
            if place is None:
                continue
            error = each.errors[number] if each.errors else math.nan
            if math.isfinite(error) and error > 0:
                ends = [(place[0], y(b + sign * error)) for sign in (-1, 1)]
                bars.append(Line(points(ends), each.colour))
            alone = len([p for p in places if p is not None]) == 1
            if each.dots or alone or number == each.best:
                says_dot = f"{each.label}: {short_number(a)}, {short_number(b)}"
                dots.append(Dot(*place, each.colour, says_dot, is_best=number == each.best))
    named = ", ".join(dict.fromkeys(each.label for each in series))
    return Chart(
        title,
        says or f"{title}: {named} over {x_label}",
        frame,
        x.ticks(5),
        y.ticks(5),
        x_label,
        y_label,
        lines,
        guides,
        bars,
        dots,
        legend=[(each.label, each.colour, each.dashed) for each in series],
    )


def _edge_to_edge(values: Sequence[float], start: float, end: float) -> Scale:
    """An x axis without room at its ends; of one value, with it in the middle."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    return Scale(low, high, start, end) if high > low else Scale(low - 1, high + 1, start, end)


def _unbroken(places: Sequence[tuple[float, float] | None]) -> list[list[tuple[float, float]]]:
    """The parts of a line between its gaps; a single point is none."""
    parts: list[list[tuple[float, float]]] = [[]]
    for place in places:
        if place is None:
            parts.append([])
        else:
            parts[-1].append(place)
    return [part for part in parts if len(part) > 1]


def points(places: Sequence[tuple[float, float]]) -> str:
    """Places as SVG writes them."""
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
