"""What predictions lose against the truth where it is known: in expectation over the labels, without their noise."""

from __future__ import annotations

import numpy as np
import pandas as pd

from htlnet_tf.errors import InputError
from htlnet_tf.judging.evaluation import Judged, judge
from htlnet_tf.judging.exact_metrics import Floats
from htlnet_tf.schema import Schema

_EPS = float(np.finfo(np.float64).eps)  # as LogLoss clips


def regret(schema: Schema, labels: pd.DataFrame, truth: pd.DataFrame, predictions: pd.DataFrame) -> dict[str, float]:
    """By how much the expected metric of each target is worse than that of the truth, in float64.

    With x all that decides on a row, p* the truth and p the predictions:

    - Binary and multiclass: the mean of KL(p* || p) = sum_k p*_k log(p*_k / p_k), in nats. It is E[LogLoss of p] -
      E[LogLoss of p*] over labels drawn from p*.
    - The core: the mean of (prediction - E[y | x])^2 over var(y), the population variance of the labels. It is the
      excess of NRMSE^2, E[(y - prediction)^2] - E[(y - E[y | x])^2] over the same var(y).

    The rows are those that `htlnet_tf.judging.evaluation.evaluate_predictions` judges a target on: where its label was
    observed. Probabilities are clipped to [eps, 1 - eps] with eps = 2.2e-16, and those of classes divided by their sum,
    as there. With p* for predictions that function gives the metrics of the truth.

    Args:
      schema: Declares the targets.
      labels: [N] rows, one column per target. They tell which rows are observed, and the core's variance.
      truth: [N] rows with the index of `labels`, the columns of `predictions`: P(y = 1 | x), P(y = k | x) or E[y | x];
        of a target with `observed_if`, given that it happened.
      predictions: [N] rows with the index of `labels`, the columns of `htlnet_tf.scoring.prediction.predict`.

    Returns:
      By target name, 0 or more; 0 for the truth alone. NaN where no label is observed, or the core's are all equal.

    Raises:
      InputError: The frames differ in length or index, or are not valid labels, truth and predictions.

    Example:
      >>> shop = generate_funnel(10_000)
      >>> regret(shop.schema, shop.frame, shop.truth, htl.predict(model, shop.frame))
    """
    try:
        oracle = judge(schema, labels, truth)
    except InputError as error:
        raise InputError(f"with the truth for predictions: {error}") from error
    model = judge(schema, labels, predictions)
    return {t.name: _REGRET[t.kind](oracle[t.name], model[t.name].predictions) for t in schema.targets}


def _binary(truth: Judged, predictions: Floats) -> float:
    return _divergence(*(np.concatenate([1 - p, p], axis=1) for p in map(_clipped, (truth.predictions, predictions))))


def _multiclass(truth: Judged, predictions: Floats) -> float:
    return _divergence(*(_clipped(p / p.sum(axis=1, keepdims=True)) for p in (truth.predictions, predictions)))


def _continuous(truth: Judged, predictions: Floats) -> float:
    # Equal labels may have a variance of 1e-34 instead of 0, so ask for equality itself.
    if truth.labels.size == 0 or np.ptp(truth.labels) == 0:
        return float("nan")
    return float(np.mean((predictions - truth.predictions) ** 2) / np.var(truth.labels))


def _clipped(p: Floats) -> Floats:
    return np.clip(p, _EPS, 1 - _EPS)


def _divergence(truth: Floats, predictions: Floats) -> float:
    """The mean KL divergence of distributions in the rows of [M, K]; NaN without rows.

    Since both sum to 1, sum_k p*_k log(p*_k / p_k) = sum_k p*_k (r_k - log(1 + r_k)) with r_k = p_k / p*_k - 1. No term
    of it is negative: nothing cancels where the two are close.
    """
    ratio = (predictions - truth) / truth
    return float((truth * (ratio - np.log1p(ratio))).sum(axis=1).mean()) if len(truth) else float("nan")


_REGRET = {"binary": _binary, "multiclass": _multiclass, "continuous": _continuous}
