"""A uniform sample of a stream's rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from htlnet_tf.inspection.values import MISSING_CODE, Values

# A quantile or an AUC from so many rows is off by a few thousandths at most. 1.6 MB per column.
MAX_SAMPLED_ROWS = 200_000
_SEED = 20_240_601


class Sample:
    """Keeps the rows with the smallest random keys, so the sample does not depend on where the chunks end.

    Args:
      columns: The columns that are kept.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self._place = {name: i for i, name in enumerate(columns)}
        self._random = np.random.default_rng(_SEED)
        self._keys = np.zeros(0)
        self._rows = np.zeros((len(columns), 0), np.uint64)
        self._threshold = 1.0

    def update(self, chunk: Mapping[str, Values], num_rows: int) -> None:
        """Adds the rows of one chunk."""
        keys = self._random.random(num_rows)
        chosen = keys < self._threshold
        if not chosen.any():
            return
        rows = np.stack([chunk[name].codes[chosen] for name in self._place])
        self._keys = np.append(self._keys, keys[chosen])
        self._rows = np.concatenate([self._rows, rows], axis=1)
        if len(self._keys) > MAX_SAMPLED_ROWS:
            kept = np.sort(np.argpartition(self._keys, MAX_SAMPLED_ROWS - 1)[:MAX_SAMPLED_ROWS])
            self._keys, self._rows = self._keys[kept], self._rows[:, kept]
            self._threshold = float(self._keys.max())

    def __len__(self) -> int:
        return len(self._keys)

    def codes(self, name: str) -> np.ndarray:
        """uint64 [rows], equal for equal values; `MISSING_CODE` where missing. In the stream's order."""
        return self._rows[self._place[name]]

    def numbers(self, name: str) -> np.ndarray:
        """float64 [rows] of a column that holds numbers or times alone; NaN where missing."""
        return self.codes(name).view(np.float64)

    def missing(self, name: str) -> np.ndarray:
        """Bool [rows]."""
        return self.codes(name) == MISSING_CODE
