"""What objectives take from the labels of the training rows."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

GRID = 512
"""Parts of equally many labels that the distribution is kept in."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class LabelStatistics:
    """The observed labels of a continuous target over the training rows, in one unit.

    Args:
      mean: Of the labels.
      std: Their population standard deviation; 1 for constant labels.
      positive_share: Share of labels > 0.
      log_mean: Mean of the logarithm of the labels > 0; 0 if there are none.
      log_std: Its population standard deviation; 1 if it does not vary.
      quantiles: The inner quantiles of `GRID` parts of equally many labels, not decreasing, of a uniform sample where
        there are many rows.
      part_means: The mean label of each of the parts, `GRID` numbers.
    """

    mean: float
    std: float
    positive_share: float = 1.0
    log_mean: float = 0.0
    log_std: float = 1.0
    quantiles: tuple[float, ...] = ()
    part_means: tuple[float, ...] = ()

    def in_units(self, shift: float, scale: float) -> LabelStatistics:
        """The same of z = (y - shift) / scale; the logarithms are those of y / scale."""
        return dataclasses.replace(
            self,
            mean=(self.mean - shift) / scale,
            std=self.std / scale,
            log_mean=self.log_mean - math.log(scale),
            quantiles=tuple((q - shift) / scale for q in self.quantiles),
            part_means=tuple((m - shift) / scale for m in self.part_means),
        )

    def parts(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Divides the labels into about `number` parts of about equally many; equal labels stay together.

        Returns:
          The increasing bounds t_1 < .. < t_M between the parts, the labels of part m being in (t_m, t_{m+1}], float64
          [M]; the mean label of each part and its share of the labels, float64 [M + 1]. M is 0 if all labels are equal.
        """
        means = np.asarray(self.part_means)
        if not len(means) or means[0] == means[-1]:
            return np.empty(0), np.array([self.mean]), np.ones(1)
        inner = np.asarray(self.quantiles)
        chosen = np.unique(inner[np.unique(np.linspace(0, len(inner) - 1, number + 1)[1:-1].round().astype(int))])
        chosen = chosen[chosen < means[-1]]  # nothing lies above the highest label
        if not len(chosen):
            chosen = np.array([means[0]])
        part = np.searchsorted(chosen, means, side="left")
        used, part = np.unique(part, return_inverse=True)
        count = np.bincount(part)
        return chosen[used[:-1]], np.bincount(part, weights=means) / count, count / len(means)
