"""History statistics of the training rows, added up such that a row's statistic can be told without its own label."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from absl import logging

from htlnet_tf.data import timestamps
from htlnet_tf.data.columns import require_columns
from htlnet_tf.data.labels import label_columns, label_values, sample_weights
from htlnet_tf.encoding.counting import UniformSample
from htlnet_tf.encoding.kinds.history import HistoryKind, ValueSums
from htlnet_tf.encoding.row_marks import RowMarks
from htlnet_tf.encoding.sums import Cells, added
from htlnet_tf.errors import InputError
from htlnet_tf.objectives.label_statistics import LabelStatistics
from htlnet_tf.schema import CountEncoding, Multiclass, Schema, TargetEncoding
from htlnet_tf.schema.history import History

if TYPE_CHECKING:
    from htlnet_tf.encoding.encoder import FeatureEncoder

MAX_PERIODS = 1024
"""Periods into which `ordered` cuts the time of the training rows; rows of one do not see each other."""


class Group(NamedTuple):
    """Statistics that share their sums.

    Attributes:
      of: The value that they are of.
      scheme: `"folds"`, `"ordered"`, or `"count"` of those that need no labels.
      folds: How many.
    """

    of: str
    scheme: str
    folds: int

    @classmethod
    def containing(cls, feature: History) -> Group:
        """The group of a statistic."""
        if isinstance(feature, CountEncoding):
            return cls(feature.of, "count", 1)
        return cls(feature.of, feature.scheme, feature.folds if feature.scheme == "folds" else MAX_PERIODS)


class HistorySums(NamedTuple):
    """What was added up for one statistic.

    Attributes:
      weights: float64 [V], by row of the value's block; of a count, how many rows.
      sums: float64 [K, V], the weighted numbers; none of a count.
      rows: float64 [V], how many rows have each value.
      total: The weights of all rows.
      totals: float64 [K], the weighted numbers of all rows.
    """

    weights: np.ndarray
    sums: np.ndarray
    rows: np.ndarray
    total: float
    totals: np.ndarray


class TrainingHistory:
    """What history statistics need of the training rows, in memory: numbers per value and fold or period.

    Args:
      plain: Encodes the values; its schema has no history statistics.
      schema: As declared, with them.
      periods: The bounds between the periods of `ordered`, increasing seconds or numbers of the time column.

    Attributes:
      cells: The sums of each group.
    """

    def __init__(self, plain: FeatureEncoder, schema: Schema, periods: np.ndarray) -> None:
        self._plain, self._schema, self._periods = plain, schema, periods
        self._groups = {feature.name: Group.containing(feature) for feature in schema.history}
        encodings = [f for f in schema.history if isinstance(f, TargetEncoding)]
        # The lines of the sums that a target on a scale has, weights and then sums; the first of all counts rows.
        self._lines: dict[tuple[str, str], slice] = {}
        end = 1
        for name, scale in dict.fromkeys((f.target, f.scale) for f in encodings):
            target, start = schema.target(name), end
            end += 1 + (target.num_classes if isinstance(target, Multiclass) else 1)
            self._lines[name, scale] = slice(start, end)
        self.cells: dict[Group, Cells] = {}
        self._marks = RowMarks()
        self._totals: dict[tuple[str, str], np.ndarray] = {}

    @classmethod
    def count(cls, plain: FeatureEncoder, schema: Schema, train: Iterable[pd.DataFrame]) -> TrainingHistory:
        """Adds up the training rows: in one pass, or in two if a statistic is `ordered`.

        Raises:
          InputError: A time is missing, or as for `label_values`.
        """
        history = cls(plain, schema, _periods(schema, train) if _is_ordered(schema) else np.empty(0))
        parts: dict[Group, list[Cells]] = {group: [] for group in history._groups.values()}
        totals: dict[tuple[str, str], np.ndarray] = {}
        for frame in train:
            columns = history._columns(frame)
            _warn_of_shared_index(frame)
            history._marks.add(_row_marks(frame, columns))
            for scale, lines in history._lines.items():
                totals[scale] = totals.get(scale, 0.0) + columns.matrix[:, lines].sum(axis=0)
            ids = plain.encode(frame)["ids"]
            for group, listed in parts.items():
                listed.append(history._cells(group, frame, ids, columns))
        history.cells = {group: Cells.merged(listed) for group, listed in parts.items()}
        history._totals = totals
        return history

    def learned(self, kind: type[HistoryKind[Any]], feature: History) -> ValueSums:
        """What the kind of a statistic keeps.

        Args:
          kind: Of the statistic.
          feature: The statistic.
        """
        weights, sums, rows, total, totals = self.sums(feature)
        priors = totals / (total or 1.0)
        zeros, ones = ((fill,) * max(len(sums), 1) for fill in (0.0, 1.0))
        kept = ValueSums(weights, sums.ravel(), tuple(priors.tolist()), zeros, ones, total=total)
        values = kind(feature, kept, {}).raw(weights, sums)
        count = max(rows.sum(), 1.0)
        mean = values @ rows / count
        deviation = np.sqrt((values - mean[:, np.newaxis]) ** 2 @ rows / count)
        std = np.where(deviation > 1e-9 * np.maximum(abs(mean), 1e-30), deviation, 1.0)
        kept = dataclasses.replace(kept, mean=tuple(mean.tolist()), std=tuple(std.tolist()))
        if feature.quantile_buckets is None:
            return kept
        numbers = kind(feature, kept, {}).standardised(weights, sums)
        bounds = tuple(_boundaries(line, rows, feature.quantile_buckets) for line in numbers)
        return dataclasses.replace(kept, boundaries=bounds)

    def sums(self, feature: History) -> HistorySums:
        """What was added up for a statistic."""
        cells = self.cells[self._groups[feature.name]]
        block = self._plain.blocks[feature.of]
        totals = cells.totals(block.end - block.start)
        rows = totals[0]  # how often each value occurs in the training rows
        if not isinstance(feature, TargetEncoding):
            return HistorySums(rows, np.zeros((0, len(rows))), rows, float(rows.sum()), np.zeros(0))
        numbers = totals[self._lines_of(feature)]
        total = self._totals[feature.target, feature.scale]
        return HistorySums(numbers[0], numbers[1:], rows, float(total[0]), total[1:])

    def leave_out(self, encoder: FeatureEncoder, frame: pd.DataFrame, encoded: Mapping[str, np.ndarray]) -> None:
        """Puts what training rows may see of the statistics in the place of the whole, which has their own labels.

        Args:
          encoder: Fitted on the same rows.
          frame: Training rows, N of them, with the index (and of a stream, the file) that they were counted with.
          encoded: `"ids"` int32 [N, num_slots] and `"numeric"` float32 [N, num_numeric], which are written to.

        Raises:
          InputError: They are not the rows that were counted.
        """
        numeric = encoded["numeric"]
        columns = self._columns(frame)
        unknown = self._marks.lacks(_row_marks(frame, columns))
        if unknown is not None:
            raise InputError(
                f"history statistics: the row with index {frame.index[unknown]!r} is none of the rows that the encoder "
                "was fitted on, or its index or labels have changed since; training rows leave their own labels out by "
                "their index. Rows that are no training rows take training=False"
            )
        seen: dict[Group, tuple[np.ndarray, np.ndarray]] = {}
        for feature in self._schema.history:
            group, kind = self._groups[feature.name], encoder.kinds[feature.name]
            assert isinstance(kind, HistoryKind)
            if group not in seen:
                seen[group] = self._left(group, *self._values(group, encoder, encoded["ids"]), columns)
            rows, left = seen[group]
            numbers = left[self._lines_of(feature)]
            found = kind.standardised(np.maximum(numbers[0], 0.0), numbers[1:])
            numeric[:, encoder.value_columns[feature.name]] = numbers = _mean_by_row(rows, found, len(frame))
            for field, bucket in kind.buckets(list(numbers.T)).items():
                encoded["ids"][:, encoder.slots_of(field)] = bucket

    def _left(
        self, group: Group, rows: np.ndarray, values: np.ndarray, columns: _Columns
    ) -> tuple[np.ndarray, np.ndarray]:
        """Which rows [M] have which sums, float64 [C, M], once their own are left out; 0 of unknown values."""
        known, cells = values >= 0, self.cells[group]
        left = np.zeros((len(cells.sums), len(rows)))
        if group.scheme == "count":
            pairs = rows[known] * (values.max(initial=0) + 1) + values[known]
            _, which, often = np.unique(pairs, return_inverse=True, return_counts=True)
            left[:, known] = cells.totals_of(values[known]) - columns.rows[rows[known]] * often[which]
            return rows, left
        blocks = columns.blocks[group[1:]][rows[known]]
        left[:, known] = cells.without(values[known], blocks, earlier=group.scheme == "ordered")
        return rows, left

    def _lines_of(self, feature: History) -> slice:
        """The lines of a group's sums that a statistic is made of."""
        return self._lines[feature.target, feature.scale] if isinstance(feature, TargetEncoding) else slice(1)

    def _columns(self, frame: pd.DataFrame) -> _Columns:
        """What is added up of each row."""
        labels, weights = label_values(frame, self._schema)
        parts = []
        for name, scale in self._lines:
            target, y = self._schema.target(name), np.asarray(labels[name], np.float64)
            w = np.ones(len(frame)) if weights is None else weights[name].astype(np.float64)
            if scale == "log":
                y = np.log1p(y / small_amount(self._plain.statistics.labels[name]))
            parts += [w[:, np.newaxis], w[:, np.newaxis] * label_columns(y, target)]
        rows = sample_weights(frame, self._schema)
        blocks = {group[1:]: self._blocks(group, frame) for group in self._groups.values() if group.scheme != "count"}
        return _Columns(rows, np.concatenate([rows[:, np.newaxis], *parts], axis=1), blocks)

    def _values(self, group: Group, encoder: FeatureEncoder, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which rows have which values, int64 [M] each, slots that are padding left out.

        A value is its row in its block, which is the same with and without statistics; -1: it is unknown or missing.

        Args:
          group: Says of which feature.
          encoder: That gave the ids.
          ids: int32 [N, num_slots].
        """
        block, part = encoder.blocks[group.of], ids[:, encoder.slots_of(group.of)]
        used = part != encoder.padding[group.of]
        found = part[used].astype(np.int64)
        return np.nonzero(used)[0], np.where(found >= block.first, found - block.start, -1)

    def _blocks(self, group: Group, frame: pd.DataFrame) -> np.ndarray:
        """The fold or period of each row, int64 [N]."""
        if group.scheme == "folds":
            return (_row_hashes(frame) % np.uint64(group.folds)).astype(np.int64)
        return np.searchsorted(self._periods, _moments(frame, self._schema), side="right")

    def _cells(self, group: Group, frame: pd.DataFrame, ids: np.ndarray, columns: _Columns) -> Cells:
        rows, values = self._values(group, self._plain, ids)
        rows, values = rows[values >= 0], values[values >= 0]
        if group.scheme == "count":
            return added(values, np.zeros_like(values), columns.rows[rows, np.newaxis], 1)
        blocks, numbers = columns.blocks[group[1:]], columns.matrix
        # Of one value a row, and that known, there is nothing to pick.
        whole = _is_each_once(rows, len(frame))
        return added(values, blocks if whole else blocks[rows], numbers if whole else numbers[rows], group.folds)


class _Columns(NamedTuple):
    """What is added up of N rows.

    Attributes:
      rows: float64 [N], how much each counts.
      matrix: float64 [N, C]: the same, and then of each scale the weights and the weighted numbers.
      blocks: By scheme and folds, the fold or period of each row, int64 [N].
    """

    rows: np.ndarray
    matrix: np.ndarray
    blocks: dict[tuple[str, int], np.ndarray]


def small_amount(labels: LabelStatistics) -> float:
    """What is small among the amounts above 0, in their unit: two deviations below their mean, of their logarithms."""
    return math.exp(labels.log_mean - 2.0 * labels.log_std)


def _is_ordered(schema: Schema) -> bool:
    return any(isinstance(f, TargetEncoding) and f.scheme == "ordered" for f in schema.history)


def _periods(schema: Schema, train: Iterable[pd.DataFrame]) -> np.ndarray:
    """Bounds that make up to `MAX_PERIODS` periods of about as many rows each; of each distinct time, if few."""
    sample = UniformSample()
    for frame in train:
        sample.update(_moments(frame, schema))
    distinct = np.unique(sample.kept)
    if len(distinct) <= MAX_PERIODS:
        return distinct[1:]
    return np.unique(np.quantile(sample.kept, np.arange(1, MAX_PERIODS) / MAX_PERIODS, method="lower"))


def _moments(frame: pd.DataFrame, schema: Schema) -> np.ndarray:
    """The time of each row as float64, in seconds if the column says what it counts."""
    assert schema.time_column is not None  # checked by the schema
    require_columns(frame, [schema.time_column], purpose="history statistics by time")
    found = timestamps.parse(frame[schema.time_column], schema.time_format)
    per_second = {None: 1.0, "s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}[found.unit]
    return np.asarray(found.values, np.float64) / per_second


def _row_hashes(frame: pd.DataFrame) -> np.ndarray:
    """By index and file, uint64 [N], so that a row has the same fold in whatever order or part rows come."""
    file = hashlib.blake2b(str(frame.attrs.get("file", "")).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return np.asarray(pd.util.hash_pandas_object(frame.index), np.uint64) ^ np.frombuffer(file, "<u8").astype(np.uint64)


def _boundaries(values: np.ndarray, rows: np.ndarray, buckets: int) -> tuple[float, ...]:
    """The inner quantiles, each once, of values [V] that so many rows [V] have."""
    order = np.argsort(values, kind="stable")
    passed = np.cumsum(rows[order])
    places = np.searchsorted(passed, np.arange(1, buckets) / buckets * passed[-1])
    return tuple(np.unique(values[order][np.minimum(places, len(order) - 1)]).tolist())


def _row_marks(frame: pd.DataFrame, columns: _Columns) -> np.ndarray:
    """By index, file, labels and weights, uint64 [N]: another row has another one, up to chance."""
    marks = _row_hashes(frame)
    for column in columns.matrix.T:
        marks = marks * np.uint64(0x9E3779B97F4A7C15) ^ np.asarray(pd.util.hash_array(column), np.uint64)
    return marks


def _warn_of_shared_index(frame: pd.DataFrame) -> None:
    distinct = frame.index.nunique()
    if len(frame) >= 100 and 2 * distinct < len(frame):
        logging.warning(
            f"history statistics: {len(frame)} rows share {distinct} values of the index, and those of one value are "
            "in one fold; if it says something, as a user does, its statistic is not seen in training: reset_index()"
        )


def _is_each_once(rows: np.ndarray, count: int) -> bool:
    """Whether increasing row numbers [M] are 0 .. count - 1, each once."""
    return len(rows) == count and bool(np.all(np.diff(rows) == 1))


def _mean_by_row(rows: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """float32 [count, K] of values [K, M] that belong to rows [M]; every row has at least one."""
    if _is_each_once(rows, count):
        return values.T
    summed = np.stack([np.bincount(rows, line, count) for line in values])
    return np.asarray((summed / np.bincount(rows, minlength=count)).T, np.float32)


def frames_of(train: pd.DataFrame | Iterable[pd.DataFrame]) -> Iterable[pd.DataFrame]:
    """Training rows as frames that can be read again.

    Raises:
      InputError: They can be read once only.
    """
    if isinstance(train, pd.DataFrame):
        return [train]
    if isinstance(train, Iterator):
        raise InputError("history statistics read the training rows more than once: give a frame, a list or a stream")
    return train
