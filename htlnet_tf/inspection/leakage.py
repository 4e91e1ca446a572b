"""Columns that alone tell the label: outcomes in disguise, as a rule."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from htlnet_tf.inspection.sample import Sample
from htlnet_tf.inspection.values import MISSING_CODE
from htlnet_tf.schema import Binary, Continuous, Multiclass

# One column of what is known before the impression does not get here: a whole model reaches an AUC of 0.7 to 0.9.
SUSPICIOUS_AUC = 0.95
# The same for the rank correlation with the core target.
SUSPICIOUS_SPEARMAN = 0.95
# With fewer rows of either class a high AUC is chance.
MIN_ROWS = 20
_FOLDS = 5
# Not a seed that labels are likely to be generated with: the folds would follow the labels.
_FOLD_SEED = 20_240_602
# Rows at the overall rate that are mixed into each value's rate, so that a value seen once says little.
_SMOOTHING = 10.0


@dataclass(frozen=True)
class Suspect:
    """A column that alone predicts a target suspiciously well.

    Args:
      column: The column.
      target: What it predicts.
      measure: `"AUC"` (1: perfect, 0.5: chance) or `"Spearman"` (absolute value).
      value: Over the sample.
      by: What of the column predicts: the number itself (`"value"`), the label's mean for its value in the other folds
        (`"value's mean label"`), or whether it is missing (`"missingness"`).
    """

    column: str
    target: str
    measure: Literal["AUC", "Spearman"]
    value: float
    by: str


def find_suspects(
    sample: Sample,
    columns: Iterable[tuple[str, bool]],
    targets: Sequence[Binary | Multiclass | Continuous],
) -> tuple[Suspect, ...]:
    """Tries every column alone against every binary target and the core.

    Args:
      sample: Rows of the stream.
      columns: Names of the columns to try, each with whether it holds numbers alone.
      targets: Multiclass ones are not tried.

    Returns:
      The strongest evidence per column and target, as columns and targets come.
    """
    suspects = []
    labels = {t.source: sample.numbers(t.source) for t in targets if not isinstance(t, Multiclass)}
    binary = {t.source for t in targets if isinstance(t, Binary)}
    for name, is_number in columns:
        codes, numbers = sample.codes(name), sample.numbers(name) if is_number else None
        for target, label in labels.items():
            found = _binary(codes, numbers, label) if target in binary else _core(codes, numbers, label)
            if found is not None:
                measure, value, by = found
                suspects.append(Suspect(name, target, measure, round(value, 4), by))
    return tuple(suspects)


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """The area under the ROC curve by ranks (Mann and Whitney 1947); ties count half. NaN with one class alone.

    Args:
      labels: bool [N].
      scores: float64 [N].
    """
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        return float("nan")
    return (rankdata(scores)[labels].sum() - positives * (positives + 1) / 2) / (positives * negatives)


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """The rank correlation; 0 if either is constant."""
    ranks = np.stack([rankdata(x), rankdata(y)])
    spread = ranks.std(axis=1)
    return float(np.corrcoef(ranks)[0, 1]) if spread.all() else 0.0


def out_of_fold_means(codes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """For each row, the smoothed mean label of its value over the other folds' rows.

    Args:
      codes: uint64 [N], equal for equal values.
      labels: float64 [N].

    Returns:
      float64 [N]; the overall mean for a value that no other fold has, so a column of ids says nothing.
    """
    places, distinct = pd.factorize(codes)
    folds = np.random.default_rng(_FOLD_SEED).integers(0, _FOLDS, len(codes))
    cells = folds * len(distinct) + places
    shape = (_FOLDS, len(distinct))
    sums = np.bincount(cells, weights=labels, minlength=_FOLDS * len(distinct)).reshape(shape)
    counts = np.bincount(cells, minlength=_FOLDS * len(distinct)).reshape(shape)
    prior = labels.mean()
    means = (sums.sum(0) - sums + _SMOOTHING * prior) / (counts.sum(0) - counts + _SMOOTHING)
    return means[folds, places]


_Evidence = tuple[Literal["AUC", "Spearman"], float, str]


def _binary(codes: np.ndarray, numbers: np.ndarray | None, label: np.ndarray) -> _Evidence | None:
    known = (label == 0) | (label == 1)
    happened = label[known] == 1
    if min(happened.sum(), (~happened).sum()) < MIN_ROWS:
        return None
    missing = codes[known] == MISSING_CODE
    evidence: list[_Evidence] = []
    if missing.any():
        evidence.append(("AUC", _either_way(happened, missing.astype(float)), "missingness"))
    if numbers is not None:
        present = ~missing
        if min((happened & present).sum(), (~happened & present).sum()) >= MIN_ROWS:
            evidence.append(("AUC", _either_way(happened[present], numbers[known][present]), "value"))
    evidence.append(
        ("AUC", auc(happened, out_of_fold_means(codes[known], happened.astype(float))), "value's mean label")
    )
    return _strongest(evidence, SUSPICIOUS_AUC)


def _core(codes: np.ndarray, numbers: np.ndarray | None, label: np.ndarray) -> _Evidence | None:
    known = np.isfinite(label)
    if known.sum() < 2 * MIN_ROWS:
        return None
    evidence: list[_Evidence] = []
    if numbers is not None:
        present = known & ~np.isnan(numbers)
        if present.sum() >= 2 * MIN_ROWS:
            evidence.append(("Spearman", abs(spearman(numbers[present], label[present])), "value"))
    means = out_of_fold_means(codes[known], rankdata(label[known]))
    evidence.append(("Spearman", spearman(means, label[known]), "value's mean label"))
    return _strongest(evidence, SUSPICIOUS_SPEARMAN)


def _strongest(evidence: Sequence[_Evidence], threshold: float) -> _Evidence | None:
    best = max(evidence, key=lambda e: e[1])  # the simplest explanation of equal ones stands first
    return best if best[1] > threshold else None


def _either_way(labels: np.ndarray, scores: np.ndarray) -> float:
    value = auc(labels, scores)
    return max(value, 1.0 - value)
