"""Interleaved timings: every case in turn, round by round, so that a busy machine slows all of them alike."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping

import numpy as np

from htlnet_tf.text_tables import aligned


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds per call over the rounds.

    Attributes:
      median: Median over the rounds.
      low: First quartile.
      high: Third quartile.
      rounds: How many rounds.
    """

    median: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, seconds: list[float]) -> Timing:
        """Summarises one number per round."""
        low, median, high = np.percentile(seconds, [25, 50, 75])
        return cls(float(median), float(low), float(high), len(seconds))


def interleaved(
    cases: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    calls: Mapping[str, int] | int = 5,
    warm_up: int = 2,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, list[float]]:
    """Times several functions in turn.

    Args:
      cases: By name, what to call; a call must have finished its work when it returns.
      rounds: How often each case has its turn.
      calls: Calls per turn, by name or for all.
      warm_up: Untimed calls of each case before the first round.
      progress: Told of each tenth of the rounds.

    Returns:
      By name, seconds per call in each round: the i-th entries of all cases were measured next to each other, so ratios
      are best taken round by round.
    """
    for case in cases.values():
        for _ in range(warm_up):
            case()
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds):
        for name, case in cases.items():
            count = calls if isinstance(calls, int) else calls[name]
            start = time.perf_counter()
            for _ in range(count):
                case()
            seconds[name].append((time.perf_counter() - start) / count)
        if (number + 1) % max(1, rounds // 5) == 0:
            progress(f"  round {number + 1}/{rounds}")
    return seconds


def ratio(numerator: list[float], denominator: list[float]) -> Timing:
    """The ratio of two cases, round by round."""
    return Timing.of([a / b for a, b in zip(numerator, denominator, strict=True)])


def ratios_text(title: str, ratios: Mapping[str, Timing], targets: Mapping[str, str], *, decimals: int = 2) -> str:
    """A table of ratios with their spread, beside what is to be reached."""
    table = [[title, "median", "quartiles", "to reach"]]
    for name, t in ratios.items():
        spread = f"{t.low:.{decimals}f} .. {t.high:.{decimals}f}"
        table.append([name, f"{t.median:.{decimals}f}", spread, targets[name]])
    return aligned(table, left=(0, 2, 3))
