"""The encoded rows that take part in one target."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from htlnet_tf.encoding.encoded import EncodedRows
from htlnet_tf.schema.targets import Target


class Observed(NamedTuple):
    """The rows that take part in a target.

    Attributes:
      rows: Their positions, int64 [M].
      labels: float64 [M].
      weights: float64 [M], more than 0; None: all rows count alike.
    """

    rows: np.ndarray
    labels: np.ndarray
    weights: np.ndarray | None

    @classmethod
    def of(cls, rows: EncodedRows, target: Target) -> Observed:
        """Those of a target."""
        labels = np.asarray(rows.labels[target.name], np.float64)
        if rows.weights is None:
            return cls(np.arange(len(rows)), labels, None)
        weights = np.asarray(rows.weights[target.name], np.float64)
        taken = np.flatnonzero(weights)
        return cls(taken, labels[taken], weights[taken])

    @property
    def counts(self) -> np.ndarray:
        """How much each counts, float64 [M]: the weights, or 1."""
        return np.ones(len(self.rows)) if self.weights is None else self.weights

    def where(self, mask: np.ndarray) -> Observed:
        """Some of them: `mask` is bool [M]."""
        return Observed(self.rows[mask], self.labels[mask], None if self.weights is None else self.weights[mask])
