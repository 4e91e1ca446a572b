"""What one column of a stream holds, counted in bounded memory and independently of where the chunks end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from htlnet_tf.encoding.counting import RunningMoments
from htlnet_tf.inspection.values import EPOCH_UNITS, Kind, Values, epoch_range
from htlnet_tf.schema.features import TimeUnit

# The encoder gives up to a million values embedding rows of their own and hashes beyond, so a count that tells these
# two apart is enough. 8 MB per column.
MAX_DISTINCT = 1_000_000
# Values that are counted one by one: the first to be seen, which are the frequent ones as a rule.
MAX_COUNTED = 10_000


@dataclass(frozen=True)
class ColumnProfile:
    """What one column holds.

    Args:
      name: The column.
      kinds: What the present values are; more than one in a column of mixed content.
      rows: Rows read.
      missing: Rows without a value (NaN, None, the empty string, the empty list).
      distinct: Distinct present values, at most `MAX_DISTINCT`.
      distinct_is_exact: False: `distinct` is a lower bound.
      counts: Rows by value, of the `MAX_COUNTED` values that were seen first, most frequent first.
      whole: Whether all numbers are whole.
      minimum: Of the finite numbers; None without any. Times are milliseconds since 1970 UTC. So below.
      maximum: The greatest.
      mean: Their mean.
      std: Their standard deviation (population).
      zeros: Numbers that are 0.
      negatives: Numbers below 0.
      infinite: Numbers that are infinite.
      unreadable: Values of a target's column that are no numbers.
    """

    name: str
    kinds: frozenset[Kind]
    rows: int
    missing: int
    distinct: int
    distinct_is_exact: bool
    counts: dict[Any, int]
    whole: bool
    minimum: float | None
    maximum: float | None
    mean: float | None
    std: float | None
    zeros: int
    negatives: int
    infinite: int
    unreadable: int

    @property
    def present(self) -> int:
        """Rows with a value."""
        return self.rows - self.missing

    @property
    def is_number(self) -> bool:
        """Whether all values are numbers or booleans."""
        return bool(self.kinds) and self.kinds <= {"number", "bool"}

    @property
    def is_binary(self) -> bool:
        """Whether the values are 0 and 1, and both occur."""
        return self.is_number and self.distinct == 2 and (self.minimum, self.maximum) == (0.0, 1.0) and self.whole

    @property
    def dtype(self) -> str:
        """`int64`, `float64`, `bool`, `string`, `list`, `datetime`, `duration`, `mixed` or `empty`."""
        if not self.kinds:
            return "empty"
        if self.kinds == {"bool"}:
            return "bool"
        if self.is_number:
            return "int64" if self.whole and not self.infinite else "float64"
        if len(self.kinds) > 1:
            return "mixed"
        names = {"text": "string", "time": "datetime"}
        (kind,) = self.kinds
        return names.get(kind, kind)

    @property
    def epoch_unit(self) -> TimeUnit | None:
        """The unit in which all numbers are times since 1970, between 2000 and 2100; None if there is none."""
        if not self.is_number or self.minimum is None or self.maximum is None or self.infinite:
            return None
        for unit in EPOCH_UNITS:
            low, high = epoch_range(unit)
            if low <= self.minimum and self.maximum < high:
                return unit
        return None


def missing_code(profile: ColumnProfile) -> float | None:
    """A single negative whole value that recurs among non-negative numbers, such as -1 or -999."""
    if profile.negatives < 2 or profile.minimum is None or profile.negatives == profile.present:
        return None
    is_code = profile.minimum.is_integer() and profile.counts.get(int(profile.minimum), 0) == profile.negatives
    return profile.minimum if is_code else None


class ColumnCounter:
    """Counts a column chunk by chunk.

    Args:
      name: The column.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._kinds: set[Kind] = set()
        self._rows = self._missing = self._zeros = self._negatives = self._infinite = self._unreadable = 0
        self._whole = True
        self._moments = RunningMoments()  # of the finite numbers
        self._minimum, self._maximum = math.inf, -math.inf
        self._distinct = _Distinct()
        self._counts = _Counts()

    def update(self, values: Values) -> None:
        """Adds the column of one chunk."""
        self._rows += len(values.missing)
        self._missing += int(values.missing.sum())
        self._unreadable += values.unreadable
        if values.kind == "empty":
            return
        self._kinds.add(values.kind)
        present = np.flatnonzero(~values.missing)
        places, distinct = pd.factorize(values.hashes[present])
        self._distinct.update(distinct)
        self._counts.update(distinct, places, values.raw[present])
        if values.numbers is not None:
            self._update_numbers(values.numbers[present])

    def _update_numbers(self, numbers: np.ndarray) -> None:
        finite = numbers[np.isfinite(numbers)]
        self._infinite += len(numbers) - len(finite)
        if not len(finite):
            return
        self._whole = self._whole and bool((np.floor(finite) == finite).all())
        self._zeros += int((finite == 0).sum())
        self._negatives += int((finite < 0).sum())
        self._minimum = min(self._minimum, float(finite.min()))
        self._maximum = max(self._maximum, float(finite.max()))
        self._moments.update(finite)

    def result(self) -> ColumnProfile:
        """What was counted."""
        counted = self._moments.count > 0
        # No standard deviation exceeds half the range. That of a constant is 0 here, while scaling by it takes 1.
        std = min(self._moments.std, self._maximum / 2 - self._minimum / 2) if counted else None
        return ColumnProfile(
            name=self._name,
            kinds=frozenset(self._kinds),
            rows=self._rows,
            missing=self._missing,
            distinct=self._distinct.count,
            distinct_is_exact=self._distinct.is_exact,
            counts=self._counts.result(),
            whole=counted and self._whole,
            minimum=self._minimum if counted else None,
            maximum=self._maximum if counted else None,
            mean=self._moments.mean if counted else None,
            std=std,
            zeros=self._zeros,
            negatives=self._negatives,
            infinite=self._infinite,
            unreadable=self._unreadable,
        )


