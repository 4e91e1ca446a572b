"""Whether the values of the features are spread in later rows as they were in the training rows."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

from htlnet_tf.data.columns import Arrays
from htlnet_tf.judging.encoded_columns import encoded_columns

if TYPE_CHECKING:
    from htlnet_tf.encoding.encoder import FeatureEncoder

NOTABLE, LARGE = 0.1, 0.25
"""Below the first a population counts as stable, from the second on as another one (Siddiqi)."""

_FREQUENT = 9
_BINS = 10
_ADDED = 0.5  # to every count, so that a value of one side alone gives a large number and not infinity
_CHANCE_LEVEL = 0.999


class Shift(NamedTuple):
    """How differently something is spread in two sets of rows.

    Attributes:
      psi: The population stability index, 0 or more; NaN where a side has no values.
      chance: What it stays below in 999 of 1000 draws of so many rows from one population. Of two samples of n and m
        rows in K groups, PSI / (1 / n + 1 / m) has a chi-squared distribution of K - 1 degrees of freedom (Yurdakul).
    """

    psi: float
    chance: float


_UNDEFINED = Shift(math.nan, math.nan)


def population_stability(before: npt.ArrayLike, after: npt.ArrayLike) -> float:
    """The population stability index of counts: sum of (q - p) ln(q / p) over the groups, with shares p and q.

    It is the symmetric Kullback-Leibler divergence (Jeffreys). Half a row is added to every count.

    Args:
      before: Counts per group, [K].
      after: Counts of the same groups, [K].

    Returns:
      0 or more; NaN if one side has no rows.

    References:
      Siddiqi: "Credit Risk Scorecards", Wiley 2006: below 0.1 stable, from 0.25 on a major shift.
    """
    p, q = (np.asarray(counts, np.float64) for counts in (before, after))
    if not p.sum() or not q.sum():
        return float("nan")
    p, q = ((counts + _ADDED) / (counts + _ADDED).sum() for counts in (p, q))
    return float(((q - p) * np.log(q / p)).sum())


def drift(encoder: FeatureEncoder, train: Arrays, later: Arrays) -> dict[str, float]:
    """The population stability index of every feature.

    Groups are those of the training rows: of what has embedding rows the nine most frequent values, missing ones, and
    all others; of numbers the tenths. Values out of vocabulary are left out: the training rows have next to none, and
    `htlnet_tf.encoding.coverage` counts them. A feature of several fields or numbers has the largest of their indices.

    Args:
      encoder: Fitted on the training rows.
      train: Encoded training rows, or a sample of them: `"ids"` int32 [N, num_slots], `"numeric"` float32 [N,
        num_numeric].
      later: Other encoded rows, [M, ...].

    Returns:
      By feature, 0 or more; NaN where a side has no values.
    """
    return {name: shift.psi for name, shift in shifts(encoder, train, later).items()}


def shifts(encoder: FeatureEncoder, train: Arrays, later: Arrays) -> dict[str, Shift]:
    """As `drift`, with what chance alone makes of so many rows.

    References:
      Yurdakul, Naranjo: "Statistical Properties of the Population Stability Index", Journal of Risk Model Validation
      2020.
    """
    found = {}
    for name, columns in encoded_columns(encoder).items():
        of_feature = []
        for field, slots in columns.fields.items():
            block, padding = encoder.blocks[field], encoder.padding[field]
            before, after = (np.ravel(rows["ids"][:, slots]) for rows in (train, later))
            left_out = [row for row in (padding, block.unknown) if row is not None]
            before, after = (ids[~np.isin(ids, left_out)] for ids in (before, after))
            of_feature.append(_of_rows(before, after, block.missing))
        for column in range(columns.values.start, columns.values.stop):
            of_feature.append(shift_of_numbers(train["numeric"][:, column], later["numeric"][:, column]))
        found[name] = _largest(of_feature)
    return found


def shift_of_numbers(before: npt.ArrayLike, after: npt.ArrayLike) -> Shift:
    """How differently numbers are spread, by the tenths of the first; equal bounds make fewer of them.

    Args:
      before: Finite, [N].
      after: Finite, [M].
    """
    before, after = np.asarray(before), np.asarray(after)
    if not before.size or not after.size:
        return _UNDEFINED
    bounds = np.unique(np.quantile(before, np.linspace(0, 1, _BINS + 1)[1:-1]))
    return _of_places(np.searchsorted(bounds, before), np.searchsorted(bounds, after))


def _largest(shifts: Iterable[Shift]) -> Shift:
    return max((shift for shift in shifts if not math.isnan(shift.psi)), default=_UNDEFINED)


def _of_rows(before: np.ndarray, after: np.ndarray, missing: int | None) -> Shift:
    """By the most frequent rows, that of missing values, and all others together."""
    if not before.size or not after.size:
        return _UNDEFINED
    rows, counts = np.unique(before, return_counts=True)
    frequent = set(rows[np.argsort(-counts, kind="stable")][:_FREQUENT].tolist())
    groups = np.array(sorted(frequent | ({missing} if missing is not None else set())))

    def places(ids: np.ndarray) -> np.ndarray:
        found = np.minimum(np.searchsorted(groups, ids), len(groups) - 1)
        return np.where(groups[found] == ids, found, len(groups))

    return _of_places(places(before), places(after))


def _of_places(before: np.ndarray, after: np.ndarray) -> Shift:
    length = max(before.max(), after.max()) + 1
    p, q = (np.bincount(places, minlength=length) for places in (before, after))
    met = (p + q) > 0  # a group that neither side has would only add its half rows
    chance = chi2.ppf(_CHANCE_LEVEL, met.sum() - 1) * (1 / before.size + 1 / after.size) if met.sum() > 1 else 0.0
    return Shift(population_stability(p[met], q[met]), float(chance))
