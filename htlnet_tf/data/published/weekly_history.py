"""What was known before a week: sums and last occurrences over the earlier weeks alone."""

from __future__ import annotations

import numpy as np


class WeeklyHistory:
    """Sums over the weeks before given weeks; the week itself and those after it never enter.

    Args:
      counts: int64 [num_weeks, ...], whole numbers (cents, not dollars), so that differences of sums are exact. Row i
        is week i + 1.
    """

    def __init__(self, counts: np.ndarray) -> None:
        # Row w - 1 is the sum over the weeks 1 .. w - 1, which is all that week w may know.
        self._before = np.zeros((len(counts) + 1, *counts.shape[1:]), dtype=np.int64)
        np.cumsum(counts, axis=0, out=self._before[1:])

    def ever(self, weeks: np.ndarray) -> np.ndarray:
        """The sum over all the weeks before each week.

        Args:
          weeks: int [n], from 1 on.

        Returns:
          int64 [n, ...].
        """
        return np.asarray(self._before[weeks - 1])

    def last(self, weeks: np.ndarray, length: int) -> np.ndarray:
        """The sum over the `length` weeks before each week, fewer where the log has fewer.

        Args:
          weeks: int [n], from 1 on.
          length: In weeks.

        Returns:
          int64 [n, ...].
        """
        return np.asarray(self._before[weeks - 1] - self._before[np.maximum(weeks - 1 - length, 0)])


def weeks_since(happened: np.ndarray, weeks: np.ndarray) -> np.ndarray:
    """How many weeks ago something happened last, before each week.

    Args:
      happened: bool [num_weeks, ...], row i is week i + 1.
      weeks: int [n], from 2 on.

    Returns:
      float32 [n, ...]: 1 if it happened in the week before; NaN if never before.
    """
    numbers = np.arange(1, len(happened) + 1, dtype=np.int32).reshape(-1, *[1] * (happened.ndim - 1))
    last = np.maximum.accumulate(np.where(happened, numbers, 0), axis=0)[weeks - 2]
    week = weeks.reshape(-1, *[1] * (happened.ndim - 1))
    return np.where(last > 0, week - last, np.nan).astype(np.float32)
