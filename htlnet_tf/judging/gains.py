"""How much of what happened the rows with the largest predictions hold: cumulative gains."""

from __future__ import annotations

import numpy as np
import pandas as pd

from htlnet_tf.errors import InputError
from htlnet_tf.judging.evaluation import judge
from htlnet_tf.judging.exact_metrics import Floats
from htlnet_tf.schema import Multiclass, Schema

_COLUMNS = ["target", "top", "captured", "perfect"]


def gains_table(schema: Schema, labels: pd.DataFrame, predictions: pd.DataFrame, *, points: int = 50) -> pd.DataFrame:
    """The share of a target's total that the rows with the largest predictions hold, from none of the rows to all.

    The curve of the Gini coefficient: the larger the area between it and the diagonal, the better the order. Rows with
    equal predictions share their labels' mean, which is the average over all orders of them; so the result does not
    depend on the order of the rows.

    Args:
      schema: Declares the targets.
      labels: As for `htlnet_tf.judging.evaluation.evaluate_predictions`.
      predictions: Likewise.
      points: Into so many equal steps the rows are cut; one more point is at the first hundredth.

    Returns:
      A row per target, in funnel order, and point: `target`, `top` (share of the rows, from 0 to 1), `captured` (share
      of the total that they hold), `perfect` (what they would hold in the order of the labels); float64. Without
      multiclass targets, and without those whose total is not above 0, for of nothing there are no shares.

    Raises:
      InputError: `points` is not positive, or as for `evaluate_predictions`.
    """
    if points < 1:
        raise InputError(f"points must be at least 1, received {points}")
    judged = judge(schema, labels, predictions)
    tops = np.unique([0.01, *np.linspace(0.0, 1.0, points + 1)])
    parts = []
    for target in schema.targets:
        y, p, _ = judged[target.name]
        if isinstance(target, Multiclass) or not y.size or y.sum() <= 0:
            continue
        curves = zip(tops, _captured(y, p[:, 0], tops), _captured(y, y, tops), strict=True)
        parts += [(target.name, *point) for point in curves]
    return pd.DataFrame(parts, columns=_COLUMNS).astype(dict.fromkeys(_COLUMNS[1:], np.float64))


def _captured(y: Floats, p: Floats, tops: Floats) -> Floats:
    """The share of the sum of `y` in the rows with the largest `p`, for every share of the rows."""
    _, tied = np.unique(p, return_inverse=True)
    means = (np.bincount(tied, weights=y) / np.bincount(tied))[tied]
    found = np.concatenate([[0.0], np.cumsum(means[np.argsort(-p, kind="stable")])])
    return np.asarray(np.interp(tops * y.size, np.arange(y.size + 1), found / found[-1]), np.float64)
