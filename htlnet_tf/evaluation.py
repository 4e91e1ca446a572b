"""Exact metrics over a whole split, per target.

The choice of metrics follows the paper (HTLNet, RecSys 2024, arXiv:2403.17442): AUC and LogLoss for what precedes the
core target, NRMSE and NMAE for the core, Spearman and Gini for ranking by amount. Everything is computed in float64
over all rows at once; what Keras shows during training are streaming approximations.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Union

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import rankdata, spearmanr
from sklearn.metrics import log_loss, roc_auc_score

from htlnet_tf.data import columns
from htlnet_tf.data.encoded import Rows
from htlnet_tf.data.labels import read_labels
from htlnet_tf.errors import InputError
from htlnet_tf.layers.coverage import Coverage
from htlnet_tf.reports import MetricRow, Report
from htlnet_tf.schema import Continuous, Schema

if TYPE_CHECKING:
    from htlnet_tf.models.base import MultiTaskModel

Floats = npt.NDArray[np.float64]
_Outcome = Union[float, str]  # a metric's value, or the reason why it has none


def evaluate(model: MultiTaskModel, rows: Rows) -> Report:
    """Predicts every row and computes the exact metrics of each target.

    Args:
      model: A model of this package (it knows its `schema` and its feature encoder).
      rows: Raw rows with the schema's features and targets as columns: a frame, or a stream of files.

    Returns:
      The report over all rows; each target's metrics are over the rows where its label was observed. It also tells per
      feature the share of values that the encoder's vocabulary lacks.

    Raises:
      InputError: There are no rows, a column is missing, or a label is not valid for its target.
    """
    from htlnet_tf.prediction import predict_encoded  # judging ready-made predictions must not need it

    schema, encoder = model.schema, model.encoder
    frames = [rows] if isinstance(rows, pd.DataFrame) else dataclasses.replace(rows, schema=schema)
    labels, predictions = [], []
    coverage = Coverage(encoder)
    for frame in frames:
        read_labels(frame, schema)  # before the expensive part, not after it
        encoded = encoder.encode(frame)
        coverage.add(encoded["ids"])
        labels.append(frame[[t.name for t in schema.targets]])
        predictions.append(predict_encoded(model, encoded, frame.index))
    if not labels:
        raise InputError("there are no rows to judge the model on")
    several = len(labels) > 1
    report = evaluate_predictions(
        schema, pd.concat(labels, ignore_index=several), pd.concat(predictions, ignore_index=several)
    )
    return dataclasses.replace(report, out_of_vocabulary=coverage.shares())


def evaluate_predictions(schema: Schema, labels: pd.DataFrame, predictions: pd.DataFrame) -> Report:
    """Computes the exact metrics of each target, in float64.

    - Binary: `auc` (ties count half), `logloss`, `base_rate` and `mean_prediction`; the last two agree for a
      calibrated model.
    - Multiclass: `macro_auc` (unweighted mean of the one-versus-rest AUCs), `logloss`, `accuracy`.
    - The core: `nrmse` = RMSE / std(y) with the population standard deviation, `nmae` = MAE / mean(|y|), `spearman`,
      `gini` (see `normalized_gini`), and in the target's own unit `rmse`, `mae`, `mean_label`, `mean_prediction`.

    LogLoss clips probabilities to [eps, 1 - eps] with eps = 2.2e-16 (float64), as scikit-learn does: one certain but
    wrong prediction costs 36.04. Class probabilities are first divided by their sum, which in float32 is not quite 1.
    A metric that these rows leave undefined, such as the AUC of a single class, is NaN, and the report says why.

    A target is judged on the rows where its label was observed: it is present, and what `observed_if` names happened.
    The report tells their number where it is not that of all rows. Sample weights are not used: every such row counts
    alike.

    Args:
      schema: Declares the targets.
      labels: One column per target, NaN or None where a label is missing; further columns are ignored.
      predictions: One column per binary target (its probability) and for the core (its own unit), `{name}_0` ..
        `{name}_{K-1}` per multiclass target. The same rows in the same order, with the same index.

    Returns:
      The report.

    Raises:
      InputError: The frames are empty or differ in length or index, a column is missing, a prediction is missing, or a
        value is infinite or out of range; the message names the column and the first such row.
    """
    if len(labels) != len(predictions):
        raise InputError(
            f"labels and predictions must have the same rows, but there are {len(labels)} rows of labels and "
            f"{len(predictions)} rows of predictions"
        )
    actual = read_labels(labels, schema)
    predicted = _predictions(schema, predictions)
    differs = np.flatnonzero(np.asarray(labels.index != predictions.index))
    if differs.size and not labels.index.equals(predictions.index):  # a NaN in the index differs from itself
        row = int(differs[0])
        raise InputError(
            f"labels and predictions must have the same index in the same order, but at row {row} it is "
            f"{labels.index[row]} and {predictions.index[row]}; if only the index differs, reset it on both"
        )
    rows: list[MetricRow] = []
    for target in schema.targets:
        observed = actual.observed[target.name]
        y, p = actual.values[target.name][observed].astype(np.float64), predicted[target.name][observed]
        names, metrics_of = _METRICS[target.kind]
        outcomes = metrics_of(y, p) if y.size else dict.fromkeys(names, "no row has an observed label")
        for metric, outcome in outcomes.items():
            value, note = (float("nan"), outcome) if isinstance(outcome, str) else (float(outcome), "")
            rows.append(MetricRow(target.name, target.kind, metric, value, note))
    counts = {name: int(observed.sum()) for name, observed in actual.observed.items()}
    partly = {name: count for name, count in counts.items() if count < len(labels)}
    return Report(rows=tuple(rows), num_rows=len(labels), unit=schema.core.unit, observed_rows=partly)


def normalized_gini(labels: npt.ArrayLike, predictions: npt.ArrayLike) -> float:
    """Gini coefficient of the labels ordered by prediction, divided by that of the labels ordered by themselves.

    1 means that ranking by prediction finds the amounts as fast as a perfect ranking, 0 as fast as chance, -1 that the
    ranking is reversed. The area under a concentration curve is linear in the rows' ranks, so the ratio is
    cov(y, rank(prediction)) / cov(y, rank(y)) (Lerman and Yitzhaki, 1984). Tied predictions share their mean rank,
    which is the average over all orders of the tied rows; so the result does not depend on the order of the rows.

    Args:
      labels: Amounts, `[num_rows]`.
      predictions: Scores of any unit, `[num_rows]`; only their order counts.

    Returns:
      A value in [-1, 1]; NaN if all labels are equal, for then every order is perfect.
    """
    y, p = np.asarray(labels, np.float64), np.asarray(predictions, np.float64)
    if np.ptp(y) == 0:
        return float("nan")
    centred = y - y.mean()
    return float(centred @ _centred_ranks(p) / (centred @ _centred_ranks(y)))


def _centred_ranks(values: Floats) -> Floats:
    return np.asarray(rankdata(values), np.float64) - (values.size + 1) / 2  # mean ranks are exact in float64


def _binary(y: Floats, p: Floats) -> dict[str, _Outcome]:
    one_class = f"all labels are {y[0]:.0f}" if np.ptp(y) == 0 else ""
    return {
        "auc": one_class or roc_auc_score(y, p[:, 0]),
        "logloss": log_loss(y, p[:, 0], labels=[0.0, 1.0]),
        "base_rate": y.mean(),
        "mean_prediction": p.mean(),
    }


def _multiclass(y: Floats, p: Floats) -> dict[str, _Outcome]:
    classes = range(p.shape[1])
    absent = [k for k in classes if not np.any(y == k)]
    no_auc = f"no label is of class {', '.join(map(str, absent))}" if absent else ""
    return {
        "macro_auc": no_auc or np.mean([roc_auc_score(y == k, p[:, k]) for k in classes]),
        "logloss": log_loss(y, p / p.sum(axis=1, keepdims=True), labels=np.arange(p.shape[1], dtype=np.float64)),
        "accuracy": np.mean(p.argmax(axis=1) == y),
    }


def _continuous(y: Floats, predictions: Floats) -> dict[str, _Outcome]:
    p = predictions[:, 0]
    rmse, mae = np.sqrt(np.mean((y - p) ** 2)), np.mean(np.abs(y - p))
    size, std = np.mean(np.abs(y)), np.std(y)
    # np.std of equal values may be 1e-17 instead of 0, so ask for equality itself; tiny spreads may underflow to 0.
    equal_labels = f"all labels are {y[0]:g}" if np.ptp(y) == 0 else ""
    no_order = equal_labels or (f"all predictions are {p[0]:g}" if np.ptp(p) == 0 else "")
    return {
        "nrmse": equal_labels or ("the labels' standard deviation is 0" if std == 0 else rmse / std),
        "nmae": "all labels are 0" if size == 0 else mae / size,
        "spearman": no_order or float(spearmanr(y, p).statistic),
        "gini": equal_labels or normalized_gini(y, p),
        "rmse": rmse,
        "mae": mae,
        "mean_label": y.mean(),
        "mean_prediction": p.mean(),
    }


_METRICS: dict[str, tuple[tuple[str, ...], Callable[[Floats, Floats], dict[str, _Outcome]]]] = {
    "binary": (("auc", "logloss", "base_rate", "mean_prediction"), _binary),
    "multiclass": (("macro_auc", "logloss", "accuracy"), _multiclass),
    "continuous": (
        ("nrmse", "nmae", "spearman", "gini", "rmse", "mae", "mean_label", "mean_prediction"),
        _continuous,
    ),
}


def _predictions(schema: Schema, frame: pd.DataFrame) -> dict[str, Floats]:
    predictions: dict[str, Floats] = {}
    for target in schema.targets:
        names = target.score_names
        columns.require_columns(frame, names, purpose="predictions")
        arrays = [columns.numbers(frame[name], rule="predictions must be finite numbers") for name in names]
        for name, values in zip(names, arrays, strict=True):
            columns.refuse(frame[name], ~np.isfinite(values), rule="predictions must be finite numbers")
        predictions[target.name] = p = np.stack(arrays, axis=1)
        if not isinstance(target, Continuous):
            for name, values in zip(names, p.T, strict=True):
                columns.refuse(frame[name], (values < 0) | (values > 1), rule="predictions must be probabilities")
        if len(names) > 1:
            rule = f"the {len(names)} predictions from this column on must sum to 1"
            columns.refuse(frame[names[0]], np.abs(p.sum(axis=1) - 1) > 1e-3, rule=rule)
    return predictions
