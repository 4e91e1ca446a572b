"""Raw columns -> embedding row numbers and normalised floats, as one TensorFlow graph for training and serving."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import tensorflow as tf

from htlnet_tf.data import columns
from htlnet_tf.data.statistics import TrainingStatistics, Vocabulary, missing_codes
from htlnet_tf.schema import Categorical, Numeric, Schema

PADDING_ROW = 0
CLIP = 10.0
_ROWS_PER_CALL = 65_536

Encoded = dict[str, tf.Tensor]


class _Block(NamedTuple):
    """A feature's rows of the embedding table: for unknown and missing values, then from `first` on its vocabulary."""

    unknown: int
    missing: int
    first: int
    end: int

    @classmethod
    def of(cls, vocabulary: Vocabulary, start: int) -> _Block:
        # Without missing values in training their row would stay untrained, so they share the out-of-vocabulary row.
        missing = start + 1 if vocabulary.has_missing else start
        return cls(start, missing, missing + 1, missing + 1 + len(vocabulary.values))


class FeatureEncoder(tf.Module):
    """Turns raw columns into what the model's embedding and towers take.

    All categorical features share one embedding table. A feature owns a block of its rows: one for values out of
    vocabulary, one for missing values (if the training rows had any), then one per value of its vocabulary. Row 0 of
    the table is padding for the unused slots of multi-valued features.

    Numeric features become (x - mean) / std, clipped to [-10, 10]; a missing value becomes 0, and where the training
    rows had missing values an indicator follows.

    Args:
      statistics: Counted on the training rows.

    Example:
      >>> encoder = FeatureEncoder.fit(schema, train)
      >>> encoder({"user_id": tf.constant(["u1"]), ...})["ids"].shape
      TensorShape([1, 4])
    """

    def __init__(self, statistics: TrainingStatistics) -> None:
        super().__init__(name="feature_encoder")
        self.statistics = statistics
        self.schema: Schema = statistics.schema
        self.slots = tuple(statistics.vocabularies[f.name].slots for f in self.schema.categoricals)
        self._blocks: list[_Block] = []
        next_row = PADDING_ROW + 1
        for feature in self.schema.categoricals:
            self._blocks.append(_Block.of(statistics.vocabularies[feature.name], next_row))
            next_row = self._blocks[-1].end
        self.num_rows = next_row
        self._tables: list[tf.lookup.StaticHashTable] = []
        self.indicators = tuple(f.name for f in self.schema.numerics if statistics.moments[f.name].has_missing)
        self._encode = tf.function(self.__call__, input_signature=[self.raw_specs()])

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
                self._tables = [
                    _lookup_table(feature, self.statistics.vocabularies[feature.name], block)
                    for feature, block in zip(self.schema.categoricals, self._blocks, strict=True)
                ]
        return tuple(self._tables)

    @property
    def num_slots(self) -> int:
        """S, the number of embedding rows that one impression looks up."""
        return sum(self.slots)

    @property
    def num_numeric(self) -> int:
        """The width of the numeric part: one per numeric feature and one per missing-value indicator."""
        return len(self.schema.numerics) + len(self.indicators)

    def raw_specs(self) -> dict[str, tf.TensorSpec]:
        """The raw columns by name, in schema order: shape [None], dtype string, int64 or float32."""
        return {
            f.name: tf.TensorSpec([None], tf.float32 if isinstance(f, Numeric) else tf.as_dtype(f.dtype), name=f.name)
            for f in self.schema.features
        }

    def __call__(self, raw: Mapping[str, tf.Tensor]) -> Encoded:
        """Encodes raw columns.

        Args:
          raw: By feature name, tensors of shape [B] with the dtypes of `raw_specs`.

        Returns:
          `"ids"`, int32 [B, num_slots]: rows of the embedding table. `"numeric"`, float32 [B, num_numeric].
        """
        rows = [self._rows(raw[feature.name], feature, index) for index, feature in enumerate(self.schema.categoricals)]
        return {"ids": tf.concat(rows, axis=1), "numeric": self._numbers(raw)}

    def encode(self, frame: pd.DataFrame) -> dict[str, np.ndarray]:
        """Encodes a whole frame through the same graph.

        Returns:
          `"ids"`, int32 [N, num_slots], and `"numeric"`, float32 [N, num_numeric].

        Raises:
          InputError: A column is missing or holds a value its kind does not allow.
        """
        raw = columns.raw_features(frame, self.schema)
        chunks = []
        for start in range(0, len(frame), _ROWS_PER_CALL):
            batch = {name: tf.constant(values[start : start + _ROWS_PER_CALL]) for name, values in raw.items()}
            chunks.append({key: tensor.numpy() for key, tensor in self._encode(batch).items()})
        return {key: np.concatenate([chunk[key] for chunk in chunks]) for key in chunks[0]}

    def _rows(self, values: tf.Tensor, feature: Categorical, index: int) -> tf.Tensor:
        table = self.tables[index]
        if feature.separator is None:
            return tf.cast(table.lookup(values)[:, tf.newaxis], tf.int32)
        tokens = tf.strings.strip(tf.strings.split(values, feature.separator))
        present = tf.not_equal(tokens.values, "")
        for code in missing_codes(feature)[1:]:
            present &= tf.not_equal(tokens.values, code)
        tokens = tf.ragged.boolean_mask(tokens, tokens.with_values(present))
        rows = tokens.with_values(tf.cast(table.lookup(tokens.values), tf.int32))
        padded = rows.to_tensor(default_value=PADDING_ROW, shape=[None, self.slots[index]])
        first = tf.where(padded[:, :1] == PADDING_ROW, self._blocks[index].missing, padded[:, :1])
        return tf.concat([first, padded[:, 1:]], axis=1)

    def _numbers(self, raw: Mapping[str, tf.Tensor]) -> tf.Tensor:
        values, indicators = [], []
        for feature in self.schema.numerics:
            moments = self.statistics.moments[feature.name]
            x = raw[feature.name]
            missing = ~tf.math.is_finite(x)
            for code in feature.missing_values:
                missing |= tf.equal(x, code)
            if feature.log1p:
                # Training refuses negative values; a request that has one is read as the nearest legal value.
                x = tf.math.log1p(tf.maximum(x, 0.0))
            scaled = tf.clip_by_value((x - moments.mean) / moments.std, -CLIP, CLIP)
            values.append(tf.where(missing, 0.0, scaled))
            if moments.has_missing:
                indicators.append(tf.cast(missing, tf.float32))
        if not values:
            first = next(iter(raw.values()))
            return tf.zeros([tf.shape(first)[0], 0], tf.float32)
        return tf.stack(values + indicators, axis=1)


def _lookup_table(feature: Categorical, vocabulary: Vocabulary, block: _Block) -> tf.lookup.StaticHashTable:
    """A table from raw values to embedding rows."""
    codes = list(missing_codes(feature))
    keys = codes + list(vocabulary.values)
    rows = [block.missing] * len(codes) + list(range(block.first, block.end))
    dtype = tf.as_dtype(feature.dtype)
    initializer = tf.lookup.KeyValueTensorInitializer(
        tf.constant(keys, dtype), tf.constant(rows, tf.int64), dtype, tf.int64
    )
    name = f"{feature.name.replace('-', '_').replace('.', '_')}_rows"
    return tf.lookup.StaticHashTable(initializer, default_value=block.unknown, name=name)
