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
        start = 0
        for field in self._encoder.layout.fields:
            part, start = ids[:, start : start + field.slots], start + field.slots
            block = self._encoder.blocks[field.name]
            if block.unknown is None:
                continue  # hashed, or computed: every value has a row
            absent = np.count_nonzero(part == self._encoder.padding[field.name])
            if block.missing != block.unknown:
                absent += np.count_nonzero(part == block.missing)
            self._unknown[field.name] += int(np.count_nonzero(part == block.unknown))
            self._values[field.name] += part.size - int(absent)

    def counts(self) -> dict[str, tuple[int, int]]:
        """By feature with a vocabulary: values out of vocabulary, and values in all. Missing ones do not count.

        Where the training rows had no missing value, one in these rows is read as out of vocabulary.
        """
        return {name: (self._unknown[name], self._values[name]) for name in self._values}

    def shares(self) -> dict[str, float]:
        """By feature with a vocabulary, the share of the values that is out of vocabulary; 0 where there are none."""
        return {name: unknown / values if values else 0.0 for name, (unknown, values) in self.counts().items()}
