"""Raw columns -> embedding row numbers and normalised floats, as one TensorFlow graph for training and serving."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from htlnet_tf.data import columns
from htlnet_tf.data.raw_features import raw_features
from htlnet_tf.encoding.history import TrainingHistory, frames_of
from htlnet_tf.encoding.kinds import kinds_of
from htlnet_tf.encoding.kinds.kind import Kind, Numbers
from htlnet_tf.encoding.row_blocks import lay_out
from htlnet_tf.encoding.statistics import TrainingStatistics
from htlnet_tf.errors import RowError
from htlnet_tf.schema import Schema
from htlnet_tf.schema.names import argument_name

_CHUNK_ROWS = 65_536  # small enough for the caches: twice as fast as a million rows at once

Encoded = dict[str, tf.Tensor]


class FeatureEncoder(tf.Module):
    """Turns raw columns into what the model's embedding and towers take.

    Every embedded feature owns a block of rows of an embedding table, and all features of one width share a table,
    whose first row is padding for the unused slots of multi-valued features. What the rows of a feature are, and which
    numbers it gives, is its kind's affair: see `htlnet_tf.encoding.kinds`.

    Args:
      statistics: Counted on the training rows.
      history: What history statistics need to leave a training row's own label out; None: the schema has none, or they
        are not needed any more.

    Attributes:
      schema: The schema with everything settled that was left open.
      kinds: By feature, how it is encoded.
      layout: Fields and tables of the embedding; the ids' columns are the fields' slots in order.
      num_rows: Rows of all tables together.
      slots: Ids per field.
      blocks: By field, its rows.
      padding: By field, the padding row of its table.

    Example:
      >>> encoder = FeatureEncoder.fit(schema, train)
      >>> encoder({"user_id": tf.constant(["u1"]), ...})["ids"].shape
      TensorShape([1, 4])
    """

    def __init__(self, statistics: TrainingStatistics, history: TrainingHistory | None = None) -> None:
        super().__init__(name="feature_encoder")
        self.history = history
        self.statistics = statistics
        self.schema: Schema = statistics.schema
        self.kinds = kinds_of(self.schema, statistics.learned)
        self._with_column = [kind for kind in self.kinds.values() if kind.dtype is not None]
        derived = [kind for kind in self.kinds.values() if kind.dtype is None]
        self._derived = sorted(derived, key=lambda kind: kind.comes_last)
        self.layout, self.blocks = lay_out(self.kinds)
        self.num_rows = sum(table.rows for table in self.layout.tables)
        self.slots = tuple(field.slots for field in self.layout.fields)
        self.padding = {self.layout.fields[i].name: table.start for table in self.layout.tables for i in table.fields}
        for kind in self.kinds.values():
            kind.place(self.blocks, self.padding)

    @classmethod
    def fit(cls, schema: Schema, train: pd.DataFrame | Iterable[pd.DataFrame]) -> FeatureEncoder:
        """Fits the encoder on the training rows, and only on them.

        Args:
          schema: The declared columns.
          train: One frame, or a stream of frames. It is read once; with history statistics once more, for their values
            must be known, and with those that are `ordered` a third time.

        Raises:
          InputError: A column is missing or holds a value its kind does not allow; names column, row and value. Or
            there are history statistics, and `train` can be read only once.
        """
        if not schema.history:
            return cls(TrainingStatistics.fit(schema, train))
        frames = frames_of(train)
        plain = cls(TrainingStatistics.fit(schema.without_history(), frames))
        history = TrainingHistory.count(plain, schema, frames)
        return cls(plain.statistics.with_history(schema, history.learned), history)

    def save(self, path: str | Path) -> None:
        """Writes the encoder to one JSON file."""
        self.statistics.save(path)

    def digest(self) -> str:
        """SHA-256, in hex, of the file that `save` writes.

        Other training rows give another one, unless they differ only where nothing is counted: in their order, in how
        the values of different columns go together, or in the labels of targets other than the core.
        """
        return hashlib.sha256(self.statistics.to_json().encode("utf-8")).hexdigest()

    @classmethod
    def load(cls, path: str | Path) -> FeatureEncoder:
        """Reads an encoder written by `save`.

        Raises:
          InputError: The file is missing or damaged.
        """
        return cls(TrainingStatistics.load(path))

    @property
    def tables(self) -> tuple[tf.lookup.StaticHashTable, ...]:
        """The lookup tables, which whatever is exported must own."""
        return tuple(table for kind in self.kinds.values() for table in kind.tables())

    def forget_tables(self) -> None:
        """Frees the lookup tables, which are as large as the vocabularies; they are made again when they are needed."""
        for kind in self.kinds.values():
            kind.forget_tables()

    @property
    def num_slots(self) -> int:
        """S, the number of embedding rows that one impression looks up."""
        return sum(self.slots)

    def slots_of(self, field: str) -> slice:
        """The columns of the ids that a field has."""
        names = [f.name for f in self.layout.fields]
        start = sum(self.slots[: names.index(field)])
        return slice(start, start + self.slots[names.index(field)])

    @property
    def num_numeric(self) -> int:
        """The width of the numeric part: one per number and one per missing-value indicator."""
        return sum(kind.num_numbers for kind in self.kinds.values())

    @property
    def value_columns(self) -> dict[str, slice]:
        """By feature that gives numbers, the columns of the numeric part with its values, not indicators."""
        widths = {name: kind.num_numbers - kind.num_indicators for name, kind in self.kinds.items()}
        ends = itertools.accumulate(widths.values())
        return {name: slice(end - widths[name], end) for name, end in zip(widths, ends, strict=True) if widths[name]}

    def raw_specs(self) -> dict[str, tf.TensorSpec]:
        """The raw columns by name, in schema order: shape [None], dtype string, int64 or float32.

        A specification's own name is that of the argument in Python, see `htlnet_tf.schema.names.argument_name`.
        """
        return {
            kind.feature.name: tf.TensorSpec([None], kind.dtype, name=argument_name(kind.feature.name))
            for kind in self._with_column
        }

    def __call__(self, raw: Mapping[str, tf.Tensor]) -> Encoded:
        """Encodes raw columns.

        Args:
          raw: By feature name, tensors of shape [B] with the dtypes of `raw_specs`.

        Returns:
          `"ids"`, int32 [B, num_slots]: rows of the embedding tables. `"numeric"`, float32 [B, num_numeric].
        """
        rows = self.field_rows(raw)
        ids = tf.concat([rows[field.name] for field in self.layout.fields], axis=1)
        return {"ids": ids, "numeric": stacked(self.numbers(raw, rows), tf.shape(ids)[0])}

    def field_rows(
        self, raw: Mapping[str, tf.Tensor], known: Mapping[str, tf.Tensor] = MappingProxyType({})
    ) -> dict[str, tf.Tensor]:
        """The rows of each field, int32 [B, slots], from raw columns; those of one row give one row.

        Args:
          raw: By feature name, [B].
          known: By feature, the rows that were found elsewhere, int32 [B, slots]; only of kinds that `is_looked_up`.
        """
        rows = dict(known)
        for of_class, kinds in _by_class(self._with_column).items():
            rows |= of_class.rows_of_all([kind for kind in kinds if kind.feature.name not in known], raw, rows)
        return self._with_derived(rows)

    def numbers(self, raw: Mapping[str, tf.Tensor], rows: Mapping[str, tf.Tensor]) -> list[tf.Tensor]:
        """The numeric part, values and then indicators, float32 [B] each.

        Args:
          raw: By feature name, [B].
          rows: By field, int32 [B, slots].
        """
        found: dict[str, Numbers] = {}
        for of_class, kinds in _by_class(self.kinds.values()).items():
            names = [kind.feature.name for kind in kinds]
            found.update(zip(names, of_class.numbers_of_all(kinds, raw, rows), strict=True))
        numbers = [found[name] for name in self.kinds]
        return [x for n in numbers for x in n.values] + [x for n in numbers for x in n.indicators]

    def encode(self, frame: pd.DataFrame) -> dict[str, np.ndarray]:
        """Encodes a whole frame by the same operations, each distinct value of a categorical column once.

        Returns:
          `"ids"`, int32 [N, num_slots], and `"numeric"`, float32 [N, num_numeric].

        Raises:
          InputError: A column is missing or holds a value its kind does not allow.
        """
        columns.require_columns(frame, (f.source for f in self.schema.inputs), purpose="features")
        try:
            chunks = [
                self._encode_chunk(frame.iloc[start : start + _CHUNK_ROWS])
                for start in range(0, len(frame), _CHUNK_ROWS)
            ]
        except RowError:
            raw_features(frame, self.schema)  # the same error, with the row's number in the whole frame
            raise
        return {key: np.concatenate([chunk[key] for chunk in chunks]) for key in chunks[0]}

    def _encode_chunk(self, frame: pd.DataFrame) -> dict[str, np.ndarray]:
        rows: dict[str, np.ndarray] = {}
        raw: dict[str, tf.Tensor] = {}
        with tf.device("/CPU:0"):
            for kind in self._with_column:
                values, found = kind.of_column(frame[kind.feature.source], self.schema.decimal)
                rows.update(found)
                if values is not None:
                    raw[kind.feature.name] = tf.constant(values)
            all_rows = {name: np.asarray(found) for name, found in self._with_derived(rows).items()}
            numeric = stacked(self.numbers(raw, all_rows), len(frame)).numpy()
        return {"ids": np.concatenate([all_rows[f.name] for f in self.layout.fields], axis=1), "numeric": numeric}

    def _with_derived(self, rows: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        found = dict(rows)
        for kind in self._derived:
            if not (kind.is_looked_up and kind.feature.name in rows):
                found |= kind.rows({}, found)
        return found


def _by_class(kinds: Iterable[Kind[Any]]) -> dict[type[Kind[Any]], list[Kind[Any]]]:
    found: dict[type[Kind[Any]], list[Kind[Any]]] = {}
    for kind in kinds:
        found.setdefault(type(kind), []).append(kind)
    return found


def stacked(numbers: list[tf.Tensor], num_rows: int | tf.Tensor) -> tf.Tensor:
    """The numeric part as one tensor, float32 [num_rows, num_numeric]; each part is [num_rows]."""
    if not numbers:
        return tf.zeros([num_rows, 0], tf.float32)
    return tf.stack(numbers, axis=1)
