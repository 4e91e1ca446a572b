"""Points in time: the hour of the day and the day of the week have embedding rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import tensorflow as tf

from htlnet_tf.data import columns
from htlnet_tf.data.raw_features import time_values
from htlnet_tf.encoding.kinds.kind import Block, Counter, Kind
from htlnet_tf.encoding.layout import Field
from htlnet_tf.schema import Schema, Timestamp
from htlnet_tf.schema.features import UNITS_PER_SECOND

TIME_PARTS = {"hour": 24, "weekday": 7}
_THURSDAY = 3  # 1970-01-01, where Monday is 0


class TimestampCounter(Counter[Timestamp]):
    """Learns nothing; but a time that cannot be read is told while the training rows are counted."""

    def update(self, frame: pd.DataFrame) -> None:
        """Checks rows."""
        time_values(frame[self.feature.source], self.feature)


class TimestampKind(Kind[Timestamp]):
    """A field per part, of one row per hour or weekday and one for missing times."""

    dtype = tf.int64

    @classmethod
    def counter(cls, feature: Timestamp, schema: Schema) -> TimestampCounter:
        """Checks the times."""
        return TimestampCounter(feature)

    def fields(self) -> list[Field]:
        """One per part."""
        return [Field(self._field(part), 1, "mean", self.feature.embedding_dim) for part in self.feature.parts]

    def block(self, field: str, start: int) -> Block:
        """A row for missing times, and the part's."""
        return Block.at(start, unknown=False, missing=True, values=TIME_PARTS[field.rpartition(".")[2]])

    def rows(self, raw: Mapping[str, tf.Tensor], found: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The rows of the local hour and weekday."""
        values, second = raw[self.feature.name], UNITS_PER_SECOND[self.feature.unit]
        local = values + int(self.feature.utc_offset_hours * 3600) * second
        parts = {
            "hour": tf.math.floormod(local // (3600 * second), 24),
            "weekday": tf.math.floormod(local // (86_400 * second) + _THURSDAY, 7),
        }
        rows = {}
        for part in self.feature.parts:
            block = self.blocks[self._field(part)]
            row = tf.cast(parts[part], tf.int32) + block.first
            present = tf.where(values == columns.MISSING_INT64, block.missing, row)
            rows[self._field(part)] = present[:, tf.newaxis]
        return rows

    def of_column(self, column: pd.Series, decimal: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The times, and the rows of their parts."""
        raw = time_values(column, self.feature)
        return raw, {name: rows.numpy() for name, rows in self.rows({self.feature.name: tf.constant(raw)}, {}).items()}

    def probe(self, count: int, random: np.random.Generator) -> np.ndarray:
        """Times of fifty years, missing ones, and one before 1970."""
        day = 86_400 * UNITS_PER_SECOND[self.feature.unit]
        times = random.integers(0, 20_000 * day, count)
        times[::7], times[1::14] = columns.MISSING_INT64, -1
        return times

    def _field(self, part: str) -> str:
        return f"{self.feature.name}.{part}"
