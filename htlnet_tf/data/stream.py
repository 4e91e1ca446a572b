"""Rows of files as a stream of frames that can be read again and again, however many there are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from htlnet_tf.data import timestamps
from htlnet_tf.data.labels import label_values
from htlnet_tf.data.raw_features import distinct_values, raw_numbers
from htlnet_tf.data.sources.source import Chunk, RowSource, open_source
from htlnet_tf.data.split_config import PARTS
from htlnet_tf.data.splits import Split
from htlnet_tf.data.users import read_users
from htlnet_tf.errors import InputError, RowError
from htlnet_tf.files import atomic_file
from htlnet_tf.schema import Categorical, Schema

OnBadRows = Literal["error", "skip"]
CHUNK_ROWS = 65_536

READ_ONCE = "htlnet_is_read_once"
"""What is set on a dataset whose rows cannot be read a second time."""


class BadRow(NamedTuple):
    """A row that was left out.

    Attributes:
      file: Where it stands.
      row: Its number there; the first row after the header is 0.
      column: At fault; empty for a line that could not be read.
      rule: What the column must be.
      value: What it has.
    """

    file: str
    row: int
    column: str
    rule: str
    value: str

    def __str__(self) -> str:
        place = f"{self.file}, row {self.row}" + (f", column '{self.column}'" if self.column else "")
        return f"{place}: {self.rule}; received {self.value!r}"


class BadRows:
    """The rows that a stream has left out, each once, however often the stream is read."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[int, BadRow]] = {}
        self._checked: set[str] = set()

    def add(self, row: BadRow) -> None:
        """Notes a row; a second fault of the same row is not kept."""
        self._rows.setdefault(row.file, {}).setdefault(row.row, row)

    def complete(self, file: str) -> None:
        """Notes that every row of a file has been checked."""
        self._checked.add(file)

    def of(self, file: str) -> np.ndarray | None:
        """The numbers of a file's bad rows, int64; None as long as it has not been checked to its end."""
        if file not in self._checked:
            return None
        return np.fromiter(self._rows.get(file, {}), np.int64)

    def __len__(self) -> int:
        return sum(map(len, self._rows.values()))

    def first(self) -> BadRow:
        """The first of them in order of file and row."""
        return min(row for rows in self._rows.values() for row in rows.values())

    def to_frame(self) -> pd.DataFrame:
        """One line per row, in order of file and row: the fields of `BadRow`."""
        return pd.DataFrame(
            sorted(row for rows in self._rows.values() for row in rows.values()), columns=list(BadRow._fields)
        )

    def write(self, path: str | Path) -> None:
        """Writes them as CSV, by an atomic rename."""
        with atomic_file(path) as partial:
            self.to_frame().to_csv(partial, index=False)


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
            report=lambda file, row, reason: self.bad_rows.add(BadRow(file, row, "", "a line of the file", reason)),
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
            last = chunk.file
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

    def shard(self, count: int, index: int) -> list[int]:
        """The files of one of `count` workers: every count-th, from `index` on.

        Raises:
          InputError: A worker would have no file.
        """
        if not 0 <= index < count:
            raise InputError(f"a shard is one of 0 .. {count - 1}, received {index}")
        if len(self.source.files) < count:
            raise InputError(f"{count} workers need at least as many files, but there are {len(self.source.files)}")
        return list(range(index, len(self.source.files), count))

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
        return _settled(frame[good if part is None else good & part])

    def _check(self, frame: pd.DataFrame, good: np.ndarray) -> None:
        while good.any():
            try:
                check_rows(frame[good], self.schema)
                if self.by_time and self.schema.timestamp is not None:
                    timestamps.parse(frame.loc[good, self.schema.time_column], self.schema.time_format)
                return
            except RowError as error:
                self._note(frame, good, error)

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
                self._note(frame, good, error)
                continue
            belongs[rows] = parts == number
            return belongs

    def _note(self, frame: pd.DataFrame, good: np.ndarray, error: RowError) -> None:
        """Notes the rows at fault among the good ones, which they are no longer."""
        at_fault = np.flatnonzero(good)[error.rows]
        file = str(frame.attrs["file"])
        for position in at_fault:
            value = frame[error.column].iloc[position]
            self.bad_rows.add(BadRow(file, int(frame.index[position]), error.column, error.rule, str(value)))
        good[at_fault] = False


def _settled(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns that were text for the sake of a value that is gone, as what the others are."""
    settled = frame.copy()
    for name in frame:
        column = frame[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            kept = column.cat.remove_unused_categories()
            kind = pd.api.types.infer_dtype(kept.cat.categories)
            settled[name] = kept.astype(_SETTLED[kind]) if kind in _SETTLED else kept
    settled.attrs = frame.attrs
    return settled


_SETTLED: dict[str, Any] = {
    "integer": "Int64",
    "floating": "float64",
    "mixed-integer-float": "float64",
    "datetime": "datetime64[us]",
    "datetime64": "datetime64[us]",
}


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
