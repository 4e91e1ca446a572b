"""Numbers as cells and as words."""

from __future__ import annotations

import math
from datetime import datetime, timezone

from htlnet_tf.judging.reports import METRICS, decimals_of, format_value
from htlnet_tf.page.blocks import Cell
from htlnet_tf.page.scales import short_number

_DIGITS = 4
_NARROW = "\u00a0"  # a blank at which no line breaks
# 1970 + what a whole number of such a size must count, if it is a time of this century.
_EPOCHS = ((1e9, "s", 1.0), (1e12, "ms", 1e-3), (1e15, "us", 1e-6), (1e18, "ns", 1e-9))


def metric_text(metric: str, value: float, kind: str) -> str:
    """A metric's value as reports write it; of a kind of target."""
    return format_value(value, decimals_of(metric, value, kind, _DIGITS) if metric in METRICS else _DIGITS)


def metric_cell(metric: str, value: float, kind: str, note: str = "", *, is_best: bool = False) -> Cell:
    """A metric's value as a cell; where it is undefined, the note says why."""
    known = None if math.isnan(value) else value
    return Cell(metric_text(metric, value, kind), known, note, is_best=is_best)


def metric_about(metric: str) -> str:
    """What a metric is, in a line; nothing if that need not be said."""
    return _ABOUT.get(metric, "")


def number_cell(value: float | None, decimals: int = 4) -> Cell:
    """Any number as a cell; None and NaN are undefined."""
    if value is None or math.isnan(value):
        return Cell("undefined")
    return Cell(f"{value:,.{decimals}f}", value)


def share_text(value: float) -> str:
    """A share in percent; a small one is not called 0."""
    if 0 < value < 0.0005:
        return f"< 0.05{_NARROW}%"
    return f"{100 * value:.1f}{_NARROW}%"


def duration_text(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def size_text(size: int) -> str:
    """Bytes as people say them."""
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB"


def point_text(value: object) -> tuple[str, str]:
    """A point in time of a split, and how it was read: a whole number of such a size must count from 1970."""
    if isinstance(value, int):
        for size, unit, scale in _EPOCHS:
            if size <= value < 4 * size:
                moment = datetime.fromtimestamp(value * scale, timezone.utc)
                return f"{moment:%Y-%m-%d %H:%M} UTC", f"{value}, read as {unit} since 1970"
    return str(value), ""


def unit_text(value: float, unit: str | None) -> str:
    """A number that stays narrow, with its unit."""
    return f"{short_number(value)} {unit}" if unit else short_number(value)


_ABOUT = {
    "auc": "share of the pairs of a row where it happened and one where not that are in the right order",
    "group_auc": "the AUC within each user's rows, weighted by their number",
    "macro_auc": "mean of the classes' AUCs, each against the others",
    "logloss": "mean negative logarithm of the probability of what happened",
    "normalised_entropy": "LogLoss over that of the base rate; below 1 is better than knowing the rate",
    "calibration_error": "mean distance of mean prediction and mean label over ten groups of rows by prediction",
    "accuracy": "share of the rows whose most likely class was right",
    "nrmse": "RMSE / std(y); the mean of these rows would have 1",
    "nrmse_by_mean": "RMSE / |mean(y)|",
    "nmae": "MAE / mean|y|",
    "spearman": "rank correlation of predictions and labels",
    "gini": "how fast the ranking finds the amounts; 1 as the perfect one, 0 as chance",
    "xauc": "share of the pairs of rows with different amounts that are in the right order",
    "decile_error": "as the calibration error, of an amount, over mean|y|",
    "level": "total predicted over total actual",
    "negative_share": "share of the predictions below 0",
    "calibration_error_before": "the calibration error of the predictions before they were calibrated",
    "decile_error_before": "the deciles' error of the predictions before they were calibrated",
    "regret": "what is lost against the truth, without the labels' noise",
    "rmse": "root of the mean squared error",
    "mae": "mean absolute error",
    "base_rate": "share of the rows where it happened",
}
