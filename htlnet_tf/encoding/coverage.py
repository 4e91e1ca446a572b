"""How much of the rows the encoder's vocabularies cover."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from htlnet_tf.encoding.encoder import FeatureEncoder


class Coverage:
    """Counts the values that are out of vocabulary, over any number of chunks of rows.

    Args:
      encoder: Which encoded the rows.

    Attributes:
      num_rows: Rows counted.
    """

    def __init__(self, encoder: FeatureEncoder) -> None:
        self._encoder = encoder
        self._unknown: Counter[str] = Counter()
        self._values: Counter[str] = Counter()
        self.num_rows = 0

    def add(self, ids: np.ndarray) -> None:
        """Adds encoded rows: int32 [N, num_slots]."""
        self.num_rows += len(ids)
        for name, (unknown, values) in self.by_row(ids).items():
            self._unknown[name] += int(unknown.sum())
            self._values[name] += int(values.sum())

    def by_row(self, ids: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """By feature with a vocabulary, how many of a row's values are out of vocabulary, and how many it has.

        Args:
          ids: int32 [N, num_slots].

        Returns:
          int64 [N] each; missing values do not count, as in `counts`.
        """
        found, start = {}, 0
        for field in self._encoder.layout.fields:
            part, start = ids[:, start : start + field.slots], start + field.slots
            block = self._encoder.blocks[field.name]
            if block.unknown is None:
                continue  # hashed, or computed: every value has a row
            absent = part == self._encoder.padding[field.name]
            if block.missing != block.unknown:
                absent |= part == block.missing
            unknown = np.count_nonzero(part == block.unknown, axis=1)
            found[field.name] = unknown, part.shape[1] - np.count_nonzero(absent, axis=1)
        return found

    def counts(self) -> dict[str, tuple[int, int]]:
        """By feature with a vocabulary: values out of vocabulary, and values in all. Missing ones do not count.

        Where the training rows had no missing value, one in these rows is read as out of vocabulary.
        """
        return {name: (self._unknown[name], self._values[name]) for name in self._values}

    def shares(self) -> dict[str, float]:
        """By feature with a vocabulary, the share of the values that is out of vocabulary; 0 where there are none."""
        return {name: unknown / values if values else 0.0 for name, (unknown, values) in self.counts().items()}
