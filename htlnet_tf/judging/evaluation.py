"""Exact metrics over a whole split, per target.

The choice of metrics follows the paper (HTLNet, RecSys 2024, arXiv:2403.17442): AUC and LogLoss for what precedes the
core target, NRMSE and NMAE for the core, Spearman and Gini for ranking by amount. XAUC, the AUC of watch times, and
group AUC, the AUC within a user's rows, are those of the literature on video feeds and on ads.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from htlnet_tf.data import columns
from htlnet_tf.data.columns import Arrays
from htlnet_tf.data.labels import read_labels
from htlnet_tf.data.users import read_users
from htlnet_tf.encoding.coverage import Coverage
from htlnet_tf.encoding.encoded import Rows
from htlnet_tf.errors import InputError
from htlnet_tf.judging.exact_metrics import Floats, Outcome, UserColumn, calibration_error, metrics_of, user_codes
from htlnet_tf.judging.quantile_metrics import quantile_metrics
from htlnet_tf.judging.ranking_metrics import K, Ndcg, order_metrics, require_k
from htlnet_tf.judging.reports import MetricRow, Order, Report
from htlnet_tf.schema import Binary, Continuous, Schema
from htlnet_tf.schema.ranking import SCORE
from htlnet_tf.scoring.power_product import power_product

if TYPE_CHECKING:
    from htlnet_tf.encoding.encoder import FeatureEncoder
    from htlnet_tf.models.scoring_model import ScoringModel

_FINITE = "predictions must be finite numbers"


@dataclass(frozen=True, eq=False)
class Scored:
    """Rows with what a model predicts for them.

    Args:
      labels: [N] rows, one column per target, as logged.
      predictions: [N] rows with the index of `labels`, the columns of `htlnet_tf.scoring.prediction.predict`.
      users: [N], each row's user, None where it is missing; None if the schema declares no user.
      out_of_vocabulary: By feature with a vocabulary, the share of its values that have no row of their own there.
      uncalibrated: [N] rows, the targets' predictions before calibration; None if there was none.
      levels: By amount with quantiles, [N] rows of `htlnet_tf.scoring.label_levels`.
    """

    labels: pd.DataFrame
    predictions: pd.DataFrame
    users: pd.Series | None = None
    out_of_vocabulary: Mapping[str, float] = field(default_factory=dict)
    uncalibrated: pd.DataFrame | None = None
    levels: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    def report(self, schema: Schema, *, k: int = K) -> Report:
        """The exact metrics of each target, see `evaluate_predictions`.

        Raises:
          InputError: A label is not valid for its target of this schema.
        """
        report = evaluate_predictions(schema, self.labels, self.predictions, self.users, k=k, levels=self.levels)
        if self.uncalibrated is not None:
            rows = [*report.rows, *self._before(schema, self.uncalibrated)]
            names = [target.name for target in schema.targets]
            report = dataclasses.replace(report, rows=tuple(sorted(rows, key=lambda row: names.index(row.target))))
        return dataclasses.replace(report, out_of_vocabulary=self.out_of_vocabulary)

    def _before(self, schema: Schema, predictions: pd.DataFrame) -> list[MetricRow]:
        """The calibration errors of predictions before calibration."""
        found = []
        for name, (y, p, _) in judge(schema, self.labels, predictions).items():
            kind = schema.target(name).kind
            for metric, outcome in calibration_error(kind, y, p).items():
                found.append(_metric_row(name, kind, f"{metric}_before", outcome))
        return found


class Judged(NamedTuple):
    """What one target is judged on.

    Attributes:
      labels: float64 [M], of the rows where the label was observed.
      predictions: float64 [M, K], of these rows; K is the number of classes of a multiclass target, else 1.
      observed: bool [N], which rows these are.
    """

    labels: Floats
    predictions: Floats
    observed: npt.NDArray[np.bool_]


def evaluate(model: ScoringModel, rows: Rows, *, k: int = K) -> Report:
    """Predicts every row and computes the exact metrics of each target.

    Args:
      model: A model of this package (it knows its `schema` and its feature encoder).
      rows: Raw rows with the schema's features, targets and user as columns: a frame, or a stream of files.
      k: How many rows of each user's list NDCG and captured share look at.

    Returns:
      The report over all rows; each target's metrics are over the rows where its label was observed. It also tells per
      feature the share of values that the encoder's vocabulary lacks.

    Raises:
      InputError: There are no rows, a column is missing, a label is not valid for its target, or `k` is below 1.
    """
    require_k(k)  # before the expensive part
    return score(model, rows).report(model.schema, k=k)


def score(model: ScoringModel, rows: Rows, *, levels: bool = True) -> Scored:
    """Predicts every row and keeps its labels and its user beside it; arguments and errors are those of `evaluate`.

    Without `levels` it is not said where labels lie in their predicted distributions, which takes most of the time.
    """
    # Judging ready-made predictions must not need these.
    from htlnet_tf.scoring.label_levels import label_levels
    from htlnet_tf.scoring.prediction import predict_both

    return score_with(
        lambda encoded, index: predict_both(model, encoded, index),
        model.schema,
        model.encoder,
        rows,
        levels=(lambda encoded, labels: label_levels(model, encoded, labels)) if levels else None,
    )


def score_with(
    predict: Callable[[Arrays, pd.Index], tuple[pd.DataFrame, pd.DataFrame | None]],
    schema: Schema,
    encoder: FeatureEncoder,
    rows: Rows,
    *,
    levels: Callable[[Arrays, Arrays], Mapping[str, pd.DataFrame]] | None = None,
) -> Scored:
    """As `score`, with any function from what the encoder makes of rows, and their index, to predictions.

    Args:
      predict: Gives N rows with the index, and the columns of `htlnet_tf.scoring.prediction.predict`; and the same
        before calibration, None where there was none.
      schema: Declares the targets.
      encoder: Fitted on the training rows.
      rows: As for `evaluate`.
      levels: Gives the labels' levels from what the encoder makes of rows and their labels, `Scored.levels`; None:
        there are no distributions.
    """
    frames = [rows] if isinstance(rows, pd.DataFrame) else dataclasses.replace(rows, schema=schema)
    labels, predictions, before, users = [], [], [], []
    of_levels: dict[str, list[pd.DataFrame]] = {}
    coverage = Coverage(encoder)
    for frame in frames:
        read = read_labels(frame, schema)  # before the expensive part, not after it
        users.append(read_users(frame, schema))
        encoded = encoder.encode(frame)
        coverage.add(encoded["ids"])
        labels.append(frame[[t.source for t in schema.targets]])
        scores, uncalibrated = predict(encoded, frame.index)
        predictions.append(scores)
        before.append(uncalibrated)
        for name, found in ({} if levels is None else levels(encoded, read.values)).items():
            of_levels.setdefault(name, []).append(found)
    if not labels:
        raise InputError("there are no rows to judge the model on")
    several = len(labels) > 1
    known = [part for part in users if part is not None]
    uncalibrated_parts = [part for part in before if part is not None]
    return Scored(
        pd.concat(labels, ignore_index=several),
        pd.concat(predictions, ignore_index=several),
        pd.concat(known, ignore_index=several) if known else None,
        coverage.shares(),
        pd.concat(uncalibrated_parts, ignore_index=several) if uncalibrated_parts else None,
        {name: pd.concat(parts, ignore_index=True) for name, parts in of_levels.items()},
    )


def evaluate_predictions(
    schema: Schema,
    labels: pd.DataFrame,
    predictions: pd.DataFrame,
    users: UserColumn | None = None,
    *,
    k: int = K,
    levels: Mapping[str, pd.DataFrame] | None = None,
) -> Report:
    """Computes the exact metrics of each target, in float64.

    - Binary: `auc` (ties count half), `logloss`, `base_rate` and `mean_prediction`; the last two agree for a
      calibrated model. If the schema declares a `user`, also `group_auc` (see
      `htlnet_tf.judging.exact_metrics.group_auc`).
      `normalised_entropy` is the LogLoss over that of the base rate, `calibration_error` the mean distance of mean
      prediction and mean label over ten groups of rows in the order of the prediction.
    - Multiclass: `macro_auc` (unweighted mean of the one-versus-rest AUCs), `logloss`, `accuracy`.
    - An amount: `nrmse` = RMSE / std(y) with the population standard deviation, `nrmse_by_mean` = RMSE / |mean(y)|,
      `nmae` = MAE / mean(|y|), `spearman`, `gini` and `xauc` (see `normalized_gini` and `xauc` there), `decile_error`
      (see there), `level` = total predicted / total actual, without which an MAE says little: predicting too low on
      the whole lowers it; `negative_share` of the predictions; and in the target's own unit `rmse`, `mae`,
      `mean_label`, `mean_prediction`.
    - An amount with quantiles, also: `coverage_p10` (the share of labels below the quantile, which is its level for a
      true distribution; see `htlnet_tf.judging.uncertainty` for how a point mass is counted), `interval_coverage`
      between the first quantile and the last, `pinball` (the mean over the quantiles of their loss) and `crps`, in the
      target's unit, and `ncrps` = CRPS / mean(|y|), which of a prediction without a distribution is its NMAE.

    And how good the order of the rows is, by the `score` if the schema declares a ranking, else by the core's
    prediction (see `htlnet_tf.judging.ranking_metrics`, also for ties): of the core `lift`, the share of its total in
    the best tenth of the rows over a tenth. If the schema declares a `user`, within each user's list: of the binary
    targets and the core `ndcg` of the first `k` rows, of the core `captured`, the share of its total that the first `k`
    rows of the users have, and `captured_by_user`, the mean of each user's own share.

    LogLoss clips probabilities to [eps, 1 - eps] with eps = 2.2e-16 (float64), as scikit-learn does: one certain but
    wrong prediction costs 36.04. Class probabilities are first divided by their sum, which in float32 is not quite 1.
    A metric that these rows leave undefined, such as the AUC of a single class, is NaN, and the report says why.

    A target is judged on the rows where its label was observed: it is present, and what `observed_if` names happened.
    The report tells their number where it is not that of all rows. Sample weights are not used: every such row counts
    alike. Rows without a user are left out of the group AUC alone.

    Args:
      schema: Declares the targets.
      labels: One column per target, NaN or None where a label is missing; further columns are ignored.
      predictions: One column per binary target (its probability) and for the core (its own unit), `{name}_0` ..
        `{name}_{K-1}` per multiclass target. The same rows in the same order, with the same index.
      users: [N], each row's user, NaN or None where it is missing; a series has the index of `labels`. None although
        the schema declares a user: `group_auc` is undefined.
      k: How many rows of each user's list `ndcg` and `captured` look at.
      levels: By amount with quantiles, [N] rows of `htlnet_tf.scoring.label_levels`; of those that are left out there
        is neither a coverage nor a CRPS.

    Returns:
      The report.

    Raises:
      InputError: The frames are empty or differ in length or index, a column is missing, a prediction is missing, or a
        value is infinite or out of range; the message names the column and the first such row. Or users are given that
        are not of these rows, or whose column the schema does not declare; or `k` is below 1.
    """
    require_k(k)
    judged = judge(schema, labels, predictions)
    codes = user_numbers(schema, labels, users)
    by, scores = order_scores(schema, predictions)
    lists: dict[str, Ndcg] = {}
    rows: list[MetricRow] = []
    for target in schema.targets:
        y, p, observed = judged[target.name]
        of_rows = None if codes is None else codes[observed]
        outcomes = metrics_of(target.kind, y, p, of_rows)
        if isinstance(target, Binary) or target == schema.core:
            of_order, over = order_metrics(target.kind, y, scores[observed], of_rows, k)
            outcomes |= of_order
            if over is not None:
                lists[target.name] = over
        if isinstance(target, Continuous) and target.quantiles:
            known = (levels or {}).get(target.name)
            of_target = None if known is None else known[observed]
            outcomes |= quantile_metrics(target, y, quantile_columns(target, predictions, observed), of_target)
        for metric, outcome in outcomes.items():
            rows.append(_metric_row(target.name, target.kind, metric, outcome))
    partly = {name: len(y) for name, (y, _, _) in judged.items() if len(y) < len(labels)}
    order = Order(
        by, k, {name: over.users for name, over in lists.items()}, {name: over.left_out for name, over in lists.items()}
    )
    return Report(rows=tuple(rows), num_rows=len(labels), unit=schema.core.unit, observed_rows=partly, order=order)


def judge(schema: Schema, labels: pd.DataFrame, predictions: pd.DataFrame) -> dict[str, Judged]:
    """Checks labels and predictions and gives those of each target; arguments and errors: `evaluate_predictions`."""
    if len(labels) != len(predictions):
        raise InputError(
            f"labels and predictions must have the same rows, but there are {len(labels)} rows of labels and "
            f"{len(predictions)} rows of predictions"
        )
    actual = read_labels(labels, schema)
    predicted = _predictions(schema, predictions)
    _require_same_index(labels.index, predictions.index, "predictions")
    judged: dict[str, Judged] = {}
    for name, observed in actual.observed.items():
        judged[name] = Judged(actual.values[name][observed].astype(np.float64), predicted[name][observed], observed)
    return judged


def order_scores(schema: Schema, predictions: pd.DataFrame) -> tuple[str, Floats]:
    """What the rows are sorted by, and its values, [N]."""
    if schema.ranking is None:
        return schema.core.name, columns.numbers(predictions[schema.core.name], rule=_FINITE)
    if SCORE not in predictions:  # of a reference, or of the truth
        return SCORE, power_product(schema.ranking, predictions)
    values = columns.numbers(predictions[SCORE], rule=_FINITE)
    columns.refuse(predictions[SCORE], ~np.isfinite(values), rule=_FINITE)
    return SCORE, values


def _metric_row(target: str, kind: str, metric: str, outcome: Outcome) -> MetricRow:
    value, note = (float("nan"), outcome) if isinstance(outcome, str) else (float(outcome), "")
    return MetricRow(target, kind, metric, value, note)


def quantile_columns(target: Continuous, predictions: pd.DataFrame, observed: npt.NDArray[np.bool_]) -> Floats | None:
    """The predicted quantiles of the observed rows, float64 [M, K]; None where there are none."""
    if not set(target.quantile_names) <= set(predictions.columns):
        return None
    values = []
    for name in target.quantile_names:
        rule = "quantiles must be finite numbers"
        values.append(columns.numbers(predictions[name], rule=rule))
        columns.refuse(predictions[name], ~np.isfinite(values[-1]), rule=rule)
    return np.stack(values, axis=1)[observed]


def user_numbers(schema: Schema, labels: pd.DataFrame, users: UserColumn | None) -> npt.NDArray[np.int64] | None:
    """Each row's user as a number, -1 where it is missing, as all are if they are not given; None without group AUC."""
    if users is None:
        return None if schema.user is None else np.full(len(labels), -1, np.int64)
    if schema.user is None:
        raise InputError("users are given, but the schema declares no column of users: add `user` to it")
    codes = user_codes(users)
    if len(codes) != len(labels):
        raise InputError(
            "labels and users must have the same rows, but there are "
            f"{len(labels)} rows of labels and {len(codes)} users"
        )
    if isinstance(users, pd.Series):
        _require_same_index(labels.index, users.index, "users")
    return codes


