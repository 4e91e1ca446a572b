"""What a kind of feature does: counted on the training rows, laid out in the embedding, encoded, probed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar

import numpy as np
import pandas as pd
import tensorflow as tf

from htlnet_tf.encoding.layout import Field
from htlnet_tf.encoding.tally import Aging
from htlnet_tf.schema import Schema
from htlnet_tf.schema.features import Feature

if TYPE_CHECKING:
    from htlnet_tf.encoding.history import HistorySums

FeatureT = TypeVar("FeatureT", bound=Feature)


class Block(NamedTuple):
    """The embedding rows of one field, from `start` to `end` (exclusive).

    Attributes:
      start: The first row.
      unknown: Of values out of vocabulary; None where every value has a row (hashes, buckets, hours).
      missing: Of missing values; None where there can be none (a cross).
      first: Of the first value, bucket or hour.
      end: Behind the last.
    """

    start: int
    unknown: int | None
    missing: int | None
    first: int
    end: int

    @classmethod
    def at(cls, start: int, *, unknown: bool, missing: bool, values: int) -> Block:
        """Lays the rows out: unknown, missing, values."""
        first = start + unknown + missing
        missing_row = start + unknown if missing else (start if unknown else None)
        return cls(start, start if unknown else None, missing_row, first, first + values)


class Numbers(NamedTuple):
    """What a feature adds to the numeric part of an encoded row: float32 [B] each.

    Attributes:
      values: Near 0, of size 1.
      indicators: 1 where a value is missing; they stand behind the values of all features.
    """

    values: Sequence[tf.Tensor] = ()
    indicators: Sequence[tf.Tensor] = ()


class Counter(Generic[FeatureT]):
    """Learns from the training rows, in one pass, what a feature's encoding needs. This one learns nothing.

    Args:
      feature: As declared.
    """

    def __init__(self, feature: FeatureT) -> None:
        self.feature = feature

    def update(self, frame: pd.DataFrame) -> None:
        """Adds rows.

        Raises:
          InputError: A value is none that the feature may have.
        """

    def settled(self, others: Mapping[str, Counter[Any]]) -> tuple[FeatureT, Any]:
        """The feature with everything decided that was left open, and what was learnt: a `learned_type` of its kind.

        Args:
          others: The counters of all features by name, for features that share.
        """
        return self.feature, None


class Origins(NamedTuple):
    """Where the rows of a block were before a further day, by what they stand for and never by position.

    Attributes:
      rows: int64 [V], the row of the block before, counted from its start. Of a new row the one that its value was read
        as until now, such as that of unknown values; -1: there was none.
      is_new: bool [V], whether the row is new.
    """

    rows: np.ndarray
    is_new: np.ndarray

    @classmethod
    def unchanged(cls, size: int) -> Origins:
        """Of a block of so many rows that stays as it is."""
        return cls(np.arange(size), np.zeros(size, bool))

    def moved(self, array: np.ndarray) -> np.ndarray:
        """Numbers of the block's rows, [..., V]: those of the same rows before; 0 of new ones."""
        return np.where(self.is_new, np.zeros((), array.dtype), np.take(array, self.rows, axis=-1, mode="clip"))


@dataclasses.dataclass
class Day:
    """A further day, as kinds grow by it.

    Attributes:
      counters: By feature with a column, what was counted on the day.
      aging: How what was counted before counts now.
      origins: By field, where its block's rows were before; of the fields that have grown already.
      sums: By history statistic, what the day adds to it; of none as long as the day is not to be seen.
    """

    counters: Mapping[str, Counter[Any]]
    aging: Aging
    origins: dict[str, Origins] = dataclasses.field(default_factory=dict)
    sums: Mapping[str, HistorySums] = dataclasses.field(default_factory=dict)


