"""Rows of files as a stream of frames that can be read again and again, however many there are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from htlnet_tf.data import timestamps
from htlnet_tf.data.bad_rows import BadRows, OnBadRows, bad_line, settled
from htlnet_tf.data.labels import label_values
from htlnet_tf.data.raw_features import distinct_values, raw_numbers
from htlnet_tf.data.sources.source import Chunk, RowSource, open_source
from htlnet_tf.data.split_config import PARTS
from htlnet_tf.data.splits import Split
from htlnet_tf.data.users import read_users
from htlnet_tf.errors import InputError, RowError
from htlnet_tf.schema import Categorical, Schema

CHUNK_ROWS = 65_536

READ_ONCE = "htlnet_is_read_once"
"""What is set on a dataset whose rows cannot be read a second time."""


@dataclasses.dataclass(frozen=True)
class Stream:
    """Logged rows in files, read in chunks; iterating it again reads them again.

    Args:
      source: The files.
      schema: The declared columns; only these are read.
      on_bad_rows: `"error"`: the first row that breaks a rule of the schema stops reading. `"skip"`: such rows are left
        out and noted in `bad_rows`.
      split: Says which part a row belongs to.
      part: `"train"`, `"valid"` or `"test"`; None: all rows.
      bad_rows: Where skipped rows are noted; parts of one stream share it.
      by_time: Whether a row needs a timestamp, as for a split by time.
      chunk_rows: At most so many rows per frame.
      piece: `(n, i)`: of every file only the i-th of n parts, see `Source.chunks`.

    Example:
      >>> rows = open_stream("logs/*.parquet", schema)
      >>> encoder = FeatureEncoder.fit(schema, rows)
    """

    source: RowSource
    schema: Schema
    on_bad_rows: OnBadRows = "error"
    split: Split | None = None
    part: str | None = None
    bad_rows: BadRows = dataclasses.field(default_factory=BadRows)
    by_time: bool = False
    chunk_rows: int = CHUNK_ROWS
    piece: tuple[int, int] = (1, 0)

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """Frames with the schema's columns, indexed by row number in the file, `attrs["file"]` being its name.

        Raises:
          InputError: A file cannot be read, or a row breaks a rule (unless they are skipped).
        """
        return self.frames()

    def frames(
        self, files: Sequence[int] | None = None, *, columns: Sequence[str] | None = None
    ) -> Iterator[pd.DataFrame]:
        """As iterating.

        Args:
          files: Positions in `source.files`, in the order to read them; None: all.
          columns: Read these alone, without checking values; None: those of the schema and the split.
        """
        needed = dict.fromkeys((*self.schema.columns, *(self.split.columns if self.split else ())))
        chunks = self.source.chunks(
            list(needed if columns is None else columns),
            schema=self.schema,
            chunk_rows=self.chunk_rows,
            files=files,
            on_bad_lines=self.on_bad_rows,
            report=lambda file, row, reason: self.bad_rows.add(bad_line(file, row, reason)),
            piece=self.piece,
        )
        if columns is not None:
            for chunk in chunks:
                chunk.frame.attrs["file"] = chunk.file
                yield chunk.frame
            return
        last = None
        for chunk in chunks:
            if last is not None and chunk.file != last:
                self.bad_rows.complete(last)
            # A file of which this reads a piece is never known to have no further bad rows.
            last = chunk.file if self.piece[0] == 1 else None
            frame = self._of_part(chunk)
            if len(frame):
                yield frame
        if last is not None:
            self.bad_rows.complete(last)

    @property
    def is_read_once(self) -> bool:
        """Whether the rows cannot be read a second time."""
        return bool(getattr(self.source, "is_read_once", False))

    def of(self, split: Split, part: str) -> Stream:
        """The rows of one part of a split.

        Raises:
          InputError: There is no such part.
        """
        if part not in PARTS:
            raise InputError(f"a split has the parts {list(PARTS)}, received '{part}'")
        return dataclasses.replace(self, split=split, part=part)

    def shard(self, count: int, index: int) -> tuple[Stream, list[int]]:
        """The rows of one of `count` workers, and the files that they are in.

        They are every count-th file, from `index` on. Where there are fewer files than workers each reads a part of
        every file: of a Parquet file row groups of its own, if it has enough of them; of any other all of them read all
        and keep their own chunks, which are small enough that every worker has rows of any file of some size.

        Raises:
          InputError: There is no such worker.
        """
        if not 0 <= index < count:
            raise InputError(f"a shard is one of 0 .. {count - 1}, received {index}")
        files = range(len(self.source.files))
        if len(files) >= count:
            return self, list(files[index::count])
        chunk_rows = max(1, min(self.chunk_rows, CHUNK_ROWS // (8 * count)))
        return dataclasses.replace(self, piece=(count, index), chunk_rows=chunk_rows), list(files)

    def _of_part(self, chunk: Chunk) -> pd.DataFrame:
        frame = chunk.frame
        frame.attrs["file"] = chunk.file
        good = np.ones(len(frame), bool)
        if self.on_bad_rows == "skip":
            known = self.bad_rows.of(chunk.file)
            if known is not None:
                good = ~np.isin(frame.index, known)
            else:
                self._check(frame, good)
        part = self._parts(frame, good)
        if good.all():
            return frame if part is None else frame[part]  # without a copy where all rows stay
        return settled(frame[good if part is None else good & part])

    def _check(self, frame: pd.DataFrame, good: np.ndarray) -> None:
        def check(rows: pd.DataFrame) -> None:
            check_rows(rows, self.schema)
            if self.by_time and self.schema.timestamp is not None:
                timestamps.parse(rows[self.schema.time_column], self.schema.time_format)

        self.bad_rows.without(frame, good, check)

    def _parts(self, frame: pd.DataFrame, good: np.ndarray) -> np.ndarray | None:
        """Which rows are of this stream's part; `good` loses those for which that cannot be said."""
        if self.split is None or self.part is None:
            return None
        number = PARTS.index(self.part)
        while True:
            belongs = np.zeros(len(frame), bool)
            try:
                # Random splits count the rows of the file, so they see all of them.
                rows = slice(None) if self.split.config.by == "random" else good
                parts = self.split.parts(frame[rows], rows=frame.index.to_numpy())
            except RowError as error:
                if self.on_bad_rows == "error":
                    raise
                self.bad_rows.note(frame, good, error)
                continue
            belongs[rows] = parts == number
            return belongs


