"""A picture of models below one another: a dot for each mean."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from htlnet_tf.page.charts import BOTTOM, RIGHT, TOP, WIDTH, Chart, Dot, Label, Line, points
from htlnet_tf.page.scales import scale_of, short_number

_ROW = 34.0
_LONGEST_LABEL = 44


@dataclasses.dataclass(frozen=True)
class DotRow:
    """A row of `dot_chart`: a mean, its spread and the single values."""

    label: str
    mean: float
    spread: float
    single: Sequence[float]
    is_best: bool = False
    is_reference: bool = False


def dot_chart(title: str, rows: Sequence[DotRow], *, x_label: str, says: str = "") -> Chart:
    """A row for each model: the mean as a dot, or a square of a reference, its spread as a bar, single runs pale.

    Args:
      title: Above it.
      rows: From the top.
      x_label: What the values are.
      says: As for `line_chart`.
    """
    height = TOP + _ROW * len(rows) + BOTTOM
    frame = (RIGHT, TOP, WIDTH - RIGHT, height - BOTTOM)
    left, top, right, _ = frame
    ends = [row.mean + sign * (row.spread if math.isfinite(row.spread) else 0.0) for row in rows for sign in (-1, 1)]
    x = scale_of([*ends, *(v for row in rows for v in row.single)], left, right)
    bars, dots, labels, guides = [], [], [], []
    for number, row in enumerate(rows):
        middle = top + _ROW * number + 23
        labels.append(Label(left, middle - 9, _shortened(row.label)))
        guides.append(Line(points([(left, middle), (right, middle)]), "faint"))
        if not math.isfinite(row.mean):
            labels.append(Label(left, middle + 4, "undefined"))
            continue
        colour = "c2" if row.is_best else "c1"
        if math.isfinite(row.spread):
            bars.append(Line(points([(x(row.mean + s * row.spread), middle) for s in (-1, 1)]), colour))
        if len(row.single) > 1:
            dots += [Dot(x(v), middle, "muted", short_number(v)) for v in row.single if math.isfinite(v)]
        says_row = f"{row.label}: {short_number(row.mean)}"
        dots.append(Dot(x(row.mean), middle, colour, says_row, is_best=row.is_best, is_square=row.is_reference))
    return Chart(
        title,
        says or f"{title}: {'; '.join(dot.says for dot in dots if dot.colour != 'muted')}",
        frame,
        x.ticks(4),
        (),
        x_label,
        bars=bars,
        dots=dots,
        labels=labels,
        guides=guides,
        height=height,
    )


def _shortened(text: str) -> str:
    """SVG does not break lines; the whole name stands in the tables."""
    return text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 1]}…"
