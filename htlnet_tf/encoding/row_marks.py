"""Tells whether rows are those that were seen before, by a mark each, in bounded memory."""

from __future__ import annotations

import numpy as np

_MOST = 2**20


class RowMarks:
    """A set of marks, of which at most 2^20 are kept: beyond, those whose last bits are 0.

    Rows that were not seen are noticed if one of them has a mark of the kind that is kept: of n rows with the share p
    kept, with probability 1 - (1 - p)^n.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most, self._bits = most, 0
        self._kept = np.empty(0, np.uint64)

    def add(self, marks: np.ndarray) -> None:
        """Adds marks, uint64 [N], which are as good as random."""
        self._kept = np.union1d(self._kept, marks[self._is_kept(marks)])
        while len(self._kept) > self._most:
            self._bits += 1
            self._kept = self._kept[self._is_kept(self._kept)]

    def lacks(self, marks: np.ndarray) -> int | None:
        """The position of the first of some marks that was not added, as far as can be told; None: there is none."""
        looked_at = np.flatnonzero(self._is_kept(marks))
        unknown = looked_at[~np.isin(marks[looked_at], self._kept)]
        return int(unknown[0]) if len(unknown) else None

    def _is_kept(self, marks: np.ndarray) -> np.ndarray:
        return np.asarray(marks & np.uint64((1 << self._bits) - 1) == 0)
