"""The rows of a further day: found, checked against the days before, and split."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple, Union

import pandas as pd

from htlnet_tf.data import timestamps
from htlnet_tf.data.columns import require_columns
from htlnet_tf.data.split_config import RandomSplit, TimeSplit
from htlnet_tf.data.splits import Split, read_timestamps
from htlnet_tf.data.stream import Stream
from htlnet_tf.encoding.encoded import Rows
from htlnet_tf.runs.config import RunConfig, for_files, load_rows
from htlnet_tf.runs.known_time import warn_of_known
from htlnet_tf.runs.preparation import fit_split
from htlnet_tf.schema import Schema


class DayRows(NamedTuple):
    """A day.

    Attributes:
      rows: As they come.
      config: Of the run, with where the rows are.
      split: Says which of them are learned first, which calibrate, which judge.
      first: The earliest timestamp as a point; None without a timestamp.
      last: The latest.
    """

    rows: Rows
    config: RunConfig
    split: Split
    first: timestamps.Point | None
    last: timestamps.Point | None


def load_day(
    config: RunConfig, schema: Schema, rows: Union[Rows, str, Path], run: Path, fractions: tuple[float, ...]
) -> DayRows:
    """Finds and splits a day.

    Args:
      config: Of the run.
      schema: Of its encoder.
      rows: The rows, or where they are; what the loader of the run reads, or of generated rows a table.
      run: The run's folder, which says what it has learned.
      fractions: The shares.

    Raises:
      InputError: The rows cannot be read, lack a column, or are too few for a part.
    """
    config = for_files(config)
    if isinstance(rows, (str, Path)):
        config = dataclasses.replace(config, schema=schema).with_data(rows)
        rows = load_rows(config).rows
    if isinstance(rows, Stream):
        rows = dataclasses.replace(rows, schema=schema, by_time=schema.time_column is not None)
    else:
        require_columns(rows, schema.columns, purpose="the day's rows")
    by = RandomSplit(fractions=fractions) if schema.time_column is None else TimeSplit(fractions=fractions)
    split = fit_split(dataclasses.replace(config, split=by), rows, schema)
    if schema.time_column is None:
        return DayRows(rows, config, split, None, None)
    listed = [rows] if isinstance(rows, pd.DataFrame) else rows
    times = timestamps.merge(read_timestamps(listed, schema.time_column, schema.time_format))
    warn_of_known(times, run, consequence="learned twice, rows count twice, and their metrics are too good")
    return DayRows(rows, config, split, times.point(times.values.min()), times.point(times.values.max()))
