"""How the text of a column is read: numbers with a decimal comma, times that are written, words for yes and no."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from htlnet_tf.data import timestamps
from htlnet_tf.data.columns import numbers as read_numbers
from htlnet_tf.data.labels import flags
from htlnet_tf.errors import RowError
from htlnet_tf.schema import Binary, Categorical, Continuous, Numeric, Schema, Timestamp
from htlnet_tf.schema.targets import opposite


@dataclass(frozen=True)
class Reading:
    """How the text of a column is read.

    Args:
      kind: `"decimal"`: numbers with a decimal comma; `"time"`: points in time; `"flag"`: two words.
      format: Of times, as `datetime.strptime` takes it; None: ISO 8601.
      positive: The word for yes, as the table writes it.
      negative: The word for no; None: the usual opposite.
      offset_hours: Local time minus UTC, of most of the times that have a zone; None: they have none.
      offsets: How many such offsets there are.
    """

    kind: Literal["decimal", "time", "flag"]
    format: str | None = None
    positive: str | int | bool | None = None
    negative: str | int | bool | None = None
    offset_hours: float | None = None
    offsets: int = 0

    @property
    def what(self) -> str:
        """What the values are, for messages."""
        if self.kind == "decimal":
            return "numbers with a decimal comma"
        if self.kind == "flag":
            negative = self.negative if self.negative is not None or self.positive is None else opposite(self.positive)
            return f"'{self.positive}' or '{negative}'"
        return "ISO 8601 times" if self.format is None else f"times of the format '{self.format}'"

    def read(self, column: pd.Series) -> tuple[pd.Series, np.ndarray]:
        """The values of a chunk.

        Returns:
          Numbers, datetimes or booleans [N], missing where there is none; and bool [N], which values are none of these.
        """
        if column.dtype.kind in "mM" or (self.kind == "flag" and self.positive is None):
            return column, np.zeros(len(column), bool)
        offends = np.zeros(len(column), bool)
        if self.kind == "decimal":
            try:
                values = read_numbers(column, rule=self.what, decimal=",")
            except RowError as error:
                offends = error.rows
                values = np.full(len(column), np.nan)
                values[~offends] = read_numbers(column[~offends], rule=self.what, decimal=",")
            return pd.Series(values, column.index), offends
        if self.kind == "time":
            moments, offends = timestamps.written(column, self.format or timestamps.ISO)
            return pd.Series(moments, column.index), offends
        values, offends = flags(column, Binary("label", positive=self.positive, negative=self.negative))
        values = np.where(offends, np.nan, values)
        return pd.Series(pd.array(values, "Float64"), column.index).astype("boolean"), offends


@dataclass(frozen=True)
class Puzzle:
    """Text that can be used once somebody says or does more.

    Args:
      remedy: What it is, and what to do.
    """

    remedy: str


def declared_readings(schema: Schema) -> dict[str, Reading]:
    """How a schema says that columns are read, by the names that the table has."""
    readings: dict[str, Reading] = {}
    for item in (*schema.inputs, *schema.targets):
        if isinstance(item, Numeric | Continuous) and schema.decimal_of(item) == ",":
            readings[item.source] = Reading("decimal")
        elif isinstance(item, Timestamp) and item.format is not None:
            readings[item.source] = Reading("time", format=item.format)
        elif isinstance(item, Binary) and item.positive is not None:
            readings[item.source] = Reading("flag", positive=item.positive, negative=item.negative)
    if schema.time_column is not None and schema.time_format is not None:
        readings[schema.time_column] = Reading("time", format=schema.time_format)
    # What is read as categories, too, is shown as such.
    return {name: r for name, r in readings.items() if not _is_category(schema, name)}


def _is_category(schema: Schema, name: str) -> bool:
    return any(isinstance(f, Categorical) and f.source == name for f in schema.inputs)
