"""The rows of a further day: found, checked against the days before, and split."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple, Union

import numpy as np
import pandas as pd
from absl import logging

from htlnet_tf.data import timestamps
from htlnet_tf.data.columns import require_columns
from htlnet_tf.data.split_config import RandomSplit, TimeSplit
from htlnet_tf.data.splits import Split, read_timestamps
from htlnet_tf.data.stream import Stream
from htlnet_tf.encoding.encoded import Rows
from htlnet_tf.runs.config import RunConfig, for_files, load_rows
from htlnet_tf.runs.parts import load_split
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
    _warn_of_earlier(times, load_split(run))
    return DayRows(rows, config, split, times.point(times.values.min()), times.point(times.values.max()))


def _warn_of_earlier(times: timestamps.Timestamps, learned: Split | None) -> None:
    """Says how many rows are from a time that the run has learned or was calibrated on."""
    if learned is None or not isinstance(learned.config, TimeSplit):
        return
    dates = learned.config.dates is not None
    points = learned.config.points if dates else learned.cuts or ()
    passed = times.passed(points[-1:], inclusive=dates, unit=learned.config.unit)
    earlier = int(np.sum(passed == 0))
    if earlier:
        logging.warning(
            f"{earlier:,} of the day's {len(passed):,} rows are from a time that the run knows already (up to "
            f"{points[-1]}): learned twice, rows count twice, and their metrics are too good"
        )
