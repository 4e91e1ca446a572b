"""What later rows say of a model's predictions: by their labels where these are there, else by their spread."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from htlnet_tf.data.labels import label_columns, read_labels
from htlnet_tf.judging.drift import shift_of_numbers
from htlnet_tf.judging.exact_metrics import Floats, decile_error
from htlnet_tf.schema import Schema
from htlnet_tf.schema.ranking import SCORE

_DEVIATIONS = 3.0
_GROUPS = 10
_MEAN_SIZE = math.sqrt(2 / math.pi)  # of a standard normal number


class Measured(NamedTuple):
    """A number with what chance alone makes of it, in so many rows that are independent.

    Attributes:
      value: NaN where it is undefined.
      chance: How far it may lie from what it is without chance; three standard deviations.
    """

    value: float
    chance: float


UNDEFINED = Measured(math.nan, math.nan)


class OutputDrift(NamedTuple):
    """One column of predictions, of the later rows and of those of the training.

    Attributes:
      psi: Population stability of the predictions.
      mean_before: Mean prediction of the reference rows.
      mean: Mean prediction of the later rows.
      labels: How many of the later rows have a label that counts.
      rate_before: Mean label of the reference rows; NaN without labels.
      rate: Mean label of the later rows.
      rate_change: `rate` over `rate_before`, less 1.
      level: Total predicted over total actual, over the rows with labels.
      calibration_error: Over ten groups of rows in the order of the prediction, the mean distance of prediction and
        label, as a share of the mean size of a label.
    """

    psi: Measured
    mean_before: float
    mean: float
    labels: int
    rate_before: float
    rate: float
    rate_change: Measured
    level: Measured
    calibration_error: Measured


def output_drifts(
    schema: Schema,
    before: tuple[pd.DataFrame, pd.DataFrame],
    later: tuple[pd.DataFrame, pd.DataFrame],
) -> dict[str, OutputDrift]:
    """By column of the targets' predictions, of a multiclass target each class, and by the `score` of a ranking.

    Args:
      schema: Declares targets and ranking.
      before: The reference rows with their labels, and what the model predicts for them.
      later: The later rows with theirs; a label that is missing counts for nothing.

    Raises:
      InputError: A label is not valid for its target; names column, row and value.
    """
    (rows_before, predicted_before), (rows, predicted) = before, later
    labels_before, labels = read_labels(rows_before, schema), read_labels(rows, schema)
    found = {}
    for target in schema.targets:
        counts_before, counts = labels_before.observed[target.name], labels.observed[target.name]
        y_before = label_columns(labels_before.values[target.name][counts_before], target)
        y = label_columns(labels.values[target.name][counts], target)
        for column, name in enumerate(target.score_names):
            p_before, p = (np.asarray(part[name], np.float64) for part in (predicted_before, predicted))
            found[name] = _with_labels(p_before, p, y_before[:, column], y[:, column], p[counts])
    if schema.ranking is not None:
        nothing = np.zeros(0)
        p_before, p = (np.asarray(part[SCORE], np.float64) for part in (predicted_before, predicted))
        found[SCORE] = _with_labels(p_before, p, nothing, nothing, nothing)
    return found


def _with_labels(p_before: Floats, p: Floats, y_before: Floats, y: Floats, judged: Floats) -> OutputDrift:
    """`judged` are the predictions of the rows whose labels are `y`."""
    shift = shift_of_numbers(p_before, p)
    rate_before, rate = (float(labels.mean()) if labels.size else math.nan for labels in (y_before, y))
    return OutputDrift(
        psi=Measured(shift.psi, shift.chance),
        mean_before=float(p_before.mean()),
        mean=float(p.mean()),
        labels=len(y),
        rate_before=rate_before,
        rate=rate,
        rate_change=_rate_change(y_before, y),
        level=_level(y, judged),
        calibration_error=_calibration_error(y, judged),
    )


def _rate_change(before: Floats, after: Floats) -> Measured:
    """Its variance is by the delta method: that of a quotient of independent means."""
    if not before.size or not after.size or before.mean() == 0:
        return UNDEFINED
    ratio = after.mean() / before.mean()
    variance = (after.var() / after.size + ratio**2 * before.var() / before.size) / before.mean() ** 2
    return Measured(float(ratio - 1), _DEVIATIONS * math.sqrt(variance))


def _level(y: Floats, p: Floats) -> Measured:
    if not y.size or y.sum() == 0:
        return UNDEFINED
    return Measured(float(p.sum() / y.sum()), float(_DEVIATIONS * _deviation(y - p) / abs(y.sum())))


def _calibration_error(y: Floats, p: Floats) -> Measured:
    """Of a perfect prediction the distance in a group is the size of a normal number."""
    size = float(np.abs(y).mean()) if y.size else 0.0
    if size == 0:
        return UNDEFINED
    groups = np.array_split(np.argsort(p, kind="stable"), min(_GROUPS, len(p)))
    deviations = np.array([_deviation((y - p)[group]) / len(group) for group in groups])
    spread = math.sqrt((1 - _MEAN_SIZE**2) * float((deviations**2).sum())) / len(groups)
    chance = _MEAN_SIZE * float(deviations.mean()) + _DEVIATIONS * spread
    return Measured(decile_error(y, p, scale=size), chance / size)


def _deviation(errors: npt.NDArray[np.float64]) -> float:
    """Of the sum of independent errors whose mean is 0."""
    return math.sqrt(float((errors**2).sum()))
