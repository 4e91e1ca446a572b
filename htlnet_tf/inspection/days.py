"""Rows and labels per day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from htlnet_tf.inspection.labels import label_matrix
from htlnet_tf.inspection.values import Values, days_since_1970


@dataclass(frozen=True)
class Day:
    """One day (UTC).

    Args:
      day: `"2022-04-25"`.
      rows: Rows of the day.
      means: The mean label by target, which is the rate of a binary one; None where no label is known.
    """

    day: str
    rows: int
    means: dict[str, float | None]


@dataclass(frozen=True)
class Days:
    """Rows per day.

    Args:
      column: The timestamp.
      days: In order; days without rows are left out.
      undated: Rows whose timestamp is missing, or no time between 2000 and 2100.
    """

    column: str
    days: tuple[Day, ...]
    undated: int


class DayCounter:
    """Counts rows and labels per day for every column that may be the timestamp.

    Args:
      timestamps: The columns that may be it.
      labels: The columns that may be labels.
      skips_text: Whether dates as text are passed over: where any column may be the timestamp, parsing all is slow.
    """

    def __init__(self, timestamps: Sequence[str], labels: Sequence[str], *, skips_text: bool) -> None:
        self._skips_text = skips_text
        self._labels = tuple(labels)
        # By column, by day: rows, then the sum of every label, then how many are known of every label.
        self._totals: dict[str, dict[int, np.ndarray]] = {name: {} for name in timestamps}
        self._undated = dict.fromkeys(timestamps, 0)

    def update(self, chunk: Mapping[str, Values]) -> None:
        """Adds the rows of one chunk."""
        matrix: np.ndarray | None = None
        for name, totals in self._totals.items():
            if self._skips_text and chunk[name].numbers is None:
                continue
            days, dated = days_since_1970(chunk[name])
            self._undated[name] += int((~dated).sum())
            if not dated.any():
                continue
            if matrix is None:
                labels = label_matrix(chunk, self._labels) if self._labels else np.zeros((len(days), 0))
                known = np.isfinite(labels)
                matrix = np.concatenate([np.ones((len(days), 1)), np.where(known, labels, 0.0), known], axis=1)
            present, places = np.unique(days[dated], return_inverse=True)
            sums = [np.bincount(places, weights=part, minlength=len(present)) for part in matrix[dated].T]
            for i, day in enumerate(present.tolist()):
                totals[day] = totals.get(day, 0.0) + np.array([part[i] for part in sums])

    def result(self, timestamp: str, targets: Sequence[str]) -> Days | None:
        """The days by one of the columns; None if it holds no dates."""
        totals = self._totals[timestamp]
        if not totals:
            return None
        size = len(self._labels)
        days = []
        for day, total in sorted(totals.items()):
            means = {}
            for name in targets:
                at = 1 + self._labels.index(name)
                means[name] = float(total[at] / total[at + size]) if total[at + size] else None
            days.append(Day(str(np.datetime64(day, "D")), int(total[0]), means))
        return Days(timestamp, tuple(days), self._undated[timestamp])