class _Distinct:
    """The number of distinct 64-bit hashes, exact up to `MAX_DISTINCT`."""

    def __init__(self) -> None:
        self._known = np.zeros(0, np.uint64)  # sorted
        self._pending: list[np.ndarray] = []
        self._num_pending = 0
        self._is_full = False

    def update(self, hashes: np.ndarray) -> None:
        if self._is_full:
            return
        self._pending.append(hashes)
        self._num_pending += len(hashes)
        # Merging only when as much is pending as is known keeps the cost per row constant.
        if self._num_pending > max(len(self._known), 2**16):
            self._merge()

    def _merge(self) -> None:
        self._known = np.unique(np.concatenate([self._known, *self._pending]))
        self._pending, self._num_pending = [], 0
        if len(self._known) > MAX_DISTINCT:
            self._known, self._is_full = np.zeros(0, np.uint64), True

    @property
    def count(self) -> int:
        if self._pending:
            self._merge()
        return MAX_DISTINCT if self._is_full else len(self._known)

    @property
    def is_exact(self) -> bool:
        return self.count < MAX_DISTINCT or not self._is_full


class _Counts:
    """Rows by value, of the values that were seen first."""

    def __init__(self) -> None:
        self._index = pd.Index(np.zeros(0, np.uint64))
        self._values: list[Any] = []
        self._counts = np.zeros(0, np.int64)

    def update(self, distinct: np.ndarray, places: np.ndarray, raw: np.ndarray) -> None:
        """Adds a chunk: its distinct hashes in order of appearance, each row's place among them, the raw values."""
        counts = np.bincount(places, minlength=len(distinct))
        at = self._index.get_indexer(pd.Index(distinct))
        new = np.flatnonzero(at < 0)[: MAX_COUNTED - len(self._values)]
        if len(new):
            first = np.empty(len(distinct), np.int64)
            first[places[::-1]] = np.arange(len(places))[::-1]  # of equal places the last assignment stays
            at[new] = len(self._values) + np.arange(len(new))
            self._values += raw[first[new]].tolist()
            self._counts = np.append(self._counts, np.zeros(len(new), np.int64))
            self._index = self._index.append(pd.Index(distinct[new]))
        known = at >= 0
        self._counts[at[known]] += counts[known]

    def result(self) -> dict[Any, int]:
        order = np.argsort(-self._counts, kind="stable")
        return {_plain(self._values[i]): int(self._counts[i]) for i in order}


def _plain(value: Any) -> Any:
    # 3.0 in one chunk is 3 in another.
    return int(value) if isinstance(value, float) and value.is_integer() else value
