"""Discrete values, alone or in lists: each has an embedding row of its own, or shares one by its hash."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from htlnet_tf.data import columns
from htlnet_tf.data.raw_features import distinct_values, missing_codes
from htlnet_tf.encoding.counting import MAX_DISTINCT, ValueCounts, as_dtype
from htlnet_tf.encoding.kinds.kind import Block, Counter, Day, Kind, Origins
from htlnet_tf.encoding.kinds.lists import rows_of_lists
from htlnet_tf.encoding.layout import Field
from htlnet_tf.encoding.tally import Tally
from htlnet_tf.schema import Categorical, Schema

MAX_VOCABULARY = 1_000_000
"""Values beyond which a categorical feature is hashed if its encoding was left open."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Vocabulary:
    """The values of one categorical feature that have an embedding row of their own.

    Args:
      values: Distinct values, most frequent first, ties by value, and behind them those of further days; none for a
        feature that is hashed or that shares the rows of another.
      has_missing: Whether the training rows had a missing value; if so, "missing" has a row of its own.
      slots: Values kept per row: 1, or for a multi-valued feature the longest list seen, at most its `max_length`.
      tally: How often values occur, for further days; None where there are none, and in older files.
    """

    values: tuple[int | str, ...]
    has_missing: bool
    slots: int = 1
    tally: Tally | None = None


class CategoricalCounter(Counter[Categorical]):
    """Counts the values of a column.

    Args:
      feature: As declared.
      schema: That it is declared in.

    Attributes:
      counts: What was counted.
    """

    def __init__(self, feature: Categorical, schema: Schema) -> None:
        owner = feature if feature.shares is None else schema.feature(feature.shares)
        assert isinstance(owner, Categorical)  # checked by the schema
        super().__init__(feature)
        self.counts = ValueCounts(feature, is_counted=owner.encoding != "hash" or owner.num_buckets is None)

    def update(self, frame: pd.DataFrame) -> None:
        """Adds rows."""
        self.counts.update(frame[self.feature.source])

    def settled(self, others: Mapping[str, Counter[Any]]) -> tuple[Categorical, Vocabulary]:
        """The feature with dtype, encoding and buckets, and its vocabulary, counted with those that share its rows."""
        counts, feature = self.counts, self.counts.settled()
        if feature.shares is not None:
            return feature, Vocabulary((), counts.has_missing, counts.longest)
        total, everyone = counted_together(feature, others)
        kept = [(value, n) for value, n in total.items() if n >= feature.min_count]
        overflowed = any(c.overflowed for c in everyone)
        if feature.encoding is None:
            few = len(kept) <= MAX_VOCABULARY and not overflowed
            feature = dataclasses.replace(feature, encoding="vocabulary" if few else "hash")
        has_missing = any(c.has_missing for c in everyone)
        if feature.encoding == "vocabulary":
            kept.sort(key=lambda item: (-item[1], item[0]))
            rare = [(value, n) for value, n in total.items() if n < feature.min_count]
            tally = Tally.first([n for _, n in kept], [value for value, _ in rare], [n for _, n in rare])
            return feature, Vocabulary(tuple(value for value, _ in kept), has_missing, counts.longest, tally)
        if feature.num_buckets is None:
            distinct = MAX_DISTINCT if overflowed else len(total)
            feature = dataclasses.replace(feature, num_buckets=max(2, 2 ** (distinct - 1).bit_length()))
        return feature, Vocabulary((), has_missing, counts.longest)


def counted_together(
    feature: Categorical, counters: Mapping[str, Counter[Any]]
) -> tuple[collections.Counter[Any], list[ValueCounts]]:
    """How often each value occurs in a feature and in those that share its rows, and what was counted of each.

    Args:
      feature: With its dtype settled; it shares no other's rows.
      counters: Of all features by name.
    """
    everyone = [other.counts for other in counters.values() if isinstance(other, CategoricalCounter)]
    own = [counts for counts in everyone if counts.feature.name == feature.name]
    sharing = [counts for counts in everyone if counts.feature.shares == feature.name]
    total = collections.Counter(own[0].counts)
    for counts in sharing:
        for value, n in counts.counts.items():
            ours = as_dtype(value, feature.dtype)
            if ours is not None:
                total[ours] += n
    return total, own + sharing


