"""Whether predicted distributions are as wide as what happens: coverage, pinball loss, CRPS, PIT.

A label whose distribution is continuous at it lies at one level u = F(y | x). Where F jumps, as at an amount of 0, it
lies with the same right at any level of the jump, from P(y' < y) to P(y' <= y), and counts there by parts: a level q
inside the jump covers the part of the label below q. That is the mean over all draws of a randomised level, without a
draw. To count y <= Q_q instead would say that a quantile of 0 covers all of the zeros, 70 % at the level 10 % say, of
a distribution that is true.

References:
  Czado, Gneiting, Held: "Predictive Model Assessment for Count Data", Biometrics 65, 2009, for the PIT by parts.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from htlnet_tf.judging.evaluation import Scored, judge
from htlnet_tf.judging.quantile_metrics import covered, interval_of, pinball
from htlnet_tf.schema import Continuous, Schema

PIT_BINS = 20


def coverage_table(schema: Schema, scored: Scored) -> pd.DataFrame:
    """Per quantile, which share of the labels lies below it and what it loses.

    Args:
      schema: Declares the quantiles.
      scored: Rows with labels, predictions and the labels' levels, see `htlnet_tf.judging.evaluation.score`.

    Returns:
      A row per target and quantile with the columns `target`, `quantile` (its name), `nominal` (its level), `actual`
      (the share of labels below it), `pinball` (the mean loss, in the target's unit) and `rows`; and per target of
      several quantiles one for the interval from the first to the last, `spend_p10-spend_p90`, whose pinball is NaN.
    """
    rows = []
    for target, y, levels, observed in _judged(schema, scored):
        below, at = levels
        for name, q in zip(target.quantile_names, target.quantiles, strict=True):
            predicted = scored.predictions[name].to_numpy(np.float64)[observed]
            loss = pinball(y, predicted, q).mean()
            rows.append((target.name, name, q, covered(below, at, q).mean(), loss, len(y)))
        if len(target.quantiles) > 1:
            nominal, inside = interval_of(target.quantiles, below, at)
            name = f"{target.quantile_names[0]}-{target.quantile_names[-1]}"
            rows.append((target.name, name, nominal, inside.mean(), np.nan, len(y)))
    return pd.DataFrame(rows, columns=["target", "quantile", "nominal", "actual", "pinball", "rows"])


def interval_table(schema: Schema, scored: Scored, *, bins: int = 10) -> pd.DataFrame:
    """The coverage of the interval from the first quantile to the last, from the lowest predictions to the highest.

    Args:
      schema: As for `coverage_table`.
      scored: As there.
      bins: Groups of equally many rows per target, in the order of the prediction.

    Returns:
      A row per target of several quantiles and group: `target`, `bin` (from 0), `rows`, `mean_prediction`, `nominal`,
      `actual`.
    """
    rows = []
    for target, y, (below, at), observed in _judged(schema, scored):
        if len(target.quantiles) < 2:
            continue
        nominal, inside = interval_of(target.quantiles, below, at)
        predicted = scored.predictions[target.name].to_numpy(np.float64)[observed]
        groups = np.array_split(np.argsort(predicted, kind="stable"), min(bins, len(y)))
        for number, group in enumerate(groups):
            means = predicted[group].mean(), nominal, inside[group].mean()
            rows.append((target.name, number, len(group), *means))
    return pd.DataFrame(rows, columns=["target", "bin", "rows", "mean_prediction", "nominal", "actual"])


def pit_table(schema: Schema, scored: Scored, *, bins: int = PIT_BINS) -> pd.DataFrame:
    """The histogram of the labels' levels (probability integral transform): flat where the distributions are true.

    Args:
      schema: As for `coverage_table`.
      scored: As there.
      bins: Of equal width.

    Returns:
      A row per target and bin: `target`, `low`, `high` (levels) and `share` of the labels, 1 / bins where it is flat.
    """
    edges = np.linspace(0.0, 1.0, bins + 1)
    rows = []
    for target, _, (below, at), _ in _judged(schema, scored):
        cumulative = np.array([0.0, *(covered(below, at, edge).mean() for edge in edges[1:-1]), 1.0])
        rows += [(target.name, *bin_) for bin_ in zip(edges[:-1], edges[1:], np.diff(cumulative), strict=True)]
    return pd.DataFrame(rows, columns=["target", "low", "high", "share"])


def uncertainty_tables(schema: Schema, scored: Scored) -> Mapping[str, pd.DataFrame]:
    """What a run's folder keeps, by file name; empty where no quantiles are declared, or the levels are not known."""
    if not (schema.with_quantiles and scored.levels):
        return {}
    return {
        "coverage.csv": coverage_table(schema, scored),
        "intervals.csv": interval_table(schema, scored),
        "pit.csv": pit_table(schema, scored),
    }


def _judged(
    schema: Schema, scored: Scored
) -> list[tuple[Continuous, np.ndarray, tuple[np.ndarray, np.ndarray], np.ndarray]]:
    """Per target with quantiles and labels: it, its labels, their levels, and which rows these are."""
    judged = judge(schema, scored.labels, scored.predictions)
    found = []
    for target in schema.with_quantiles:
        y, _, observed = judged[target.name]
        if target.name in scored.levels and len(y):
            of_rows = scored.levels[target.name][observed]
            found.append((target, y, (of_rows["below"].to_numpy(), of_rows["at"].to_numpy()), observed))
    return found
