"""History statistics: the mean of a target, or the number of rows, of the training rows that share a value."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from htlnet_tf.encoding.kinds.kind import Block, Day, Kind, Numbers
from htlnet_tf.encoding.kinds.numeric import CLIP
from htlnet_tf.encoding.layout import Field
from htlnet_tf.encoding.packing import Floats
from htlnet_tf.schema import CountEncoding, TargetEncoding
from htlnet_tf.schema.history import History

HistoryT = TypeVar("HistoryT", bound=History)


@dataclass(frozen=True, eq=False, config=ConfigDict(extra="forbid"))
class ValueSums:
    """What was added up over the training rows of each value.

    Args:
      weights: By row of the value's block, float32 [V]: weights in the target's loss, or of the rows that are counted.
        0 for unknown and missing values.
      sums: Weighted sums of the target, float32 [K * V], those of one number together; none where rows are counted.
      priors: The same mean of all training rows, [K].
      mean: Of each number over the training rows, [K], by which it is standardised.
      std: Likewise their deviation.
      boundaries: Of a statistic in quantile buckets too, per number the increasing bounds between them, float32, on the
        standardised scale.
      total: The weights of all training rows, which the priors are means of; None in older files.
    """

    weights: Floats
    sums: Floats
    priors: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    boundaries: tuple[tuple[float, ...], ...] | None = None
    total: float | None = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ValueSums):
            return NotImplemented
        arrays = all(np.array_equal(getattr(self, name), getattr(other, name)) for name in ("weights", "sums"))
        return arrays and all(
            getattr(self, name) == getattr(other, name) for name in ("priors", "mean", "std", "boundaries", "total")
        )

    __hash__ = None  # type: ignore[assignment]  # arrays have none


class HistoryKind(Kind[HistoryT]):
    """Numbers by the row of a value, (x - mean) / std, clipped to [-10, 10]; of several values their mean.

    With quantile buckets there is also a field per number, of the embedding row of the bucket that it is in.
    """

    comes_last = True
    learned_type = ValueSums
    learned: ValueSums

    def __init__(self, feature: HistoryT, learned: Any, peers: Mapping[str, Kind[Any]]) -> None:
        super().__init__(feature, learned, peers)
        self._table: tf.Tensor | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Those of the value that it is a statistic of."""
        return self.peers[self.feature.of].columns

    @property
    def num_numbers(self) -> int:
        """One, or of a multiclass target one per class."""
        return len(self.learned.mean)

    def raw(self, weights: np.ndarray, sums: np.ndarray) -> np.ndarray:
        """The statistic, in its own unit.

        Args:
          weights: float64 [N].
          sums: float64 [K, N].

        Returns:
          float64 [K, N].
        """
        raise NotImplementedError

    def standardised(self, weights: np.ndarray, sums: np.ndarray) -> np.ndarray:
        """The statistic as the model sees it, float32 [K, N]; arguments as for `raw`."""
        mean, std = (np.asarray(values)[:, np.newaxis] for values in (self.learned.mean, self.learned.std))
        return np.clip((self.raw(weights, sums) - mean) / std, -CLIP, CLIP).astype(np.float32)

    def grown(self, day: Day) -> ValueSums:
        """The sums of the days before, which count less by the half-life, and those of the day, if it is to be seen.

        Mean and deviation, by which the statistic is standardised, and the bounds of its buckets stay: the weights were
        trained on numbers of that scale.
        """
        learned, origins, added = self.learned, day.origins[self.feature.of], day.sums.get(self.feature.name)
        weights = origins.moved(learned.weights)
        sums = origins.moved(learned.sums.reshape(-1, len(learned.weights)))
        if added is None:
            return dataclasses.replace(learned, weights=weights, sums=sums.ravel())
        decay = day.aging.decay
        before = decay * (float(learned.weights.sum()) if learned.total is None else learned.total)
        total = before + added.total
        priors = (before * np.asarray(learned.priors) + added.totals) / (total or 1.0)
        return dataclasses.replace(
            learned,
            weights=decay * weights + added.weights,
            sums=(decay * sums + added.sums).ravel(),
            priors=tuple(priors.tolist()),
            total=total,
        )

    def fields(self) -> list[Field]:
        """One per number, if it is in buckets too."""
        dim = self.feature.embedding_dim
        return [Field(self._field(k), 1, "mean", dim) for k in range(len(self.learned.boundaries or ()))]

    def block(self, field: str, start: int) -> Block:
        """The buckets' rows."""
        names = [f.name for f in self.fields()]
        boundaries = (self.learned.boundaries or ())[names.index(field)]
        return Block.at(start, unknown=False, missing=False, values=len(boundaries) + 1)

    def rows(self, raw: Mapping[str, tf.Tensor], found: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The buckets of the statistic."""
        if self.learned.boundaries is None:
            return {}
        return self.buckets(self.numbers(raw, found).values)

    def buckets(self, numbers: Sequence[tf.Tensor]) -> dict[str, tf.Tensor]:
        """The rows of the buckets that standardised numbers are in, int32 [B, 1] by field.

        Args:
          numbers: Per number, float32 [B].
        """
        rows = {}
        for k, bounds in enumerate(self.learned.boundaries or ()):
            bucket = tf.raw_ops.Bucketize(input=numbers[k], boundaries=list(bounds))
            rows[self._field(k)] = (bucket + self.blocks[self._field(k)].first)[:, tf.newaxis]
        return rows

    def _field(self, k: int) -> str:
        return self.feature.name if self.num_numbers == 1 else f"{self.feature.name}.{k}"

    def numbers(self, raw: Mapping[str, tf.Tensor], rows: Mapping[str, tf.Tensor]) -> Numbers:
        """The statistic of the value in a row, the mean of those of several values."""
        of, table = self.feature.of, self._served()
        start, found = self.blocks[of].start, rows[of]
        if found.shape[1] == 1:
            return Numbers(tf.unstack(tf.gather(table, found[:, 0] - start), num=self.num_numbers, axis=1))
        used = tf.not_equal(found, self.padding[of])
        gathered = tf.gather(table, tf.where(used, found - start, len(self.learned.weights)))
        count = tf.reduce_sum(tf.cast(used, tf.float32), axis=1, keepdims=True)
        mean = tf.reduce_sum(gathered, axis=1) / tf.maximum(count, 1.0)
        return Numbers(tf.unstack(mean, num=self.num_numbers, axis=1))

    def _served(self) -> tf.Tensor:
        """The statistic by the value's row in its block, float32 [V + 1, K]; the last line is for unused slots."""
        if self._table is None:
            learned = self.learned
            sums = learned.sums.reshape(-1, len(learned.weights)).astype(np.float64)
            values = self.standardised(learned.weights.astype(np.float64), sums)
            # Made outside of any graph, so that all signatures of a servable share it.
            with tf.init_scope():
                self._table = tf.constant(np.append(values, np.zeros((len(values), 1), np.float32), axis=1).T)
        return self._table


class TargetEncodingKind(HistoryKind[TargetEncoding]):
    """(sum of w y + smoothing prior) / (sum of w + smoothing)."""

    def raw(self, weights: np.ndarray, sums: np.ndarray) -> np.ndarray:
        """The smoothed mean."""
        smoothing, priors = self.feature.smoothing, np.asarray(self.learned.priors)[:, np.newaxis]
        return np.asarray((sums + smoothing * priors) / (weights + smoothing))


class CountEncodingKind(HistoryKind[CountEncoding]):
    """log(1 + n)."""

    def raw(self, weights: np.ndarray, sums: np.ndarray) -> np.ndarray:
        """The count on the log scale."""
        return np.log1p(weights)[np.newaxis]
