"""The combination of two categorical features: a pair of rows has a row."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from htlnet_tf.encoding.kinds.kind import Block, Day, Kind, Origins
from htlnet_tf.encoding.layout import Field
from htlnet_tf.encoding.packing import Integers
from htlnet_tf.schema import Cross

# Numbers of pairs of which one was not there when the encoder was fitted: apart from all others.
LATER, SHIFT = 2**62, 2**31


@dataclass(frozen=True, eq=False, config=ConfigDict(extra="forbid"))
class PairNumbers:
    """What hashing calls the rows of the two features once their vocabularies have grown: what it has called them ever.

    Args:
      first: int64 [rows of the first feature], the number of each.
      second: Likewise of the second.
      sizes: How many rows the two had when the encoder was fitted.
      used: How many numbers have been given to the rows of each.
    """

    first: Integers
    second: Integers
    sizes: tuple[int, int]
    used: tuple[int, int]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PairNumbers):
            return NotImplemented
        arrays = all(np.array_equal(getattr(self, name), getattr(other, name)) for name in ("first", "second"))
        return arrays and (self.sizes, self.used) == (other.sizes, other.used)

    __hash__ = None  # type: ignore[assignment]  # arrays have none

    @classmethod
    def fitted(cls, first: int, second: int) -> PairNumbers:
        """Of features with so many rows, as they are when the encoder is fitted."""
        return cls(np.arange(first), np.arange(second), (first, second), (first, second))

    def after(self, first: Origins, second: Origins) -> PairNumbers:
        """The same with new rows, which get numbers that none has had."""
        numbers, used = [], []
        for own, origins, next_ in zip((self.first, self.second), (first, second), self.used, strict=True):
            moved = origins.moved(own)
            new = np.flatnonzero(origins.is_new)
            moved[new] = next_ + np.arange(len(new))
            numbers.append(moved)
            used.append(next_ + len(new))
        return PairNumbers(numbers[0], numbers[1], self.sizes, (used[0], used[1]))


class CrossKind(Kind[Cross]):
    """Pairs of rows are hashed into buckets, or counted off where the buckets suffice for all pairs.

    When vocabularies grow, hashed pairs keep their buckets; where the buckets no longer suffice for all pairs, a bucket
    takes over the row of the first pair that it gets, which is that of the most frequent values.
    """

    learned_type = PairNumbers | None
    learned: PairNumbers | None

    @property
    def columns(self) -> tuple[str, ...]:
        """Those of the two."""
        return self.feature.of

    def fields(self) -> list[Field]:
        """One."""
        return [Field(self.feature.name, 1, "mean", self.feature.embedding_dim)]

    def block(self, field: str, start: int) -> Block:
        """As many rows as there are pairs or buckets."""
        first, second = self.sizes
        return Block.at(start, unknown=False, missing=False, values=min(self.feature.num_buckets, first * second))

    def rows(self, raw: Mapping[str, tf.Tensor], found: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The row of each pair; two fields of one row each give one row."""
        a, b = (tf.cast(found[name], tf.int64) - self.blocks[name].start for name in self.feature.of)
        return {self.feature.name: tf.cast(self._numbered(a, b), tf.int32) + self.blocks[self.feature.name].first}

    def grown(self, day: Day) -> PairNumbers:
        """The numbers of the rows that the two features have now."""
        numbers = self.learned or PairNumbers.fitted(*self.sizes)
        return numbers.after(*(day.origins[name] for name in self.feature.of))

    def origins(self, field: str, before: Kind[Cross], day: Day) -> Origins:
        """By the pairs."""
        assert isinstance(before, CrossKind)
        first, second = (day.origins[name] for name in self.feature.of)
        if self.is_hashed and before.is_hashed:
            return Origins.unchanged(self.feature.num_buckets)
        # All pairs of rows, those that are hashed now in the order of the rows; the fewer of the two are few.
        a, b = (grid.ravel() for grid in np.indices(self.sizes if not self.is_hashed else self._few(first, second)))
        if self.is_hashed:
            a, b = np.flatnonzero(~first.is_new)[a], np.flatnonzero(~second.is_new)[b]
        rows = np.asarray(before._numbered(tf.constant(first.rows[a]), tf.constant(second.rows[b])))
        if not self.is_hashed:
            return Origins(rows, first.is_new[a] | second.is_new[b])
        buckets, positions = np.unique(np.asarray(self._numbered(tf.constant(a), tf.constant(b))), return_index=True)
        found = np.full(self.feature.num_buckets, -1)
        found[buckets] = rows[positions]
        return Origins(found, found < 0)

    @property
    def is_looked_up(self) -> bool:
        """Where pairs are hashed."""
        return self.is_hashed

    @property
    def sizes(self) -> tuple[int, int]:
        """How many rows the two features have."""
        first, second = (self.peers[name].num_rows for name in self.feature.of)
        return first, second

    @property
    def is_hashed(self) -> bool:
        """Whether there are fewer buckets than pairs."""
        first, second = self.sizes
        return first * second > self.feature.num_buckets

    @staticmethod
    def _few(first: Origins, second: Origins) -> tuple[int, int]:
        """How many rows of the two were there before."""
        return int(np.sum(~first.is_new)), int(np.sum(~second.is_new))

    def _numbered(self, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        """The row of pairs in the block, int64 of any shape; their rows are counted from the start of their blocks."""
        _, size = self.sizes
        if not self.is_hashed:
            return a * size + b
        pair = a * size + b
        if self.learned is not None:
            x, y = tf.gather(self.learned.first, a), tf.gather(self.learned.second, b)
            fitted = (x < self.learned.sizes[0]) & (y < self.learned.sizes[1])
            pair = tf.where(fitted, x * self.learned.sizes[1] + y, LATER + x * SHIFT + y)
        return tf.strings.to_hash_bucket_fast(tf.as_string(pair), self.feature.num_buckets)