def _require_same_index(labels: pd.Index, other: pd.Index, what: str) -> None:
    differs = np.flatnonzero(np.asarray(labels != other))
    if differs.size and not labels.equals(other):  # a NaN in the index differs from itself
        row = int(differs[0])
        raise InputError(
            f"labels and {what} must have the same index in the same order, but at row {row} it is "
            f"{labels[row]} and {other[row]}; if only the index differs, reset it on both"
        )


def _predictions(schema: Schema, frame: pd.DataFrame) -> dict[str, Floats]:
    predictions: dict[str, Floats] = {}
    for target in schema.targets:
        names = target.score_names
        columns.require_columns(frame, names, purpose="predictions")
        arrays = [columns.numbers(frame[name], rule=_FINITE) for name in names]
        for name, values in zip(names, arrays, strict=True):
            columns.refuse(frame[name], ~np.isfinite(values), rule=_FINITE)
        predictions[target.name] = p = np.stack(arrays, axis=1)
        if not isinstance(target, Continuous):
            for name, values in zip(names, p.T, strict=True):
                columns.refuse(frame[name], (values < 0) | (values > 1), rule="predictions must be probabilities")
        if len(names) > 1:
            rule = f"the {len(names)} predictions from this column on must sum to 1"
            columns.refuse(frame[names[0]], np.abs(p.sum(axis=1) - 1) > 1e-3, rule=rule)
    return predictions
