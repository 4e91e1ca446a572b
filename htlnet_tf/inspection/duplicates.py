"""Rows that repeat an earlier row exactly."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

# 8 bytes of memory per row while reading, 16 while counting: 1.6 GB at this bound. Later rows are not compared.
MAX_COMPARED_ROWS = 100_000_000


@dataclass(frozen=True)
class Duplicates:
    """Exact duplicates, by a 64-bit hash over all columns.

    Args:
      rows: Rows that repeat an earlier row.
      compared: Rows that were compared.
      first: The first row that repeats one, counted from 0; None without duplicates.
      first_repeats: The row that it repeats.
    """

    rows: int
    compared: int
    first: int | None = None
    first_repeats: int | None = None


class DuplicateCounter:
    """Keeps a hash of every row."""

    def __init__(self) -> None:
        self._blocks: list[np.ndarray] = []
        self._compared = 0

    def update(self, hashes: Iterable[np.ndarray]) -> None:
        """Adds the rows of one chunk: for each column, in a fixed order, uint64 [N]."""
        columns = pd.DataFrame(dict(enumerate(hashes)))
        block = pd.util.hash_pandas_object(columns, index=False).to_numpy()[: MAX_COMPARED_ROWS - self._compared]
        self._blocks.append(block)
        self._compared += len(block)

    def result(self) -> Duplicates:
        """What was counted."""
        ordered = np.concatenate([*self._blocks, np.zeros(0, np.uint64)])
        ordered.sort()
        repeats = ordered[1:][ordered[1:] == ordered[:-1]]
        if not len(repeats):
            return Duplicates(0, self._compared)
        return Duplicates(len(repeats), self._compared, *self._first_pair(np.unique(repeats)))

    def _first_pair(self, repeated: np.ndarray) -> tuple[int, int]:
        seen: dict[int, int] = {}
        start = 0
        for block in self._blocks:
            for row in np.flatnonzero(np.isin(block, repeated)):
                value = int(block[row])
                if value in seen:
                    return start + int(row), seen[value]
                seen[value] = start + int(row)
            start += len(block)
        raise AssertionError("a hash that repeats is found twice")