def open_stream(path: str | Path | Sequence[str | Path], schema: Schema, *, on_bad_rows: OnBadRows = "error") -> Stream:
    """Opens files of logged rows: CSV (also gzip), Parquet, or TFRecord of `tf.train.Example`.

    Args:
      path: A file, a folder, a glob, or a list of these.
      schema: The declared columns.
      on_bad_rows: `"error"` or `"skip"`, see `Stream`.

    Raises:
      InputError: There is no such file, or a column of the schema is in none of them.
    """
    if on_bad_rows not in ("error", "skip"):
        raise InputError(f"on_bad_rows must be 'error' or 'skip', received {on_bad_rows!r}")
    source = open_source(path, delimiter=schema.delimiter)
    for name in schema.columns:
        fault = source.fault(name)
        if fault is not None:
            raise InputError(f"{source.files[0]}: {fault}")
    return Stream(source, schema, on_bad_rows)


def check_rows(frame: pd.DataFrame, schema: Schema) -> None:
    """Checks every value of a frame against the schema.

    Raises:
      RowError: Rows break a rule.
    """
    for feature in schema.inputs:
        if isinstance(feature, Categorical):
            distinct_values(frame[feature.source], feature)
        else:
            raw_numbers(frame[feature.source], feature, decimal=schema.decimal)
    label_values(frame, schema)
    read_users(frame, schema)
