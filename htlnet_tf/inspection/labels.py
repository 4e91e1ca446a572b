"""Counts over pairs of labels: what happened together, and what happened although an earlier step did not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from htlnet_tf.inspection.values import Values


@dataclass(frozen=True)
class Violation:
    """A step of the funnel that happened although an earlier one did not.

    Args:
      earlier: The step that is 0.
      later: The step that is 1, or the core target that is above 0.
      rows: In how many rows.
      share_of_later: Of the rows in which the later step happened.
      first: The first such row, counted from 0.
    """

    earlier: str
    later: str
    rows: int
    share_of_later: float
    first: int


class LabelCounter:
    """Counts every pair of the columns that may be labels, so that the funnel can be settled after the last row.

    A label happened where its value is above 0.

    Args:
      names: The columns.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        size = len(names)
        self._both = np.zeros((size, size), np.int64)  # [i, j]: i and j happened
        self._only_second = np.zeros((size, size), np.int64)  # [i, j]: i did not happen, j did
        self._first = np.full((size, size), -1, np.int64)  # the first row of the above
        self._known_given = np.zeros((size, size), np.int64)  # [i, j]: i happened, j is known

    def update(self, chunk: Mapping[str, Values], first_row: int) -> None:
        """Adds a chunk whose first row has this number in the stream; columns without numbers count as missing."""
        if not self.names:
            return
        labels = label_matrix(chunk, self.names)
        known = ~np.isnan(labels)
        happened = known & (labels > 0)
        did_not = known & ~happened
        # Products of 0/1 matrices in float64 are exact, and faster than in integers.
        yes, no = happened.astype(np.float64), did_not.astype(np.float64)
        only_second = (no.T @ yes).astype(np.int64)
        self._both += (yes.T @ yes).astype(np.int64)
        self._known_given += (yes.T @ known.astype(np.float64)).astype(np.int64)
        for i, j in zip(*np.nonzero((only_second > 0) & (self._first < 0)), strict=True):
            self._first[i, j] = first_row + int(np.argmax(did_not[:, i] & happened[:, j]))
        self._only_second += only_second

    def happened(self, name: str) -> int:
        """Rows in which the label is above 0."""
        i = self.names.index(name)
        return int(self._both[i, i])

    def rate_given(self, earlier: str, later: str) -> float | None:
        """The rate of a label where an earlier one happened; None if there is no such row."""
        i, j = self.names.index(earlier), self.names.index(later)
        return float(self._both[i, j] / self._known_given[i, j]) if self._known_given[i, j] else None

    def violations(self, steps: Sequence[str]) -> tuple[Violation, ...]:
        """The violations of a funnel, given in order; its last step may be the core target."""
        found = []
        for position, later in enumerate(steps):
            for earlier in steps[:position]:
                i, j = self.names.index(earlier), self.names.index(later)
                rows = int(self._only_second[i, j])
                if rows:
                    share = rows / int(self._both[j, j])
                    found.append(Violation(earlier, later, rows, share, int(self._first[i, j])))
        return tuple(found)


def label_matrix(chunk: Mapping[str, Values], names: Sequence[str]) -> np.ndarray:
    """The labels of a chunk as float64 [N, len(names)], NaN where they are missing or no numbers."""
    columns = []
    for name in names:
        values = chunk[name]
        if values.numbers is None or values.kind not in ("number", "bool"):
            columns.append(np.full(len(values.missing), np.nan))
        else:
            columns.append(values.numbers)
    return np.stack(columns, axis=1)
