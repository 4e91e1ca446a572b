"""Whether the values of the features are spread in later rows as they were in the training rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from htlnet_tf.data.columns import Arrays
from htlnet_tf.judging.encoded_columns import encoded_columns

if TYPE_CHECKING:
    from htlnet_tf.encoding.encoder import FeatureEncoder

NOTABLE, LARGE = 0.1, 0.25
"""Below the first a population counts as stable, from the second on as another one (Siddiqi)."""

_FREQUENT = 9
_BINS = 10
_ADDED = 0.5  # to every count, so that a value of one side alone gives a large number and not infinity


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

    Groups are those of the training rows: of what has embedding rows the nine most frequent values, values out of
    vocabulary, missing ones, and all others; of numbers the tenths. A feature of several fields or numbers has the
    largest of their indices.

    Args:
      encoder: Fitted on the training rows.
      train: Encoded training rows, or a sample of them: `"ids"` int32 [N, num_slots], `"numeric"` float32 [N,
        num_numeric].
      later: Other encoded rows, [M, ...].

    Returns:
      By feature, 0 or more; NaN where a side has no values.
    """
    found = {}
    for name, columns in encoded_columns(encoder).items():
        indices = []
        for field, slots in columns.fields.items():
            block, padding = encoder.blocks[field], encoder.padding[field]
            before, after = (np.ravel(rows["ids"][:, slots]) for rows in (train, later))
            special = [row for row in (block.unknown, block.missing) if row is not None]
            indices.append(_of_rows(before[before != padding], after[after != padding], special))
        for column in range(columns.values.start, columns.values.stop):
            indices.append(_of_numbers(train["numeric"][:, column], later["numeric"][:, column]))
        found[name] = max(indices, default=float("nan"))
    return found


def _of_rows(before: np.ndarray, after: np.ndarray, special: list[int]) -> float:
    values, counts = np.unique(before, return_counts=True)
    frequent = values[np.argsort(-counts, kind="stable")][:_FREQUENT]
    groups = np.unique([*frequent, *special])

    def of(rows: np.ndarray) -> np.ndarray:
        places = np.minimum(np.searchsorted(groups, rows), len(groups) - 1) if len(groups) else np.zeros_like(rows)
        places = np.where(groups[places] == rows, places, len(groups)) if len(groups) else places
        return np.bincount(places, minlength=len(groups) + 1)

    p, q = of(before), of(after)
    met = (p + q) > 0  # a group that neither side has would only add its half rows
    return population_stability(p[met], q[met])


def _of_numbers(before: np.ndarray, after: np.ndarray) -> float:
    if not before.size:
        return float("nan")
    bounds = np.unique(np.quantile(before, np.linspace(0, 1, _BINS + 1)[1:-1]))
    p, q = (np.bincount(np.searchsorted(bounds, x), minlength=len(bounds) + 1) for x in (before, after))
    met = (p + q) > 0
    return population_stability(p[met], q[met])
