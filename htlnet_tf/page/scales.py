"""From values to places in a picture: ranges, ticks and their labels."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_DECADES = 50.0  # from this ratio of the largest to the smallest value on, a linear axis hides the small ones


@dataclasses.dataclass(frozen=True)
class Scale:
    """An axis.

    Attributes:
      low: The value at the beginning.
      high: The value at the end, above `low`.
      start: The place of `low`.
      end: The place of `high`.
      is_log: Whether it is logarithmic; both ends are then above 0.
    """

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        """The place of a value; beyond the ends, the end."""
        if self.is_log:
            if value <= 0:
                return self.start
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)

    def ticks(self, count: int = 5) -> list[tuple[float, str]]:
        """Round values on the axis, about so many, with their labels."""
        values = _log_ticks(self.low, self.high, count) if self.is_log else _linear_ticks(self.low, self.high, count)
        return [(self(value), short_number(value)) for value in values]

    def whole_ticks(self, count: int = 5) -> list[tuple[float, str]]:
        """As `ticks`, of a linear axis that counts: whole numbers alone."""
        values = _linear_ticks(self.low, self.high, count)
        whole = [v for v in values if v == round(v)] or [float(round((self.low + self.high) / 2))]
        return [(self(value), short_number(value)) for value in whole]


def scale_of(
    values: Iterable[float], start: float, end: float, *, may_be_log: bool = False, include: Sequence[float] = ()
) -> Scale:
    """A scale that holds all finite values, with a little room.

    Args:
      values: What is to be shown.
      start: The place of the smallest.
      end: The place of the largest.
      may_be_log: Take a logarithmic one if all are positive and span decades.
      include: Values that a linear scale has as well, such as 0.
    """
    finite = [value for value in values if math.isfinite(value)]
    if may_be_log and finite and min(finite) > 0 and max(finite) > _DECADES * min(finite):
        return Scale(min(finite) / 1.2, max(finite) * 1.2, start, end, is_log=True)
    finite += include
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    # Of a single value one side at least needs the room, or the scale would have no length.
    above = 0.0 if high in include and low < high else room
    return Scale(low - (0.0 if low in include else room), high + above, start, end)


def short_number(value: float) -> str:
    """A label that stays narrow: `0.02`, `500`, `20k`, `1.5M`."""
    if value != 0 and (abs(value) >= 1e12 or abs(value) < 1e-4):
        return f"{value:.2g}".replace("e-0", "e-").replace("e+0", "e")
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{suffix}"
    return f"{value:.4g}"


def _linear_ticks(low: float, high: float, count: int) -> list[float]:
    rough = (high - low) / max(count, 1)
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(s * size for s in _STEPS if s * size >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) if abs(step) > 1e-9 else i * step for i in range(first, last + 1)]


def _log_ticks(low: float, high: float, count: int) -> list[float]:
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    powers = [10.0**i for i in range(first, last + 1)]
    if len(powers) < 3:
        between = (1, 3) if len(powers) == 2 else (1, 2, 5)
        finer = [m * 10.0**i for i in range(first - 1, last + 1) for m in between]
        return [value for value in finer if low <= value <= high]
    return powers[:: max(1, math.ceil(len(powers) / count))]
