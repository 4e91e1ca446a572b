"""Some of many rows, evenly from the first to the last."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
import pandas as pd

from htlnet_tf.data.stream import Stream
from htlnet_tf.schema import Schema


def sampled(rows: pd.DataFrame | Stream, schema: Schema, most: int) -> pd.DataFrame:
    """Some of the rows, evenly from the first to the last.

    Args:
      rows: A frame, or a stream, which is read.
      schema: Declares the columns.
      most: At most so many; at least half as many, if there are.

    Raises:
      InputError: A file of a stream cannot be read, or a row breaks a rule.
    """
    if isinstance(rows, pd.DataFrame):
        return rows.iloc[:: _step(len(rows), most)]
    return sampled_frames(dataclasses.replace(rows, schema=schema), most)


def sampled_frames(frames: Iterable[pd.DataFrame], most: int) -> pd.DataFrame:
    """As `sampled`, of frames that follow one another; the rows are numbered anew.

    How many rows there are is known at the end alone: until then every `step`-th is kept, and the step is doubled
    whenever there are too many.

    Args:
      frames: Of the same columns.
      most: At most so many rows; at least half as many, if there are.

    Returns:
      The rows; without columns if there are no frames.
    """
    kept: list[pd.DataFrame] = []
    count, passed, step = 0, 0, 1
    for frame in frames:
        part = frame.iloc[-passed % step :: step]
        passed += len(frame)
        kept.append(part)
        count += len(part)
        while count > most:
            kept, step = _halved(kept), step * 2
            count = sum(map(len, kept))
    return pd.concat(kept, ignore_index=True) if kept else pd.DataFrame()


def _halved(parts: list[pd.DataFrame]) -> list[pd.DataFrame]:
    """Every second row of parts that follow one another."""
    starts = np.cumsum([0, *map(len, parts)])
    # A copy: a view would keep the whole chunk of the file in memory.
    return [part.iloc[int(start) % 2 :: 2].copy() for start, part in zip(starts, parts, strict=False)]


def _step(total: int, most: int) -> int:
    return max(1, -(-total // most))