class Kind(Generic[FeatureT]):
    """One feature, encoded in the way of its kind.

    Args:
      feature: With everything settled.
      learned: What its counter learnt.
      peers: The kinds of all features by name, this one among them.

    Attributes:
      dtype: Of its raw column in a request; None: it has none.
      learned_type: The type, a dataclass, of what is kept of the training rows; None: nothing is.
      comes_last: Its rows are made of those of any other kind.
    """

    dtype: tf.DType | None = None
    learned_type: ClassVar[Any] = None
    comes_last: ClassVar[bool] = False

    def __init__(self, feature: FeatureT, learned: Any, peers: Mapping[str, Kind[Any]]) -> None:
        self.feature, self.learned, self.peers = feature, learned, peers
        self.blocks: Mapping[str, Block] = {}
        self.padding: Mapping[str, int] = {}

    @property
    def columns(self) -> tuple[str, ...]:
        """The features whose raw columns it reads; a kind without a column of its own reads those of others."""
        return (self.feature.name,)

    @classmethod
    def counter(cls, feature: FeatureT, schema: Schema) -> Counter[FeatureT]:
        """A counter for the training rows.

        Args:
          feature: As declared.
          schema: That it is declared in.
        """
        return Counter(feature)

    def grown(self, day: Day) -> Any:
        """What is kept after a further day; in this class what is kept already, for trained weights rely on it.

        Args:
          day: What was counted, and what has become of the features with columns (of a feature without one: of these
            and, if it `comes_last`, of all others).
        """
        return self.learned

    def origins(self, field: str, before: Kind[FeatureT], day: Day) -> Origins:
        """Where the rows of one of its fields were before a further day.

        Args:
          field: Its name.
          before: The same feature's kind before.
          day: That lies between the two.
        """
        size, was = (kind.owner.block(field, 0).end for kind in (self, before))
        if size != was:
            raise AssertionError(f"field '{field}' had {was} rows and has {size}, and its kind does not say which")
        return Origins.unchanged(size)

    def fields(self) -> list[Field]:
        """The fields that it has in the embedding; none, if it is fed as a number alone."""
        return []

    @property
    def owner(self) -> Kind[Any]:
        """The kind whose embedding rows it uses: its own, if it does not share another's."""
        return self

    def block(self, field: str, start: int) -> Block:
        """The rows of one of its fields, from `start` on."""
        raise NotImplementedError

    @property
    def num_rows(self) -> int:
        """Embedding rows of its only field."""
        return self.owner.block(self.owner.feature.name, 0).end

    @property
    def num_values(self) -> int | None:
        """How many values have a row of their own, the last ones of its block; None: it has no vocabulary."""
        return None

    @property
    def num_numbers(self) -> int:
        """How many numbers, indicators among them, it gives."""
        return 0

    @property
    def num_indicators(self) -> int:
        """How many of its numbers are indicators."""
        return 0

    @property
    def is_looked_up(self) -> bool:
        """Whether its rows are found by text or by a hash, which needs more than arithmetic; it then has one field."""
        return False

    def place(self, blocks: Mapping[str, Block], padding: Mapping[str, int]) -> None:
        """Tells it where the rows of all fields, and the padding rows of their tables, have come to lie."""
        self.blocks, self.padding = blocks, padding

    def tables(self) -> Sequence[tf.lookup.StaticHashTable]:
        """Lookup tables, which whatever is exported must own; made on first use."""
        return ()

    def forget_tables(self) -> None:
        """Frees its lookup tables."""

    def rows(self, raw: Mapping[str, tf.Tensor], found: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The rows of its fields.

        Args:
          raw: By feature, [B].
          found: By field, the rows of features with columns of their own, int32 [B, slots].

        Returns:
          By field, int32 [B, slots].
        """
        return {}

    def numbers(self, raw: Mapping[str, tf.Tensor], rows: Mapping[str, tf.Tensor]) -> Numbers:
        """Its part of the numbers.

        Args:
          raw: By feature, [B].
          rows: By field, int32 [B, slots], of all features.
        """
        return Numbers()

    @classmethod
    def rows_of_all(
        cls, kinds: Sequence[Kind[FeatureT]], raw: Mapping[str, tf.Tensor], found: Mapping[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """`rows` of several features of this class; overridden where common operations do for all of them.

        A table with hundreds of columns is traced, exported and loaded by the number of its operations.
        """
        return {field: rows for kind in kinds for field, rows in kind.rows(raw, found).items()}

    @classmethod
    def numbers_of_all(
        cls, kinds: Sequence[Kind[FeatureT]], raw: Mapping[str, tf.Tensor], rows: Mapping[str, tf.Tensor]
    ) -> list[Numbers]:
        """`numbers` of several features of this class, in their order; see `rows_of_all`."""
        return [kind.numbers(raw, rows) for kind in kinds]

    def of_column(self, column: pd.Series, decimal: str) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """A frame's column: its raw form where the numbers need it, and the rows of its fields.

        Args:
          column: As a table has it.
          decimal: The decimal mark of numbers as text if the feature declares none.

        Raises:
          RowError: A value is none that the feature may have.
        """
        raise NotImplementedError

    def probe(self, count: int, random: np.random.Generator) -> np.ndarray:
        """Raw values of every sort that a request may hold, [count]: known, unknown, missing and extreme ones."""
        raise NotImplementedError
