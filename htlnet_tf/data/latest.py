"""The latest of some rows in order of time."""

from __future__ import annotations

from typing import TypeVar, Union, cast

import numpy as np
import pandas as pd

from htlnet_tf.data import timestamps
from htlnet_tf.data.columns import require_columns
from htlnet_tf.data.splits import Split, TimeSplit, read_timestamps
from htlnet_tf.data.stream import Stream
from htlnet_tf.errors import InputError
from htlnet_tf.schema import Schema

RowsT = TypeVar("RowsT", bound=Union[pd.DataFrame, Stream])


def latest_rows(rows: RowsT, schema: Schema, share: float) -> RowsT:
    """The latest share of rows by the schema's timestamp, such as those that a level is fitted on.

    Rows of one timestamp stay together: with ties there may be more of them than asked for.

    Args:
      rows: A frame, or the training part of a stream that is split by time.
      schema: Names the timestamp.
      share: Of the rows, in (0, 1].

    Returns:
      Rows of the same kind: of a frame in its order, of a stream a stream.

    Raises:
      InputError: `share` is not in (0, 1], the schema names no timestamp, there are no rows, a timestamp is missing, or
        a stream is not the training part of a split by time.

    Example:
      >>> latest = latest_rows(train, schema, 0.1)
      >>> model.fit_level(make_dataset(latest, schema, encoder, training=True))
    """
    if not 0.0 < share <= 1.0:  # also catches NaN
        raise InputError(f"the share of the latest rows must be in (0, 1], received {share}")
    if schema.time_column is None:
        raise InputError("the latest rows need the schema to name the timestamp column; its 'timestamp' is None")
    if isinstance(rows, pd.DataFrame):
        require_columns(rows, (schema.time_column,), purpose="the latest rows")
        times = timestamps.parse(rows[schema.time_column], schema.time_format).values
        return rows[times >= _first(times, share)]
    if rows.split is None or not isinstance(rows.split.config, TimeSplit) or rows.part != "train":
        raise InputError("the latest rows of a stream are those of the training part of a split by time")
    found = timestamps.merge(read_timestamps(rows, schema.time_column, schema.time_format))
    first, last = _first(found.values, share), found.values.max()
    earlier = found.values[found.values < first]
    if not len(earlier):
        return rows
    # Of a split that begins its second part where the share begins, and ends it where the training rows end.
    thirds = TimeSplit(fractions=((1.0 - share), share / 2, share / 2))
    cuts = (found.point(earlier.max()), found.point(last))
    return cast("RowsT", rows.of(Split(thirds, schema.time_column, cuts, schema.time_format), "valid"))


def _first(times: np.ndarray, share: float) -> np.generic:
    """The first timestamp of the latest share."""
    position = min(len(times) - round(len(times) * share), len(times) - 1)
    first: np.generic = np.partition(times, position)[position]
    return first
