"""What is learnt from a stream of rows by counting: values, moments, quantiles."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from htlnet_tf.data.raw_features import categorical_dtype, distinct_values, missing_codes
from htlnet_tf.errors import InputError
from htlnet_tf.schema import Categorical

SAMPLE_ROWS = 1_000_000
MAX_DISTINCT = 8_000_000
"""Distinct values beyond which those of a feature with an open encoding are no longer counted but hashed."""

# The white space that tf.strings.strip takes away, and no other: the graph must find what is counted here.
_WHITE_SPACE = " \t\n\v\f\r"


class ValueCounts:
    """How often each value of a categorical feature occurs.

    Args:
      feature: The declared feature.
      is_counted: False: only whether values are missing and how long lists are, which is all that hashing into a given
        number of buckets needs.

    Attributes:
      feature: With its dtype settled by the first rows that have a value.
      counts: By raw value, without the missing ones.
      has_missing: Whether a row had none.
      longest: Of a multi-valued feature, the longest list, at most its `max_length`.
      overflowed: Whether there were more than `MAX_DISTINCT` values of a feature whose encoding was left open; their
        counts are not kept, for they will be hashed.
    """

    def __init__(self, feature: Categorical, *, is_counted: bool = True) -> None:
        self.feature, self.is_counted, self.overflowed = feature, is_counted, False
        self.counts: Counter[Any] = Counter()
        self.has_missing = False
        self.longest = 1

    def update(self, column: pd.Series) -> None:
        """Adds rows.

        Raises:
          InputError: A value is not of the feature's dtype.
        """
        if self.feature.dtype is None:
            if column.isna().all():  # says nothing of the dtype yet
                self.has_missing |= len(column) > 0
                return
            self._settle(column)
        codes, values = distinct_values(column, self.feature)
        counted = np.bincount(codes, minlength=len(values))
        missing = missing_codes(self.feature)
        if self.feature.separator is None:
            if self.is_counted:
                # Added up one by one: 1 and "1" are two distinct values of a column and one text.
                for value, n in zip(values.tolist(), counted.tolist(), strict=True):
                    if n:
                        self.counts[value] += n
            for code in missing:
                self.has_missing |= bool(counted[values == code].sum())
                self.counts.pop(code, None)
            self._give_up_if_too_many()
            return
        for text, n in zip(values, counted.tolist(), strict=True):
            if n:
                tokens = self._kept_tokens(text, missing)
                self.longest = max(self.longest, len(tokens))
                self.has_missing |= not tokens
                for token in tokens if self.is_counted else ():
                    self.counts[token] += n
        self._give_up_if_too_many()

    def _give_up_if_too_many(self) -> None:
        if self.feature.encoding is None and len(self.counts) > MAX_DISTINCT:
            self.is_counted, self.overflowed = False, True
            self.counts.clear()

    def settled(self) -> Categorical:
        """The feature with a dtype, `"string"` if no row had a value."""
        return self.feature if self.feature.dtype else dataclasses.replace(self.feature, dtype="string")

    def _settle(self, column: pd.Series) -> None:
        dtype = categorical_dtype(column, self.feature)
        try:
            self.feature = dataclasses.replace(self.feature, dtype=dtype)
        except ValueError as error:
            raise InputError(f"column '{self.feature.name}' holds {dtype} values: {error}") from error

    def _kept_tokens(self, text: str, missing: tuple[int | str, ...]) -> list[str]:
        tokens = [token.strip(_WHITE_SPACE) for token in text.split(self.feature.separator)]
        tokens = [token for token in tokens if token not in missing]
        return tokens[-self.feature.max_length :] if self.feature.keeps_last else tokens[: self.feature.max_length]


def as_dtype(value: int | str, dtype: str | None) -> int | str | None:
    """A raw value in another dtype; None for text that is no whole number as it is usually written."""
    if dtype == "string":
        return str(value)
    try:
        number = int(value)
    except ValueError:
        return None
    return number if str(number) == str(value) and -(2**63) <= number < 2**63 else None


class RunningMoments:
    """Mean and variance of a stream of chunks (Chan, Golub, LeVeque 1979), exact where a sum of squares is not.

    Attributes:
      mean: Of the numbers seen, 0 if there were none.
      has_missing: Whether a NaN was seen.
    """

    def __init__(self) -> None:
        self.count, self.mean, self.has_missing = 0, 0.0, False
        self._squares = 0.0

    def update(self, values: np.ndarray) -> None:
        """Adds numbers, float64 [N]; NaN is missing."""
        present = values[~np.isnan(values)]
        self.has_missing |= len(present) < len(values)
        if not len(present):
            return
        mean, count = float(np.mean(present)), self.count + len(present)
        delta = mean - self.mean
        self._squares += float(np.sum((present - mean) ** 2)) + delta**2 * self.count * len(present) / count
        self.mean += delta * len(present) / count
        self.count = count

    @property
    def std(self) -> float:
        """Population standard deviation; 1 for constant numbers."""
        std = float(np.sqrt(self._squares / self.count)) if self.count else 0.0
        # A column whose spread is rounding error is constant, whatever its unit makes of its size.
        return 1.0 if std <= 1e-12 * abs(self.mean) else std


class UniformSample:
    """A uniform sample of a stream of numbers: all of them up to a million, then by reservoir sampling.

    References:
      Vitter: "Random Sampling with a Reservoir", ACM TOMS 11, 1985, algorithm R.
    """

    def __init__(self, size: int = SAMPLE_ROWS) -> None:
        self._size, self._seen = size, 0
        self._kept = np.empty(0, np.float64)
        self._random = np.random.default_rng(0)

    def update(self, values: np.ndarray) -> None:
        """Adds numbers, float64 [N]; NaN is left out."""
        present = values[~np.isnan(values)]
        room = max(self._size - len(self._kept), 0)
        self._kept = np.concatenate([self._kept, present[:room]])
        self._seen += min(room, len(present))
        later = present[room:]
        if len(later):
            order = self._seen + 1 + np.arange(len(later))
            chosen = later[self._random.random(len(later)) < self._size / order]
            self._kept[self._random.integers(0, self._size, len(chosen))] = chosen
            self._seen += len(later)

    @property
    def kept(self) -> np.ndarray:
        """The sample, float64."""
        return self._kept

    def boundaries(self, buckets: int) -> tuple[float, ...]:
        """The inner quantiles that make `buckets` buckets of the sample, float32, each once."""
        if not len(self._kept):
            return ()
        inner = np.quantile(self._kept, np.linspace(0, 1, buckets + 1)[1:-1])
        return tuple(float(b) for b in np.unique(inner.astype(np.float32)))
