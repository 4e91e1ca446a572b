"""What a trained model loses when the values of a column are dealt out anew among the rows: permutation importance."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from htlnet_tf.data.columns import Arrays
from htlnet_tf.judging.encoded_columns import encoded_columns
from htlnet_tf.judging.evaluation import Judged, judge
from htlnet_tf.judging.exact_metrics import Floats
from htlnet_tf.schema.targets import Target

if TYPE_CHECKING:
    from htlnet_tf.models.scoring_model import ScoringModel

_COLUMNS = ["column", "group", "target", "metric", "loss", "spread"]
_BETTER = {"auc": 1.0, "macro_auc": 1.0, "nrmse": -1.0, "spearman": 1.0}
_SECONDS_BETWEEN_LINES = 5.0


class _Unit(NamedTuple):
    """What is dealt out at once: a raw column, or all of a group."""

    column: str
    group: str
    sources: frozenset[str]


def importance_table(
    model: ScoringModel,
    rows: pd.DataFrame,
    *,
    repeats: int = 2,
    seed: int = 0,
    write: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """By how much the metrics get worse when a raw column's values are permuted among the rows.

    Whatever is made of the column moves with it: crosses, history statistics, a second feature that reads it. Columns
    that tell the same stand in for each other, so each alone may seem to be worth little; the rows of whole groups,
    whose columns are permuted together, show what they are worth together.

    Args:
      model: A trained model.
      rows: Raw rows that it was not trained on, with the targets' columns; thousands are enough.
      repeats: Permutations per column.
      seed: Of the permutations.
      write: Gets a line every few seconds; None: nothing is said.

    Returns:
      A row per column, target and metric: `column` as the table calls it (empty: all columns of the group), `group`,
      `target`, `metric` (`auc`, `macro_auc`; `nrmse` and `spearman` of an amount), `loss` (mean over the repeats of how
      much worse the metric is, positive: worse) and `spread` (its sample standard deviation over them, NaN of one).
      Metrics that these rows leave undefined are left out.

    Raises:
      InputError: There are no rows, a column is missing, or a value is not valid.

    References:
      Breiman: "Random Forests", Machine Learning 45, 2001; Fisher, Rudin, Dominici: "All Models are Wrong, but Many are
      Useful", JMLR 20, 2019 (model reliance).
    """
    from htlnet_tf.scoring.prediction import predict_targets  # as in evaluation

    schema = model.schema
    encoded = model.encoder.encode(rows)
    judged = judge(schema, rows[[t.source for t in schema.targets]], predict_targets(model, encoded, rows.index))
    base = {t.name: _quality(t, judged[t.name], judged[t.name].predictions) for t in schema.targets}
    permutations = [np.random.default_rng([seed, i]).permutation(len(rows)) for i in range(repeats)]
    units, found, spoke = _units(model), [], time.monotonic()
    for number, unit in enumerate(units, start=1):
        losses: dict[tuple[str, str], list[float]] = {}
        permuted = [_permuted(model, rows, encoded, unit.sources, order) for order in permutations]
        # Scored at once: of a few thousand rows the call itself is much of the time.
        together = {name: np.concatenate([part[name] for part in permuted]) for name in encoded}
        scored = predict_targets(model, together, pd.RangeIndex(len(rows) * repeats))
        for i in range(repeats):
            predictions = scored.iloc[i * len(rows) : (i + 1) * len(rows)]
            for target in schema.targets:
                p = predictions[list(target.score_names)].to_numpy(np.float64)[judged[target.name].observed]
                for metric, value in _quality(target, judged[target.name], p).items():
                    loss = _BETTER[metric] * (base[target.name][metric] - value)
                    losses.setdefault((target.name, metric), []).append(loss)
        for (name, metric), each in losses.items():
            spread = np.std(each, ddof=1) if len(each) > 1 else np.nan
            found.append((unit.column, unit.group, name, metric, np.mean(each), spread))
        if write is not None and time.monotonic() - spoke > _SECONDS_BETWEEN_LINES:
            spoke = time.monotonic()
            write(f"  importance of the columns: {number}/{len(units)}")
    return pd.DataFrame(found, columns=_COLUMNS).astype({"loss": np.float64, "spread": np.float64})


def _units(model: ScoringModel) -> list[_Unit]:
    """Every raw column, by its first feature's group, and then every group of several columns."""
    groups: dict[str, str] = {}
    for feature in model.schema.inputs:
        groups.setdefault(feature.source, feature.group)
    units = [_Unit(source, group, frozenset([source])) for source, group in groups.items()]
    for group in dict.fromkeys(groups.values()):
        members = frozenset(source for source, of in groups.items() if of == group)
        if len(members) > 1:
            units.append(_Unit("", group, members))
    return units


def _permuted(
    model: ScoringModel, rows: pd.DataFrame, encoded: Arrays, sources: frozenset[str], order: np.ndarray
) -> Mapping[str, np.ndarray]:
    """Encoded rows with some raw columns in another order."""
    names = {feature.name for feature in model.schema.inputs if feature.source in sources}
    touched = {name: kind.columns for name, kind in model.encoder.kinds.items() if names & set(kind.columns)}
    if any(not names.issuperset(read) for read in touched.values()):
        # A cross with a column that stays is another pair in every row.
        moved = rows.assign(**{source: rows[source].to_numpy()[order] for source in sources})
        return model.encoder.encode(moved)
    ids, numeric = encoded["ids"].copy(), encoded["numeric"].copy()
    places = encoded_columns(model.encoder)
    for name in touched:
        _move(ids, places[name].fields.values(), order)
        _move(numeric, (places[name].values, places[name].indicators), order)
    return {"ids": ids, "numeric": numeric}


def _move(array: np.ndarray, columns: Iterable[slice], order: np.ndarray) -> None:
    for part in columns:
        array[:, part] = array[order, part]


def _quality(target: Target, judged: Judged, predictions: Floats) -> dict[str, float]:
    """What is looked at, of predictions [M, K] for the rows where the label was observed."""
    y = judged.labels
    if not y.size or np.ptp(y) == 0:
        return {}
    if target.kind == "binary":
        return {"auc": float(roc_auc_score(y, predictions[:, 0]))}
    if target.kind == "multiclass":
        met = [k for k in range(predictions.shape[1]) if 0 < np.count_nonzero(y == k) < y.size]
        return {"macro_auc": float(np.mean([roc_auc_score(y == k, predictions[:, k]) for k in met]))}
    p = predictions[:, 0]
    error = {"nrmse": float(np.sqrt(np.mean((y - p) ** 2)) / np.std(y))}
    if np.ptp(judged.predictions) == 0:  # a model of one prediction for all rows has no order to lose
        return error
    return error | {"spearman": float(spearmanr(y, p).statistic) if np.ptp(p) else 0.0}
