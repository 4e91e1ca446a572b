"""Numbers: standardised, or in quantile buckets that have an embedding row each, or both."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from htlnet_tf.data import columns
from htlnet_tf.data.raw_features import numeric_values, raw_numbers
from htlnet_tf.encoding.counting import RunningMoments, UniformSample
from htlnet_tf.encoding.kinds.kind import Block, Counter, Kind, Numbers
from htlnet_tf.encoding.layout import Field
from htlnet_tf.schema import Numeric, Schema

CLIP = 10.0
_FAR_FROM_ONE = 2.0**100


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Moments:
    """Mean and standard deviation (population) of a column, after log1p if the feature asks for it.

    Args:
      mean: In the column's unit.
      std: In the column's unit; 1 for a constant column.
      has_missing: Whether the training rows had a missing value; if so, an indicator goes with the value.
      boundaries: Of a feature in quantile buckets, the increasing bounds between them, float32.
    """

    mean: float = 0.0
    std: float = 1.0
    has_missing: bool = False
    boundaries: tuple[float, ...] | None = None


class NumericCounter(Counter[Numeric]):
    """Mean and deviation of a column, or its quantiles."""

    def __init__(self, feature: Numeric, schema: Schema) -> None:
        super().__init__(feature)
        self._decimal = schema.decimal
        self._moments, self._sample = RunningMoments(), UniformSample()

    def update(self, frame: pd.DataFrame) -> None:
        """Adds rows."""
        feature = self.feature
        values = numeric_values(frame[feature.source], feature, decimal=self._decimal)
        if feature.quantile_buckets is not None:
            self._sample.update(values)
        if feature.is_number:
            self._moments.update(np.log1p(values) if feature.log1p else values)

    def settled(self, others: Mapping[str, Counter[Any]]) -> tuple[Numeric, Moments]:
        """The feature as it is, and its moments or bounds."""
        buckets, moments = self.feature.quantile_buckets, self._moments
        boundaries = None if buckets is None else self._sample.boundaries(buckets)
        return self.feature, Moments(moments.mean, moments.std, moments.has_missing, boundaries)


class NumericKind(Kind[Numeric]):
    """(x - mean) / std, clipped to [-10, 10]; a missing value becomes 0, and where the training rows had missing values
    an indicator follows. Or the embedding row of the bucket that x is in, or both.
    """

    dtype = tf.float32
    learned_type = Moments
    learned: Moments

    @classmethod
    def counter(cls, feature: Numeric, schema: Schema) -> NumericCounter:
        """Moments or quantiles."""
        return NumericCounter(feature, schema)

    def fields(self) -> list[Field]:
        """One for the buckets, none for a number."""
        is_bucketed = self.learned.boundaries is not None
        return [Field(self.feature.name, 1, "mean", self.feature.embedding_dim)] if is_bucketed else []

    def block(self, field: str, start: int) -> Block:
        """A row for missing values, and the buckets'."""
        # Here, as for hashes and hours, the row for missing values may stay untrained; near 0, it then says nothing.
        return Block.at(start, unknown=False, missing=True, values=len(self.learned.boundaries or ()) + 1)

    @property
    def num_numbers(self) -> int:
        """The number and its indicator, if any; none of buckets alone."""
        return 1 + self.learned.has_missing if self.feature.is_number else 0

    @property
    def num_indicators(self) -> int:
        """One, where the training rows had missing values."""
        return int(self.num_numbers == 2)

    def rows(self, raw: Mapping[str, tf.Tensor], found: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The bucket's row."""
        if self.learned.boundaries is None:
            return {}
        values, block = raw[self.feature.name], self.blocks[self.feature.name]
        bucket = tf.raw_ops.Bucketize(input=values, boundaries=list(self.learned.boundaries))
        rows = tf.where(self._is_missing(values), block.missing, bucket + block.first)
        return {self.feature.name: rows[:, tf.newaxis]}

    def numbers(self, raw: Mapping[str, tf.Tensor], rows: Mapping[str, tf.Tensor]) -> Numbers:
        """The standardised number, and an indicator where the training rows had missing ones."""
        return self.numbers_of_all([self], raw, rows)[0]

    @classmethod
    def numbers_of_all(
        cls, kinds: Sequence[Kind[Numeric]], raw: Mapping[str, tf.Tensor], rows: Mapping[str, tf.Tensor]
    ) -> list[Numbers]:
        """The columns side by side, of one length and one scale each."""
        together: dict[tuple[int | None, bool], list[NumericKind]] = {}
        for kind in kinds:
            assert isinstance(kind, NumericKind)
            if kind.feature.is_number:
                key = (raw[kind.feature.name].shape[0], kind.feature.log1p)
                together.setdefault(key, []).append(kind)
        found: dict[str, Numbers] = {}
        for alike in together.values():
            found |= _numbers_of(alike, tf.stack([raw[kind.feature.name] for kind in alike], axis=1))
        return [found.get(kind.feature.name, Numbers()) for kind in kinds]

    def of_column(self, column: pd.Series, decimal: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The numbers, and the rows of their buckets."""
        raw = raw_numbers(column, self.feature, decimal=decimal)
        rows = self.rows({self.feature.name: tf.constant(raw)}, {})
        return raw, {name: found.numpy() for name, found in rows.items()}

    def probe(self, count: int, random: np.random.Generator) -> np.ndarray:
        """Usual numbers, missing ones, 0, and a billion."""
        centre, spread = self.learned.mean, self.learned.std
        if self.learned.boundaries is not None and not self.feature.is_number:
            bounds = np.asarray(self.learned.boundaries or (0.0, 1.0))
            centre, spread = float(np.mean(bounds)), float(np.ptp(bounds)) + 1.0
        usual = random.normal(centre, spread, count)
        values = np.expm1(np.clip(usual, 0, 20)) if self.feature.log1p else usual
        values[::7], values[1::14], values[2::14] = columns.MISSING_FLOAT, 0.0, 1e9
        return values.astype(np.float32)

    def _is_missing(self, values: tf.Tensor) -> tf.Tensor:
        missing = ~tf.math.is_finite(values)
        for code in self.feature.missing_values:
            missing |= tf.equal(values, code)
        return missing


def _numbers_of(kinds: Sequence[NumericKind], x: tf.Tensor) -> dict[str, Numbers]:
    """The numbers of features that are alike, by name, from their values side by side, float32 [B, K]."""
    missing = ~tf.math.is_finite(x)
    codes = itertools.zip_longest(*(kind.feature.missing_values for kind in kinds), fillvalue=np.nan)
    for code in codes:  # the first of all features, the second of all; NaN equals nothing
        missing |= tf.equal(x, np.array(code, np.float32))
    if kinds[0].feature.log1p:
        # Training refuses negative values; a request that has one is read as the nearest legal value.
        x = tf.math.log1p(tf.maximum(x, 0.0))
    mean, std = np.array([[kind.learned.mean, kind.learned.std] for kind in kinds]).T
    values = tf.unstack(tf.where(missing, 0.0, standardised(x, mean, std)), num=len(kinds), axis=1)
    indicators: dict[str, tf.Tensor] = {}
    if any(kind.learned.has_missing for kind in kinds):
        columns_of = tf.unstack(tf.cast(missing, tf.float32), num=len(kinds), axis=1)
        indicators = {k.feature.name: of for k, of in zip(kinds, columns_of, strict=True) if k.learned.has_missing}
    return {
        kind.feature.name: Numbers([value], [indicators[kind.feature.name]] if kind.learned.has_missing else [])
        for kind, value in zip(kinds, values, strict=True)
    }


def standardised(x: tf.Tensor, mean: np.ndarray, std: np.ndarray) -> tf.Tensor:
    """(x - mean) / std, clipped, of numbers of any size, float32 [B, K]; mean and std are float64 [K]."""
    # 1 / std must be a normal float32 too; a power of two changes no digit of what it brings near 1.
    factor = np.where(std > _FAR_FROM_ONE, 2.0**-100, np.where(std < 1.0 / _FAR_FROM_ONE, 2.0**100, 1.0))
    if (factor != 1.0).any():
        x, mean, std = x * factor.astype(np.float32), mean * factor, std * factor
    # A product and not a quotient, of which TensorFlow's optimizer makes one, with another last digit.
    return tf.clip_by_value((x - mean.astype(np.float32)) * (1.0 / std).astype(np.float32), -CLIP, CLIP)
