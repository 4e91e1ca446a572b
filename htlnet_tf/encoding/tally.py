"""How often the values of a feature have occurred over the days, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from htlnet_tf.encoding.packing import Hashes, Integers

MAX_CANDIDATES = 2**20
"""Values without a row of their own whose counts are kept, per feature: 24 MB at most."""


class Aging(NamedTuple):
    """How what was counted on the days before counts on a further one.

    Attributes:
      day: Its number; the rows that an encoder was fitted on are day 1.
      evict_after: Days without a row after which a value is given up; None: never.
      half_life: Days after which sums of the history statistics count half; None: they count for ever.
    """

    day: int
    evict_after: int | None = None
    half_life: float | None = None

    @property
    def decay(self) -> float:
        """What a sum counts for a day later."""
        return 1.0 if self.half_life is None else 0.5 ** (1.0 / self.half_life)

    def is_kept(self, last: np.ndarray) -> np.ndarray:
        """Whether values that were last seen on these days, int64 [N], are not given up: bool [N]."""
        if self.evict_after is None:
            return np.ones(len(last), bool)
        return np.asarray(self.day - last < self.evict_after)


class Step(NamedTuple):
    """What a day makes of a vocabulary.

    Attributes:
      kept: int64 [K], positions of the known values that stay, increasing.
      new: int64 [P], positions among the unknown values of those that get a row, most frequent first, ties by value.
      tally: Of the values that stay and, behind them, the new ones.
    """

    kept: np.ndarray
    new: np.ndarray
    tally: Tally


@dataclass(frozen=True, eq=False, config=ConfigDict(extra="forbid"))
class Tally:
    """Counts of the values that have a row, and of candidates that may get one.

    The counts of known values are exact. A candidate is known by a hash of 64 bits alone. Counts of candidates are
    exact as long as no more than `MAX_CANDIDATES` values are below the least count; beyond, those with the lowest
    counts are forgotten, among these the longest unseen first. So a count is never too high, and a value may get its
    row later than exact counts would give it, never earlier: but for two values with one hash, of which there are any
    among a million candidates and a million values of a day with a probability of 6e-8.

    Args:
      counts: int64 [V], of the values of the vocabulary in its order.
      last: int64 [V], the day on which each was seen last.
      hashes: uint64 [C], of the candidates, increasing.
      candidate_counts: int64 [C].
      candidate_last: int64 [C].

    References:
      Manku, Motwani: "Approximate Frequency Counts over Data Streams", VLDB 2002 (lossy counting), whose counts are too
      low as these are.
    """

    counts: Integers
    last: Integers
    hashes: Hashes
    candidate_counts: Integers
    candidate_last: Integers

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tally):
            return NotImplemented
        return all(np.array_equal(array, vars(other)[name]) for name, array in vars(self).items())

    __hash__ = None  # type: ignore[assignment]  # arrays have none

    @classmethod
    def first(cls, counts: Sequence[int], others: Sequence[Any], other_counts: Sequence[int]) -> Tally:
        """Of the rows that an encoder is fitted on, day 1.

        Args:
          counts: Of the values with a row.
          others: The values without one.
          other_counts: Theirs.
        """
        ones = np.ones(len(others), np.int64)
        candidates = _summed(hashes_of(others), np.asarray(other_counts, np.int64), ones, MAX_CANDIDATES)
        return cls(np.asarray(counts, np.int64), np.ones(len(counts), np.int64), *candidates)

    @classmethod
    def unknown(cls, values: int, count: int) -> Tally:
        """Of a vocabulary whose counts were not kept.

        Args:
          values: How many it has.
          count: What each has reached.
        """
        return cls(*(np.full(values, fill, np.int64) for fill in (count, 1)), *_summed(*_NOTHING, MAX_CANDIDATES))

    def after(
        self,
        known: np.ndarray,
        others: Sequence[Any],
        other_counts: np.ndarray,
        *,
        least: int,
        aging: Aging,
        most: int = MAX_CANDIDATES,
    ) -> Step:
        """What a day makes of the vocabulary.

        Args:
          known: int64 [V], how often each known value occurs on the day.
          others: Distinct other values of the day.
          other_counts: int64 [N], how often each of these occurs.
          least: The count over all days that gives a value a row.
          aging: Which day it is, and when values are given up.
          most: Candidates to keep.
        """
        last = np.where(known > 0, aging.day, self.last)
        kept = np.flatnonzero(aging.is_kept(last))
        hashes = hashes_of(others)
        places = np.searchsorted(self.hashes, hashes)
        inside = places < len(self.hashes)
        found = np.flatnonzero(inside)[self.hashes[places[inside]] == hashes[inside]]
        totals = np.array(other_counts, np.int64)
        totals[found] += self.candidate_counts[places[found]]
        reached = np.flatnonzero(totals >= least)
        new = np.asarray(sorted(reached.tolist(), key=lambda i: (-totals[i], others[i])), np.int64)
        waiting = np.flatnonzero(totals < least)
        fresh = aging.is_kept(self.candidate_last)
        fresh[places[found]] = False  # counted below with the day's
        candidates = _summed(
            np.concatenate([self.hashes[fresh], hashes[waiting]]),
            np.concatenate([self.candidate_counts[fresh], totals[waiting]]),
            np.concatenate([self.candidate_last[fresh], np.full(len(waiting), aging.day)]),
            most,
        )
        counts = np.concatenate([(self.counts + known)[kept], totals[new]])
        return Step(kept, new, Tally(counts, np.concatenate([last[kept], np.full(len(new), aging.day)]), *candidates))


def hashes_of(values: Sequence[Any]) -> np.ndarray:
    """uint64 [N] of distinct values, all strings or all whole numbers, the same in every process."""
    if not len(values):
        return np.empty(0, np.uint64)
    whole = not isinstance(values[0], str)
    array = np.asarray(values, np.int64) if whole else np.asarray(values, object)
    return np.asarray(pd.util.hash_array(array, categorize=False), np.uint64)


_NOTHING = (np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.int64))


def _summed(hashes: np.ndarray, counts: np.ndarray, last: np.ndarray, most: int) -> tuple[np.ndarray, ...]:
    """Candidates in the order of their hashes, each once, the most frequent and latest of them."""
    order = np.argsort(hashes, kind="stable")
    hashes, counts, last = hashes[order], counts[order], last[order]
    starts = np.flatnonzero(np.append(True, hashes[1:] != hashes[:-1])) if len(hashes) else np.zeros(0, np.int64)
    if len(starts) < len(hashes):
        hashes, counts, last = hashes[starts], np.add.reduceat(counts, starts), np.maximum.reduceat(last, starts)
    if len(hashes) > most:
        kept = np.sort(np.lexsort((last, counts))[-most:])
        hashes, counts, last = hashes[kept], counts[kept], last[kept]
    return hashes, counts, last
