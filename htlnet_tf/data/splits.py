"""Splits logged rows into training, validation and test rows, by rules that need one row at a time."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ConfigDict, TypeAdapter, model_validator
from pydantic.dataclasses import dataclass

from htlnet_tf.data import timestamps
from htlnet_tf.data.columns import require_columns
from htlnet_tf.data.split_config import (
    PARTS,
    ColumnSplit,
    HashSplit,
    RandomSplit,
    SplitConfig,
    TimeSplit,
    checked_fractions,
    require_increasing,
)
from htlnet_tf.data.split_keys import parts_by_hash, parts_by_row, parts_by_value
from htlnet_tf.documents import read_yaml, validate, yaml_text
from htlnet_tf.errors import InputError
from htlnet_tf.schema import Schema

__all__ = ["PARTS", "ColumnSplit", "HashSplit", "RandomSplit", "Split", "SplitConfig", "TimeSplit", "time_split"]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Split:
    """A rule that says of every row whether it is for training, validation or test.

    It needs one row at a time, so it serves for chunks of a stream, and it can be kept beside a run and used on new
    rows. `Split.fit` makes one.

    Args:
      config: The declared rule.
      timestamp: The column of a split by time.
      format: How that column writes its times, as for `htlnet_tf.schema.schema.Timestamp`.
      cuts: Of a split by time with fractions: the last timestamp of training and the last of validation. Numbers in
        the column's own unit, ISO 8601 strings in UTC, or ISO 8601 durations for timedeltas.
    """

    config: SplitConfig
    timestamp: str | None = None
    cuts: tuple[int | float | str, ...] | None = None
    format: str | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> Split:
        if (self.timestamp is not None) != isinstance(self.config, TimeSplit):
            raise ValueError("a split by time, and no other, names the 'timestamp' column")
        if (self.cuts is not None) != (isinstance(self.config, TimeSplit) and self.config.fractions is not None):
            raise ValueError("a split by time with fractions, and no other, has 'cuts'")
        if self.cuts is not None:
            if len(self.cuts) != len(PARTS) - 1:
                raise ValueError(f"'cuts' must be {len(PARTS) - 1}; received {list(self.cuts)}")
            require_increasing(self.cuts, what="'cuts'")
        return self

    @classmethod
    def fit(cls, config: SplitConfig, schema: Schema, frames: pd.DataFrame | Iterable[pd.DataFrame]) -> Split:
        """Resolves a declared rule.

        Only a split by time with fractions looks at the rows: once, at their timestamps, of which 8 bytes per row are
        kept until they are sorted.

        Args:
          config: The declared rule.
          schema: Names the timestamp.
          frames: All rows, in one frame or in chunks.

        Raises:
          InputError: A split by time without a timestamp in the schema; or of the rows, as for `time_split`, or chunks
            whose timestamps are of different kinds.
        """
        if isinstance(config, (ColumnSplit, HashSplit)):
            return cls(config=dataclasses.replace(config, column=schema.source_of(config.column)))
        if not isinstance(config, TimeSplit):
            return cls(config=config)
        name, format = _timestamp_name(schema), schema.time_format
        if config.fractions is None:
            return cls(config=config, timestamp=name, format=format)
        listed = [frames] if isinstance(frames, pd.DataFrame) else frames
        times = timestamps.merge(read_timestamps(listed, name, format))
        times.values.sort()
        ends = _ends(times.values, config.fractions, name)
        return cls(
            config=config, timestamp=name, cuts=tuple(times.point(times.values[end - 1]) for end in ends), format=format
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that `parts` reads."""
        if isinstance(self.config, (ColumnSplit, HashSplit)):
            return (self.config.column,)
        return () if self.timestamp is None else (self.timestamp,)

    def parts(self, frame: pd.DataFrame, *, rows: np.ndarray | None = None) -> np.ndarray:
        """The part of each row.

        Args:
          frame: Any rows, none included; they have the `columns`.
          rows: The rows' numbers in their file, integers [N], by which a random split goes; None: their positions.

        Returns:
          int8 [N], positions in `PARTS`.

        Raises:
          InputError: A column is missing, or a value is missing, of the wrong kind, or in no part.
        """
        if isinstance(frame, pd.DataFrame) and len(frame) == 0:
            return np.zeros(0, np.int8)
        require_columns(frame, self.columns, purpose=f"a split by {self.config.by}")
        if isinstance(self.config, TimeSplit):
            return self._parts_by_time(timestamps.parse(frame[self.columns[0]], self.format))
        if isinstance(self.config, ColumnSplit):
            return parts_by_value(frame[self.config.column], self.config)
        if isinstance(self.config, HashSplit):
            return parts_by_hash(frame[self.config.column], self.config)
        return parts_by_row(np.arange(len(frame)) if rows is None else rows, self.config)

    def apply(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        """Splits a frame in memory.

        Args:
          frame: One row per impression. It is not changed.

        Returns:
          Training, validation and test rows; in order of time for a split by time, else in the frame's order.

        Raises:
          InputError: As for `parts`, or a part gets no row.
        """
        require_columns(frame, self.columns, purpose=f"a split by {self.config.by}")
        order = np.arange(len(frame))
        if isinstance(self.config, TimeSplit):
            times = timestamps.parse(frame[self.columns[0]], self.format)
            parts, order = self._parts_by_time(times), np.argsort(times.values, kind="stable")
        else:
            parts = self.parts(frame)
        for name, count in zip(PARTS, np.bincount(parts, minlength=len(PARTS)), strict=True):
            if count == 0:
                raise InputError(
                    f"every part of a split by {self.config.by} needs at least one row, but '{name}' gets none of the "
                    f"frame's {len(frame)} rows"
                )
        train, valid, test = (frame.iloc[order[parts[order] == k]] for k in range(len(PARTS)))
        return train, valid, test

    def _parts_by_time(self, times: timestamps.Timestamps) -> np.ndarray:
        if self.cuts is not None:
            return times.passed(self.cuts, inclusive=False)
        assert isinstance(self.config, TimeSplit)
        points, unit = self.config.points, self.config.unit
        if times.kind == "number" and unit is None and isinstance(points[0], str):
            raise InputError(
                "a timestamp of numbers is split at dates only if the split has a 'unit', what the numbers count since "
                f"1970-01-01 UTC ('s', 'ms', 'us' or 'ns'); column '{times.name}' holds numbers ({times.first}), and "
                f"the split has the dates {list(points)} without a unit"
            )
        return times.passed(points, inclusive=True, unit=unit)

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary of what JSON and YAML can hold."""
        document: dict[str, Any] = _ADAPTER.dump_python(self, mode="json", exclude_none=True)
        return document

    @classmethod
    def from_dict(cls, document: Any, *, source: str = "split") -> Split:
        """Builds a split from a plain dictionary.

        Raises:
          InputError: `document` does not describe a split; the message names `source` and the field.
        """
        return validate(_ADAPTER, document, source=source)

    def to_yaml(self, path: str | Path | None = None) -> str:
        """The split as YAML text; also written to `path` if one is given."""
        return yaml_text(self.to_dict(), path)

    @classmethod
    def from_yaml(cls, path: str | Path) -> Split:
        """Reads a split that `to_yaml` wrote.

        Raises:
          InputError: The file is missing, is not YAML, or does not describe a split.
        """
        return cls.from_dict(read_yaml(path), source=str(path))


_ADAPTER: TypeAdapter[Split] = TypeAdapter(Split)


def time_split(
    frame: pd.DataFrame, schema: Schema, fractions: Sequence[float] = (0.8, 0.1, 0.1)
) -> tuple[pd.DataFrame, ...]:
    """Splits the rows by time into parts of the given sizes, the oldest first.

    The rows are ordered by the schema's timestamp with a stable sort, so rows of one timestamp keep their order, and
    cut at row quantiles. Rows with one and the same timestamp (the candidates of one request, say) never straddle a
    cut: **they go to the earlier part**. So with ties a part may be larger, and the next one smaller, than asked for.

    Args:
      frame: One row per impression, with the timestamp column, of any kind that `timestamps.parse` reads. It is not
        changed.
      schema: Says which column is the timestamp.
      fractions: The share of the rows in each part, oldest first: at least two, each above 0, summing to 1.

    Returns:
      One frame per fraction, its rows in time order, with the index labels and the columns of `frame`.

    Raises:
      InputError: `fractions` breaks the rule above, the schema names no timestamp, the frame is empty or has no such
        column, a timestamp is missing or of another kind, or a part would be empty.

    Example:
      >>> train, valid, test = time_split(frame, schema, (0.8, 0.1, 0.1))
    """
    shares = checked_fractions(fractions)
    name = _timestamp_name(schema)
    require_columns(frame, (name,), purpose="a split by time")
    times = timestamps.parse(frame[name], schema.time_format).values
    order = np.argsort(times, kind="stable")
    ends = _ends(times[order], shares, name)
    return tuple(frame.iloc[order[begin:end]] for begin, end in itertools.pairwise([0, *ends, len(order)]))


def _timestamp_name(schema: Schema) -> str:
    if schema.timestamp is None:
        raise InputError(
            "a split by time needs the schema to name the timestamp column; its 'timestamp' is None; "
            "rows without times are split by {by: random, fractions: [0.8, 0.1, 0.1]}"
        )
    return schema.source_of(schema.timestamp)


def read_timestamps(frames: Iterable[pd.DataFrame], name: str, format: str | None) -> Iterator[timestamps.Timestamps]:
    """The timestamps of each frame that has rows, for a split by time.

    Raises:
      InputError: A frame lacks the column, or a timestamp is missing or unreadable.
    """
    for frame in frames:
        if isinstance(frame, pd.DataFrame) and len(frame) == 0:
            continue
        require_columns(frame, (name,), purpose="a split by time")
        yield timestamps.parse(frame[name], format)


def _ends(ordered: np.ndarray, shares: Sequence[float], name: str) -> list[int]:
    """Where each part but the last ends among sorted timestamps."""
    ends = []
    for k in range(1, len(shares)):
        # round() and not int(): 0.7 + 0.1 is a hair below 0.8 in floating point.
        end = round(len(ordered) * math.fsum(shares[:k]))
        # Move the cut behind the last row of the timestamp it falls into.
        ends.append(int(np.searchsorted(ordered, ordered[end - 1], side="right")) if end > 0 else 0)
    for k, (begin, end) in enumerate(itertools.pairwise([0, *ends, len(ordered)])):
        if begin >= end:
            raise InputError(
                f"every part of a time split needs at least one row, but part {k + 1} of {len(shares)} (fraction "
                f"{shares[k]}) gets none: there are {len(ordered)} rows with {len(np.unique(ordered))} distinct values "
                f"of '{name}', and rows of one timestamp stay together"
            )
    return ends
