"""What objectives take from the labels of the training rows."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

GRID = 512
"""Parts of equally many labels by whose bounds the distribution is kept."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class LabelStatistics:
    """The observed labels of a continuous target over the training rows, in one unit.

    Args:
      mean: Of the labels.
      std: Their population standard deviation; 1 for constant labels.
      positive_share: Share of labels > 0.
      log_mean: Mean of the logarithm of the labels > 0; 0 if there are none.
      log_std: Its population standard deviation; 1 if it does not vary.
      quantiles: The inner quantiles of `GRID` parts of equally many labels, not decreasing, each a label that exists;
        of a uniform sample where there are many rows.
      part_means: With q_1 < .. < q_n the quantiles that differ, the mean of the labels up to q_1, of those in
        (q_1, q_2], .., of those above q_n, without the last if there are none: equal labels are in one part.
      part_shares: The share of the labels in each of these parts, of sum 1.
    """

    mean: float
    std: float
    positive_share: float = 1.0
    log_mean: float = 0.0
    log_std: float = 1.0
    quantiles: tuple[float, ...] = ()
    part_means: tuple[float, ...] = ()
    part_shares: tuple[float, ...] = ()

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
        """Divides the labels into at most `number` parts of about equally many; equal labels stay together.

        What a value that is frequent, such as 0, takes of the labels is divided among no other part.

        Returns:
          The increasing bounds t_1 < .. < t_M between the parts, the labels of part m being in (t_m, t_{m+1}], float64
          [M]; the mean label of each part and its share of the labels, float64 [M + 1]. M is 0 if all labels are equal.
        """
        means, shares = np.asarray(self.part_means), np.asarray(self.part_shares)
        if len(means) < 2:
            return np.empty(0), np.array([self.mean]), np.ones(1)
        ends: list[int] = []
        left, part = 1.0, 0.0
        for k, share in enumerate(shares):
            # Closed where the next one would take it further beyond its due than it now is below.
            due = left / (number - len(ends))
            if part > 0.0 and len(ends) < number - 1 and part + share / 2.0 > due + 1e-9:
                ends.append(k)
                left, part = left - part, 0.0
            part += share
        starts = [0, *ends]
        of_parts = np.add.reduceat(shares, starts)
        return (
            np.unique(self.quantiles)[np.array(ends, int) - 1],
            np.add.reduceat(shares * means, starts) / of_parts,
            of_parts,
        )
