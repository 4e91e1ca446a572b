"""Sums by value and block of rows, of which a row's own block can be left out."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

_DENSE = 8
_MAX_PLACES = 2**26


@dataclasses.dataclass(frozen=True)
class Cells:
    """Sums per pair of a value and a block that occurs.

    Attributes:
      keys: int64 [M], increasing: value * blocks + block.
      sums: float64 [C, M], C numbers for each.
      blocks: How many blocks there may be.
    """

    keys: np.ndarray
    sums: np.ndarray
    blocks: int

    @classmethod
    def merged(cls, parts: Sequence[Cells]) -> Cells:
        """The sums over several parts of the rows; at least one part."""
        if len(parts) == 1:
            return parts[0]
        keys, sums = (np.concatenate([getattr(part, name) for part in parts], axis=-1) for name in ("keys", "sums"))
        return _by_key(keys, sums.T, parts[0].blocks)

    def totals(self, values: int) -> np.ndarray:
        """Of all blocks, by value: float64 [C, values]; `values` is more than any that occurs."""
        return np.pad(self._by_value, ((0, 0), (0, values - self._by_value.shape[1])))

    def totals_of(self, values: np.ndarray) -> np.ndarray:
        """Of all blocks, for each of some values [N]: float64 [C, N]."""
        totals = self.totals(max(self._by_value.shape[1], int(values.max(initial=-1)) + 1))
        return totals[:, values]

    def without(self, values: np.ndarray, blocks: np.ndarray, *, earlier: bool) -> np.ndarray:
        """For rows of the given values and blocks, int64 [N] each, the sums of the other blocks.

        Args:
          values: Of the rows.
          blocks: Likewise.
          earlier: Of the blocks before alone.

        Returns:
          float64 [C, N]; 0 where the pair of value and block did not occur.
        """
        keys = values * self.blocks + blocks
        places = self._places_of(keys)
        inside = places < len(self.keys)
        places = np.where(inside, places, 0)
        known = inside & (self.keys[places] == keys) if len(self.keys) else np.zeros(len(keys), bool)
        others = self._earlier if earlier else self._others
        # By rows, for one row's numbers lie together.
        found = np.take(others, places, axis=0) if len(others) else np.zeros((len(keys), len(self.sums)))
        if not known.all():
            found[~known] = 0.0
        return found.T

    def _places_of(self, keys: np.ndarray) -> np.ndarray:
        """As `np.searchsorted`, by a table of all keys where that is not too large."""
        most = int(self.keys[-1]) if len(self.keys) else 0
        if most >= _MAX_PLACES or int(keys.max(initial=0)) > most:
            return np.searchsorted(self.keys, keys)
        return self._all_places[keys]

    @functools.cached_property
    def _all_places(self) -> np.ndarray:
        place = np.searchsorted(self.keys, np.arange(int(self.keys[-1]) + 1)) if len(self.keys) else np.zeros(1)
        return place.astype(np.int32)

    @functools.cached_property
    def _by_value(self) -> np.ndarray:
        found = self.keys // self.blocks
        return np.stack([np.bincount(found, line) for line in self.sums])

    @functools.cached_property
    def _others(self) -> np.ndarray:
        """Of each cell the sums of its value's other cells, float64 [M, C]."""
        return np.ascontiguousarray((self._by_value[:, self.keys // self.blocks] - self.sums).T)

    @functools.cached_property
    def _earlier(self) -> np.ndarray:
        """Of each cell the sums of its value's cells before it, float64 [M, C]."""
        before = np.cumsum(self.sums, axis=1) - self.sums
        starts = np.searchsorted(self.keys, self.keys // self.blocks * self.blocks)
        return np.ascontiguousarray((before - before[:, starts]).T)


def added(values: np.ndarray, blocks: np.ndarray, numbers: np.ndarray, num_blocks: int) -> Cells:
    """Adds rows up.

    Args:
      values: int64 [N].
      blocks: int64 [N], below `num_blocks`.
      numbers: float64 [N, C].
      num_blocks: How many blocks there are.
    """
    return _by_key(values * num_blocks + blocks, numbers, num_blocks)


def _by_key(keys: np.ndarray, numbers: np.ndarray, num_blocks: int) -> Cells:
    if len(keys) and int(keys.max()) < _DENSE * len(keys):
        # Without a sort, where most cells occur anyway.
        found = np.flatnonzero(np.bincount(keys))
        return Cells(found, np.stack([np.bincount(keys, column)[found] for column in numbers.T]), num_blocks)
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])) if len(keys) else np.zeros(0, np.int64)
    sums = np.add.reduceat(numbers[order], starts, axis=0) if len(keys) else np.zeros((0, numbers.shape[1]))
    return Cells(ordered[starts], np.ascontiguousarray(sums.T), num_blocks)
