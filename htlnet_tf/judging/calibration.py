"""Whether predictions are as large as what happened, over the range of the predictions."""

from __future__ import annotations

import numpy as np
import pandas as pd

from htlnet_tf.errors import InputError
from htlnet_tf.judging.evaluation import judge
from htlnet_tf.schema import Multiclass, Schema


def calibration_table(
    schema: Schema, labels: pd.DataFrame, predictions: pd.DataFrame, *, bins: int = 10
) -> pd.DataFrame:
    """Mean label beside mean prediction, in bins of equally many rows from the lowest predictions to the highest.

    The rows of a target are those where its label was observed. They are sorted by prediction, those with equal ones
    in the order in which they stand, and cut into bins whose sizes differ by one row at most; so equal predictions may
    lie in several bins. A multiclass target is judged on its most likely class: the prediction is that class's
    probability, the label whether the class was the right one.

    Args:
      schema: Declares the targets.
      labels: As for `evaluate_predictions`.
      predictions: As for `evaluate_predictions`.
      bins: At most so many per target; a target of fewer rows has one for each.

    Returns:
      A row per target, in funnel order, and bin, with the columns `target`, `bin` (from 0, the lowest predictions;
      int64), `rows` (int64), `mean_prediction`, `mean_label` and `std_error` (float64): the standard error of
      `mean_label`, std / sqrt(rows) with the sample standard deviation of the labels, NaN in a bin of one row. A target
      without an observed label has no rows.

    Raises:
      InputError: `bins` is not positive, or as for `evaluate_predictions`.
    """
    if bins < 1:
        raise InputError(f"bins must be at least 1, received {bins}")
    judged = judge(schema, labels, predictions)
    parts = []
    for target in schema.targets:
        y, scores, _ = judged[target.name]
        p = scores.max(axis=1)
        if isinstance(target, Multiclass):
            y = (scores.argmax(axis=1) == y).astype(np.float64)
        order = np.argsort(p, kind="stable")
        for number, members in enumerate(np.array_split(order, min(bins, len(order))) if len(order) else []):
            happened = y[members]
            error = happened.std(ddof=1) / np.sqrt(len(members)) if len(members) > 1 else np.nan
            parts.append((target.name, number, len(members), p[members].mean(), happened.mean(), error))
    names = ["target", "bin", "rows", "mean_prediction", "mean_label", "std_error"]
    table = pd.DataFrame(parts, columns=names)
    return table.astype({"bin": np.int64, "rows": np.int64, **dict.fromkeys(names[3:], np.float64)})
