"""Raw columns -> embedding row numbers and normalised floats, as one TensorFlow graph for training and serving."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf

from htlnet_tf.data import columns
from htlnet_tf.data.raw_features import distinct_values, missing_codes, raw_features, raw_numbers
from htlnet_tf.encoding.counting import as_dtype
from htlnet_tf.encoding.row_blocks import lay_out, owner_of
from htlnet_tf.encoding.statistics import Moments, TrainingStatistics
from htlnet_tf.errors import RowError
from htlnet_tf.schema import Categorical, Cross, Numeric, Schema, Timestamp
from htlnet_tf.schema.features import UNITS_PER_SECOND, argument_name

CLIP = 10.0
_CHUNK_ROWS = 65_536  # small enough for the caches: twice as fast as a million rows at once
_FAR_FROM_ONE = 2.0**100
_THURSDAY = 3  # 1970-01-01, where Monday is 0

Encoded = dict[str, tf.Tensor]


class FeatureEncoder(tf.Module):
    """Turns raw columns into what the model's embedding and towers take.

    Every embedded feature owns a block of rows of an embedding table, and all features of one width share a table. A
    categorical feature has a row for values out of vocabulary, one for missing values (if the training rows had any),
    then one per value of its vocabulary or per hash bucket; a number in quantile buckets has one per bucket; a
    timestamp one per hour and per weekday; a cross one per bucket. The first row of a table is padding for the unused
    slots of multi-valued features.

    Numbers become (x - mean) / std, clipped to [-10, 10]; a missing value becomes 0, and where the training rows had
    missing values an indicator follows.

    Args:
      statistics: Counted on the training rows.

    Attributes:
      schema: The schema with everything settled that was left open.
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

    def __init__(self, statistics: TrainingStatistics) -> None:
        super().__init__(name="feature_encoder")
        self.statistics = statistics
        self.schema: Schema = statistics.schema
        self.layout, self.blocks = lay_out(statistics)
        self.num_rows = sum(table.rows for table in self.layout.tables)
        self.slots = tuple(field.slots for field in self.layout.fields)
        self.padding = {self.layout.fields[i].name: table.start for table in self.layout.tables for i in table.fields}
        self._tables: dict[str, tf.lookup.StaticHashTable] = {}
        self.indicators = tuple(f.name for f in self.schema.numerics if statistics.moments[f.name].has_missing)

    @classmethod
    def fit(cls, schema: Schema, train: pd.DataFrame | Iterable[pd.DataFrame]) -> FeatureEncoder:
        """Fits the encoder on the training rows, and only on them, in one pass.

        Args:
          schema: The declared columns.
          train: One frame, or a stream of frames that is read once.

        Raises:
          InputError: A column is missing or holds a value its kind does not allow; names column, row and value.
        """
        return cls(TrainingStatistics.fit(schema, train))

    def save(self, path: str | Path) -> None:
        """Writes the encoder to one JSON file."""
        self.statistics.save(path)

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
        if not self._tables:
            # Filled on first use: a model needs the encoder's widths alone, and a vocabulary may have millions of rows.
            with tf.init_scope():
                self._tables = {
                    feature.name: self._lookup_table(feature)
                    for feature in self.schema.categoricals
                    if owner_of(self.schema, feature).encoding != "hash"
                }
        return tuple(self._tables.values())

    @property
    def num_slots(self) -> int:
        """S, the number of embedding rows that one impression looks up."""
        return sum(self.slots)

    @property
    def num_numeric(self) -> int:
        """The width of the numeric part: one per number and one per missing-value indicator."""
        return len(self.schema.numerics) + len(self.indicators)

    def raw_specs(self) -> dict[str, tf.TensorSpec]:
        """The raw columns by name, in schema order: shape [None], dtype string, int64 or float32.

        A specification's own name is that of the argument in Python, see `htlnet_tf.schema.features.argument_name`.
        """
        dtypes = {Numeric: tf.float32, Timestamp: tf.int64}
        return {
            f.name: tf.TensorSpec(
                [None],
                tf.as_dtype(f.dtype) if isinstance(f, Categorical) else dtypes[type(f)],
                name=argument_name(f.name),
            )
            for f in self.schema.inputs
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
        return {"ids": ids, "numeric": self.numbers(raw, tf.shape(ids)[0])}

    def field_rows(self, raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The rows of each field, int32 [B, slots], from raw columns; those of one row give one row."""
        rows: dict[str, tf.Tensor] = {}
        for feature in self.schema.inputs:
            if isinstance(feature, Categorical):
                rows[feature.name] = self.categorical_rows(feature, raw[feature.name])
            else:
                rows.update(self.computed_rows(feature, raw[feature.name]))
        return rows | self.cross_rows(rows)

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
        rows: dict[str, tf.Tensor] = {}
        raw: dict[str, tf.Tensor] = {}
        with tf.device("/CPU:0"):
            for feature in self.schema.inputs:
                column = frame[feature.source]
                if isinstance(feature, Categorical):
                    codes, values = distinct_values(column, feature)
                    distinct = self.categorical_rows(feature, tf.constant(values, feature.dtype))
                    rows[feature.name] = distinct.numpy()[codes]
                else:
                    raw[feature.name] = tf.constant(raw_numbers(column, feature, decimal=self.schema.decimal))
                    rows.update({k: v.numpy() for k, v in self.computed_rows(feature, raw[feature.name]).items()})
            rows.update({k: v.numpy() for k, v in self.cross_rows(rows).items()})
            numeric = self.numbers(raw, len(frame)).numpy()
        return {"ids": np.concatenate([rows[field.name] for field in self.layout.fields], axis=1), "numeric": numeric}

    def categorical_rows(self, feature: Categorical, values: tf.Tensor) -> tf.Tensor:
        """Rows of raw values, [K] -> int32 [K, slots]."""
        block = self.blocks[feature.name]
        if feature.separator is None:
            return self._look_up(feature, values)[:, tf.newaxis]
        tokens = tf.strings.strip(tf.strings.split(values, feature.separator))
        present = tf.ones_like(tokens.values, tf.bool)
        for code in missing_codes(feature):
            present &= tf.not_equal(tokens.values, code)
        tokens = tf.ragged.boolean_mask(tokens, tokens.with_values(present))
        slots = self.statistics.vocabularies[feature.name].slots
        if feature.keeps_last:
            tokens = tokens[:, -slots:]
        rows = tokens.with_values(self._look_up(feature, tokens.values))
        padding = self.padding[feature.name]
        padded = rows.to_tensor(default_value=padding, shape=[None, slots])
        first = tf.where(padded[:, :1] == padding, block.missing, padded[:, :1])
        return tf.concat([first, padded[:, 1:]], axis=1)

    def _look_up(self, feature: Categorical, values: tf.Tensor) -> tf.Tensor:
        """The row of each single value, [K] -> int32 [K]."""
        block, owner = self.blocks[feature.name], owner_of(self.schema, feature)
        if owner.encoding != "hash":
            assert self.tables
            return tf.cast(self._tables[feature.name].lookup(values), tf.int32)
        texts = values if feature.dtype == "string" else tf.as_string(values)
        bucket = tf.strings.to_hash_bucket_fast(texts, block.end - block.first)
        rows = tf.cast(bucket, tf.int32) + block.first
        for code in missing_codes(feature):
            rows = tf.where(tf.equal(values, code), block.missing, rows)
        return rows

    def computed_rows(self, feature: Numeric | Timestamp, values: tf.Tensor) -> dict[str, tf.Tensor]:
        """Rows by field of features whose row is computed, not looked up: [B] -> int32 [B, 1] each."""
        if isinstance(feature, Numeric):
            if feature.quantile_buckets is None:
                return {}
            block = self.blocks[feature.name]
            bucket = tf.raw_ops.Bucketize(input=values, boundaries=list(self.statistics.boundaries[feature.name]))
            rows = tf.where(_is_missing(feature, values), block.missing, bucket + block.first)
            return {feature.name: rows[:, tf.newaxis]}
        second = UNITS_PER_SECOND[feature.unit]
        local = values + int(feature.utc_offset_hours * 3600) * second
        parts = {
            "hour": tf.math.floormod(local // (3600 * second), 24),
            "weekday": tf.math.floormod(local // (86_400 * second) + _THURSDAY, 7),
        }
        rows = {}
        for part in feature.parts:
            block = self.blocks[f"{feature.name}.{part}"]
            row = tf.cast(parts[part], tf.int32) + block.first
            rows[f"{feature.name}.{part}"] = tf.where(values == columns.MISSING_INT64, block.missing, row)[
                :, tf.newaxis
            ]
        return rows

    def cross_rows(self, rows: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Rows of the crosses from those of the features that they combine, int32 [B, 1] each."""
        crossed = {}
        for feature in self.schema.features:
            if isinstance(feature, Cross):
                first, second = (self.blocks[name] for name in feature.of)
                a, b = (tf.cast(rows[name], tf.int64) - self.blocks[name].start for name in feature.of)
                pair = a * (second.end - second.start) + b
                block = self.blocks[feature.name]
                buckets = block.end - block.first
                if (first.end - first.start) * (second.end - second.start) > buckets:
                    pair = tf.strings.to_hash_bucket_fast(tf.as_string(pair), buckets)
                crossed[feature.name] = tf.cast(pair, tf.int32) + block.first
        return crossed

    def numbers(self, raw: Mapping[str, tf.Tensor], num_rows: int | tf.Tensor) -> tf.Tensor:
        """The numeric part of raw columns: values, then indicators, float32 [num_rows, num_numeric]."""
        values, indicators = [], []
        for feature in self.schema.numerics:
            moments = self.statistics.moments[feature.name]
            x = raw[feature.name]
            missing = _is_missing(feature, x)
            if feature.log1p:
                # Training refuses negative values; a request that has one is read as the nearest legal value.
                x = tf.math.log1p(tf.maximum(x, 0.0))
            values.append(tf.where(missing, 0.0, _standardised(x, moments)))
            if moments.has_missing:
                indicators.append(tf.cast(missing, tf.float32))
        if not values:
            return tf.zeros([num_rows, 0], tf.float32)
        return tf.stack(values + indicators, axis=1)

    def _lookup_table(self, feature: Categorical) -> tf.lookup.StaticHashTable:
        """A table from raw values of a feature to embedding rows."""
        block, owner = self.blocks[feature.name], owner_of(self.schema, feature)
        assert block.missing is not None  # a vocabulary always has such a row, if only that of unknown values
        rows: dict[int | str, int] = {}
        for row, value in enumerate(self.statistics.vocabularies[owner.name].values, block.first):
            key = value if owner is feature else as_dtype(value, feature.dtype)
            if key is not None:  # text of the other feature that is no number can never be met in this one
                rows[key] = row
        rows |= dict.fromkeys(missing_codes(feature), block.missing)
        dtype = tf.as_dtype(feature.dtype)
        initializer = tf.lookup.KeyValueTensorInitializer(
            tf.constant(list(rows), dtype), tf.constant(list(rows.values()), tf.int64), dtype, tf.int64
        )
        name = f"{feature.name.replace('-', '_').replace('.', '_')}_rows"
        return tf.lookup.StaticHashTable(initializer, default_value=block.unknown, name=name)


def _standardised(x: tf.Tensor, moments: Moments) -> tf.Tensor:
    """(x - mean) / std, clipped, of numbers of any size."""
    mean, std = moments.mean, moments.std
    # 1 / std must be a normal float32 too; a power of two changes no digit of what it brings near 1.
    factor = 2.0**-100 if std > _FAR_FROM_ONE else 2.0**100 if std < 1.0 / _FAR_FROM_ONE else 1.0
    if factor != 1.0:
        x, mean, std = x * factor, mean * factor, std * factor
    # A product and not a quotient, of which TensorFlow's optimizer makes one, with another last digit.
    return tf.clip_by_value((x - mean) * (1.0 / std), -CLIP, CLIP)


def _is_missing(feature: Numeric, values: tf.Tensor) -> tf.Tensor:
    missing = ~tf.math.is_finite(values)
    for code in feature.missing_values:
        missing |= tf.equal(values, code)
    return missing