class CategoricalKind(Kind[Categorical]):
    """A row for values out of vocabulary, one for missing values (if the training rows had any), then one per value of
    the vocabulary or per hash bucket. A multi-valued feature has as many slots as its longest list, unused ones with
    the table's padding row.
    """

    learned_type = Vocabulary
    learned: Vocabulary

    def __init__(self, feature: Categorical, learned: Any, peers: Mapping[str, Kind[Any]]) -> None:
        super().__init__(feature, learned, peers)
        self.dtype = tf.as_dtype(feature.dtype)
        self._table: tf.lookup.StaticHashTable | None = None

    @classmethod
    def counter(cls, feature: Categorical, schema: Schema) -> CategoricalCounter:
        """Counts its values."""
        return CategoricalCounter(feature, schema)

    @property
    def owner(self) -> CategoricalKind:
        """The kind of the feature whose rows it uses."""
        owner = self if self.feature.shares is None else self.peers[self.feature.shares]
        assert isinstance(owner, CategoricalKind)  # checked by the schema
        return owner

    @property
    def is_looked_up(self) -> bool:
        """It is."""
        return True

    def fields(self) -> list[Field]:
        """One field of as many slots as a list may have."""
        feature = self.feature
        return [Field(feature.name, self.learned.slots, feature.pooling, self.owner.feature.embedding_dim)]

    def block(self, field: str, start: int) -> Block:
        """Rows for unknown and missing values, then those of the values or buckets."""
        if self.feature.encoding == "hash":
            # The row for missing values may stay untrained; near 0, it then says nothing.
            return Block.at(start, unknown=False, missing=True, values=self.feature.num_buckets or 2)
        # Without missing values in training their row would stay untrained, so they share the out-of-vocabulary row.
        values, has_missing = len(self.learned.values), self.learned.has_missing
        return Block.at(start, unknown=True, missing=has_missing, values=values)

    @property
    def num_values(self) -> int | None:
        """The vocabulary's; a feature that shares the rows of another has none of its own."""
        return len(self.learned.values) if self.owner is self and self.feature.encoding == "vocabulary" else None

    def grown(self, day: Day) -> Vocabulary:
        """The vocabulary with the values that have reached `min_count` over all days, without those that have vanished;
        a missing value gets a row once there are any, and lists may become longer.
        """
        feature, learned = self.feature, self.learned
        counter = day.counters[feature.name]
        assert isinstance(counter, CategoricalCounter)
        slots = max(learned.slots, counter.counts.longest)
        if self.owner is not self or feature.encoding == "hash":
            return dataclasses.replace(learned, slots=slots)
        total, everyone = counted_together(feature, day.counters)
        tally = learned.tally or Tally.unknown(len(learned.values), feature.min_count)
        known = np.asarray([total.pop(value, 0) for value in learned.values], np.int64)
        others = list(total)
        counts = np.fromiter(total.values(), np.int64, len(total))
        step = tally.after(known, others, counts, least=feature.min_count, aging=day.aging)
        values = [learned.values[i] for i in step.kept.tolist()] + [others[i] for i in step.new.tolist()]
        has_missing = learned.has_missing or any(c.has_missing for c in everyone)
        return Vocabulary(tuple(values), has_missing, slots, step.tally)

    def origins(self, field: str, before: Kind[Categorical], day: Day) -> Origins:
        """By value; what is new was read as unknown, missing values too where they had no row."""
        owner, was = self.owner, before.owner
        if owner.feature.encoding == "hash":
            return super().origins(owner.feature.name, before, day)
        block, old = (kind.block(field, 0) for kind in (owner, was))
        places = _places(was.learned.values, owner.learned.values)
        unknown = np.flatnonzero(places < 0)
        rows = np.concatenate([np.zeros(block.first, np.int64), places + old.first])
        is_new = np.zeros(block.end, bool)
        rows[unknown + block.first] = old.unknown
        is_new[unknown + block.first] = True
        rows[block.missing], is_new[block.missing] = (
            old.missing,
            block.missing != block.unknown and old.missing == old.unknown,
        )
        rows[block.unknown] = old.unknown
        return Origins(rows, is_new)

    def tables(self) -> Sequence[tf.lookup.StaticHashTable]:
        """The table from raw values to rows; none for hashed values."""
        return [] if self.owner.feature.encoding == "hash" else [self._lookup_table()]

    def forget_tables(self) -> None:
        """Frees the table."""
        self._table = None

    def rows(self, raw: Mapping[str, tf.Tensor], found: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The rows of raw values."""
        return {self.feature.name: self.rows_of(raw[self.feature.name])}

    @classmethod
    def rows_of_all(
        cls, kinds: Sequence[Kind[Categorical]], raw: Mapping[str, tf.Tensor], found: Mapping[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """The look-ups of single values are cast and shaped together."""
        rows: dict[str, tf.Tensor] = {}
        looked_up: dict[int | None, dict[str, tf.Tensor]] = {}
        for kind in kinds:
            assert isinstance(kind, CategoricalKind)
            name, values = kind.feature.name, raw[kind.feature.name]
            if kind.feature.separator is None and kind.owner.feature.encoding != "hash":
                looked_up.setdefault(values.shape[0], {})[name] = kind._lookup_table().lookup(values)
            else:
                rows[name] = kind.rows_of(values)
        for together in looked_up.values():  # of one length each: that of the user's columns, or of the candidates'
            stacked = tf.cast(tf.stack(list(together.values()), axis=1), tf.int32)
            rows.update(zip(together, tf.split(stacked, len(together), axis=1), strict=True))
        return rows

    def rows_of(self, values: tf.Tensor) -> tf.Tensor:
        """Rows of raw values, [K] -> int32 [K, slots]."""
        feature, block = self.feature, self.blocks[self.feature.name]
        if feature.separator is None:
            return self._look_up(values)[:, tf.newaxis]
        assert block.missing is not None  # a list may be empty
        return rows_of_lists(
            values,
            self._look_up,
            separator=feature.separator,
            missing=[str(code) for code in missing_codes(feature)],
            slots=self.learned.slots,
            keeps_last=feature.keeps_last,
            padding=self.padding[feature.name],
            missing_row=block.missing,
        )

    def of_column(self, column: pd.Series, decimal: str) -> tuple[None, dict[str, np.ndarray]]:
        """The rows of a frame's column, each distinct value looked up once."""
        codes, values = distinct_values(column, self.feature)
        return None, {self.feature.name: self.rows_of(tf.constant(values, self.feature.dtype)).numpy()[codes]}

    def probe(self, count: int, random: np.random.Generator) -> np.ndarray:
        """Values of the vocabulary, missing ones, and ones that were never seen."""
        feature = self.feature
        # A feature that is hashed or shares the rows of another has no values of its own to draw from.
        known = list(self.owner.learned.values)[:1000]
        if feature.dtype == "int64":
            numbers = [v for v in (as_dtype(value, "int64") for value in known) if v is not None]
            drawn = random.choice(numbers, count) if numbers else random.integers(0, 1000, count)
            whole = np.asarray(drawn, np.int64)
            whole[::5], whole[1::10] = columns.MISSING_INT64, 2**62 + 1
            return whole
        drawn = random.choice([str(v) for v in known], count) if known else random.integers(0, 1000, count).astype(str)
        texts = np.asarray(drawn, object)
        if feature.separator is not None:
            pairs = zip(texts[2::3], texts[::-1][2::3], strict=True)
            texts[2::3] = [feature.separator.join([a, b]) for a, b in pairs]
        texts[::5], texts[1::10] = columns.MISSING_STRING, "a value that was never seen \u2603"
        return texts

    def _look_up(self, values: tf.Tensor) -> tf.Tensor:
        """The row of each single value, [K] -> int32 [K]."""
        if self.owner.feature.encoding != "hash":
            return tf.cast(self._lookup_table().lookup(values), tf.int32)
        block = self.blocks[self.feature.name]
        texts = values if self.feature.dtype == "string" else tf.as_string(values)
        bucket = tf.strings.to_hash_bucket_fast(texts, block.end - block.first)
        rows = tf.cast(bucket, tf.int32) + block.first
        for code in missing_codes(self.feature):
            rows = tf.where(tf.equal(values, code), block.missing, rows)
        return rows

    def entries(self) -> tuple[list[Any], np.ndarray]:
        """The raw values that are known, and the embedding row of each, int64 [K]; codes for missing values are among
        them. Not of hashed values.
        """
        feature, block = self.feature, self.blocks[self.feature.name]
        assert block.missing is not None  # a vocabulary always has such a row, if only that of unknown values
        keys: list[Any] = list(self.owner.learned.values)
        rows = np.arange(block.first, block.first + len(keys), dtype=np.int64)
        if self.owner is not self:
            keys = [as_dtype(value, feature.dtype) for value in keys]
            # Text of the other feature that is no number can never be met in this one.
            rows = rows[[key is not None for key in keys]]
            keys = [key for key in keys if key is not None]
        codes = dict.fromkeys(missing_codes(feature))
        if any(code in codes for code in keys):  # of a feature that shares the rows of one with other codes
            rows = rows[[key not in codes for key in keys]]
            keys = [key for key in keys if key not in codes]
        keys += codes
        rows = np.append(rows, np.full(len(codes), block.missing))
        return keys, rows

    def _lookup_table(self) -> tf.lookup.StaticHashTable:
        """The table from raw values to embedding rows."""
        if self._table is not None:
            return self._table
        feature, block = self.feature, self.blocks[self.feature.name]
        keys, rows = self.entries()
        assert self.dtype is not None  # it has a column of its own
        # Filled on first use: a model needs the encoder's widths alone, and a vocabulary may have millions of rows.
        with tf.init_scope():
            initializer = tf.lookup.KeyValueTensorInitializer(
                tf.constant(np.asarray(keys, object if feature.dtype == "string" else np.int64)),
                tf.constant(rows),
                self.dtype,
                tf.int64,
            )
            name = f"{feature.name.replace('-', '_').replace('.', '_')}_rows"
            self._table = tf.lookup.StaticHashTable(initializer, default_value=block.unknown, name=name)
        return self._table


def _places(before: Sequence[Any], after: Sequence[Any]) -> np.ndarray:
    """Where values were among others, int64 [V]; -1: nowhere."""
    if after[: len(before)] == before:  # as long as none is given up: without a table of a million values
        return np.append(np.arange(len(before)), np.full(len(after) - len(before), -1))
    found: np.ndarray = pd.Index(before, dtype=object).get_indexer(pd.Index(after, dtype=object))
    return found
