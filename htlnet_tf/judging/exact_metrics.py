"""The metrics of a report: exact, in float64 over all rows at once, in O(n log n).

What Keras shows during training are the streaming approximations of `htlnet_tf.objectives.metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Union

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import kendalltau, rankdata, spearmanr
from sklearn.metrics import log_loss, roc_auc_score

from htlnet_tf.errors import InputError

Floats = npt.NDArray[np.float64]
UserColumn = Union[npt.ArrayLike, Sequence[object], pd.Series]  # hashable values, NaN or None where one is missing
Users = npt.NDArray[np.int64]  # each row's user as a number from 0, -1 where it has none
Outcome = Union[float, str]  # a metric's value, or the reason why it has none


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


def xauc(labels: npt.ArrayLike, predictions: npt.ArrayLike) -> float:
    """Share of the pairs of rows with different labels that the predictions put in the right order.

    A pair whose predictions are equal counts half, so a constant prediction has 0.5, and for labels 0 and 1 it is the
    AUC. It is (1 + (C - D) / U) / 2, Somers' D moved to [0, 1], with C concordant and D discordant pairs among the U
    whose labels differ. C - D comes from Kendall's tau-b = (C - D) / sqrt(U V), where V counts the pairs whose
    predictions differ; being a whole number, it is recovered exactly.

    Args:
      labels: Amounts, `[num_rows]`.
      predictions: Scores of any unit, `[num_rows]`; only their order counts.

    Returns:
      A value in [0, 1]; NaN if all labels are equal, for then there is no such pair.

    References:
      Zhan et al.: "Deconfounding Duration Bias in Watch-time Prediction for Video Recommendation", KDD 2022.
    """
    y, p = np.asarray(labels, np.float64), np.asarray(predictions, np.float64)
    by_label, by_prediction = _differing_pairs(y), _differing_pairs(p)
    if not by_label:
        return float("nan")
    if not by_prediction:
        return 0.5
    tau = kendalltau(y, p).statistic
    surplus = np.rint(tau * np.sqrt(by_label) * np.sqrt(by_prediction))
    return float((1 + surplus / by_label) / 2)


def group_auc(labels: npt.ArrayLike, predictions: npt.ArrayLike, users: UserColumn) -> float:
    """Mean of each user's own AUC, weighted by the user's number of rows (GAUC).

    Ranking is within a user's list, and so is this: what is popular with everybody earns an AUC over all rows, but no
    group AUC. Users whose rows are of one class have no AUC and are left out; so are rows without a user. With R the
    sum of the mean ranks, among the rows of the user, of the P rows of class 1 out of n, a user's AUC is
    (R - P (P + 1) / 2) / (P (n - P)), the Mann-Whitney statistic; tied predictions count half.

    Args:
      labels: 0 or 1, `[num_rows]`.
      predictions: Scores of any unit, `[num_rows]`; only their order counts.
      users: Anything hashable that tells users apart, `[num_rows]`; NaN or None where the user is missing.

    Returns:
      A value in [0, 1]; NaN if no user has rows of both classes.

    Raises:
      InputError: A user cannot be hashed, or there are several per row.

    References:
      Zhu et al.: "Optimized Cost per Click in Taobao Display Advertising", KDD 2017.
      Zhou et al.: "Deep Interest Network for Click-Through Rate Prediction", KDD 2018, where it is called AUC.
    """
    y, p = np.asarray(labels, np.float64), np.asarray(predictions, np.float64)
    return _group_auc(y, p, user_codes(users))


def decile_error(labels: npt.ArrayLike, predictions: npt.ArrayLike, *, scale: float, bins: int = 10) -> float:
    """How far predictions are from what happens, over ten groups of equally many rows in the order of the prediction.

    The mean over the groups of |mean prediction - mean label|, divided by `scale`. Of a probability, with the scale 1,
    it is the expected calibration error with bins of equal size; of an amount, with the mean of |y|, the error of the
    deciles. Where rows with equal predictions are divided, each group gets their mean label, which is the average over
    all orders of the tied rows; so the result does not depend on the order of the rows.

    Args:
      labels: `[num_rows]`.
      predictions: `[num_rows]`, in the same unit.
      scale: What a difference is compared with.
      bins: Groups; fewer rows make one group each.

    References:
      Naeini, Cooper, Hauskrecht: "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015.
    """
    y, p = np.asarray(labels, np.float64), np.asarray(predictions, np.float64)
    _, tied = np.unique(p, return_inverse=True)
    y = (np.bincount(tied, weights=y) / np.bincount(tied))[tied]
    groups = np.array_split(np.argsort(p), min(bins, len(p)))
    return float(np.mean([abs(p[g].mean() - y[g].mean()) for g in groups]) / scale)


def user_codes(users: UserColumn) -> Users:
    """Each row's user as a number from 0, int64 [N]; -1 where it is missing.

    Raises:
      InputError: A user cannot be hashed, or there are several per row.
    """
    # In a list, whole numbers next to None would become floats, and large ones of them equal.
    try:
        column = pd.Series(users, dtype=object) if isinstance(users, (list, tuple)) else pd.Series(users)
        codes, _ = pd.factorize(column)
    except (TypeError, ValueError) as error:
        raise InputError(f"users must be text or whole numbers, one per row; {error}") from error
    return codes.astype(np.int64)


def metrics_of(kind: str, labels: Floats, predictions: Floats, users: Users | None) -> dict[str, Outcome]:
    """The metrics of one target over the rows where its label was observed, in the order of a report.

    Args:
      kind: Of the target.
      labels: [N].
      predictions: [N, K], K the number of classes of a multiclass target, else 1.
      users: [N], see `user_codes`; None: a binary target has no `group_auc`.

    Returns:
      By name, a value, or the reason why these rows leave the metric undefined.
    """
    names, compute = _METRICS[kind]
    if labels.size:
        outcomes = compute(labels, predictions, users)
    else:
        outcomes = dict.fromkeys(names, "no row has an observed label")
    if users is None:
        outcomes.pop("group_auc", None)
    return outcomes


class UserAucs(NamedTuple):
    """The AUC of each user that has one.

    Attributes:
      users: int64 [U], the users' numbers, rising.
      values: [U].
      rows: [U], how many rows each has.
    """

    users: Users
    values: Floats
    rows: Floats


def user_aucs(y: Floats, p: Floats, codes: Users) -> UserAucs:
    """The AUC within each user's rows, of users that have rows of both classes; arguments as for `group_auc`, but
    `codes` as of `user_codes`.
    """
    known = codes >= 0
    y, p, codes = y[known], p[known], codes[known]
    if not y.size:
        return UserAucs(np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
    rows = np.bincount(codes)
    _, order = np.unique(p, return_inverse=True)
    # Sorted by user and then by prediction, a row's rank among its user's rows is its rank less the rows of the users
    # before. Subtracted row by row, sums of ranks stay small enough to be exact.
    ranks = rankdata(codes * (order.max() + 1) + order) - (np.cumsum(rows) - rows)[codes]
    positives = np.bincount(codes, weights=y)
    negatives = rows - positives
    both = (positives > 0) & (negatives > 0)
    wins = np.bincount(codes, weights=ranks * y) - positives * (positives + 1) / 2
    values = wins[both] / (positives * negatives)[both]
    return UserAucs(np.flatnonzero(both), values, rows[both].astype(np.float64))


def _group_auc(y: Floats, p: Floats, codes: Users) -> float:
    _, values, rows = user_aucs(y, p, codes)
    return float(np.average(values, weights=rows)) if values.size else float("nan")


def _centred_ranks(values: Floats) -> Floats:
    return np.asarray(rankdata(values), np.float64) - (values.size + 1) / 2  # mean ranks are exact in float64


def calibration_error(kind: str, y: Floats, predictions: Floats) -> dict[str, Outcome]:
    """The metric that says how well predictions of a kind of target are calibrated, by its name; none of classes.

    Args:
      kind: Of the target.
      y: Labels, [M].
      predictions: [M, 1].
    """
    if not y.size:
        return {}
    if kind == "binary":
        return {"calibration_error": decile_error(y, predictions[:, 0], scale=1.0)}
    if kind != "continuous":
        return {}
    size = float(np.mean(np.abs(y)))
    return {"decile_error": "all labels are 0" if size == 0 else decile_error(y, predictions[:, 0], scale=size)}


def _differing_pairs(values: Floats) -> int:
    """The number of pairs whose values differ."""
    counts = np.unique(values, return_counts=True)[1].astype(np.int64)
    return int((values.size**2 - (counts**2).sum()) // 2)


def _binary(y: Floats, p: Floats, users: Users | None) -> dict[str, Outcome]:
    one_class = f"all labels are {y[0]:.0f}" if np.ptp(y) == 0 else ""
    codes = np.full(y.size, -1, np.int64) if users is None else users
    by_user = _group_auc(y, p[:, 0], codes)
    no_user = "no user has rows of both classes" if np.any(codes >= 0) else "no row has a user"
    return {
        "auc": one_class or roc_auc_score(y, p[:, 0]),
        "group_auc": no_user if np.isnan(by_user) else by_user,
        "logloss": (loss := log_loss(y, p[:, 0], labels=[0.0, 1.0])),
        "normalised_entropy": one_class or loss / log_loss(y, np.full(y.size, y.mean())),
        **calibration_error("binary", y, p),
        "base_rate": y.mean(),
        "mean_prediction": p.mean(),
    }


def _multiclass(y: Floats, p: Floats, users: Users | None) -> dict[str, Outcome]:
    classes = range(p.shape[1])
    absent = [k for k in classes if not np.any(y == k)]
    no_auc = f"no label is of class {', '.join(map(str, absent))}" if absent else ""
    return {
        "macro_auc": no_auc or np.mean([roc_auc_score(y == k, p[:, k]) for k in classes]),
        "logloss": log_loss(y, p / p.sum(axis=1, keepdims=True), labels=np.arange(p.shape[1], dtype=np.float64)),
        "accuracy": np.mean(p.argmax(axis=1) == y),
    }


def _continuous(y: Floats, predictions: Floats, users: Users | None) -> dict[str, Outcome]:
    p = predictions[:, 0]
    rmse, mae = np.sqrt(np.mean((y - p) ** 2)), np.mean(np.abs(y - p))
    size, std = float(np.mean(np.abs(y))), np.std(y)
    # np.std of equal values may be 1e-17 instead of 0, so ask for equality itself; tiny spreads may underflow to 0.
    equal_labels = f"all labels are {y[0]:g}" if np.ptp(y) == 0 else ""
    no_order = equal_labels or (f"all predictions are {p[0]:g}" if np.ptp(p) == 0 else "")
    return {
        "nrmse": equal_labels or ("the labels' standard deviation is 0" if std == 0 else rmse / std),
        "nrmse_by_mean": "the labels' mean is 0" if y.mean() == 0 else float(rmse / abs(y.mean())),
        "nmae": "all labels are 0" if size == 0 else mae / size,
        "spearman": no_order or float(spearmanr(y, p).statistic),
        "gini": equal_labels or normalized_gini(y, p),
        "xauc": equal_labels or xauc(y, p),
        **calibration_error("continuous", y, predictions),
        "level": "the labels' total is 0" if y.sum() == 0 else float(p.sum() / y.sum()),
        "negative_share": float(np.mean(p < 0)),
        "rmse": rmse,
        "mae": mae,
        "mean_label": y.mean(),
        "mean_prediction": p.mean(),
    }


_METRICS: dict[str, tuple[tuple[str, ...], Callable[[Floats, Floats, Users | None], dict[str, Outcome]]]] = {
    "binary": (
        ("auc", "group_auc", "logloss", "normalised_entropy", "calibration_error", "base_rate", "mean_prediction"),
        _binary,
    ),
    "multiclass": (("macro_auc", "logloss", "accuracy"), _multiclass),
    "continuous": (
        (
            "nrmse",
            "nrmse_by_mean",
            "nmae",
            "spearman",
            "gini",
            "xauc",
            "decile_error",
            "level",
            "negative_share",
            "rmse",
            "mae",
            "mean_label",
            "mean_prediction",
        ),
        _continuous,
    ),
}
