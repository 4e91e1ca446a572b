"""Files of scores, made a file of rows at a time, several of them at once."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from htlnet_tf import cores
from htlnet_tf.data.bad_rows import BadRow, BadRows, OnBadRows, bad_line
from htlnet_tf.data.sources.source import Source
from htlnet_tf.errors import InputError
from htlnet_tf.files import atomic_file
from htlnet_tf.schema import Schema
from htlnet_tf.serving.score_parts import (
    LeftOut,
    Part,
    left_out_of,
    plan,
    remove_scores,
    require_own_folder,
    to_make,
    with_record,
)
from htlnet_tf.serving.score_progress import Progress
from htlnet_tf.serving.score_tables import CHUNK_ROWS, ParquetRows

Table = Callable[[pd.DataFrame, "BadRows | None"], pa.Table]
"""From a chunk of rows to what is written of it; bad rows are noted and left out, or an error where that is None."""


@dataclasses.dataclass(frozen=True)
class ScoredFiles:
    """What a scoring of files has done.

    Attributes:
      rows: Rows that were scored by this call, those that were left out not counted.
      parts: Files of scores that were made.
      present: Files of scores that were there already, made of the same.
      bad_rows: Rows that were left out of these files, of the present ones too.
      first_bad_row: The first of them; None if there are none.
      seconds: How long it took, without loading the servable.
      bad_candidates: Of a ranking: rows of the candidates that were left out.
      first_bad_candidate: The first of them; None if there are none.
    """

    rows: int
    parts: int
    present: int
    bad_rows: int
    first_bad_row: BadRow | None
    seconds: float
    bad_candidates: int = 0
    first_bad_candidate: BadRow | None = None

    def to_text(self) -> str:
        """A few lines for people."""
        rate = self.rows / max(self.seconds, 1e-9)
        lines = [
            f"{self.rows:,} rows scored in {self.seconds:,.1f} s, {rate:,.0f} per second; {self.parts:,} parts made"
        ]
        if self.present:
            lines[0] += f", {self.present:,} were there"
        if self.first_bad_row is not None:
            lines.append(f"{self.bad_rows:,} bad rows were skipped; the first: {self.first_bad_row}")
        if self.first_bad_candidate is not None:
            lines.append(f"{self.bad_candidates:,} bad candidates were skipped; the first: {self.first_bad_candidate}")
        return "\n".join(lines)


class Parts:
    """The files of scores of a table: which are there, which are to be made, and how far that is.

    Args:
      paths: The table as the user has named it.
      source: Its files.
      output: The folder of scores.
      run: What the scores depend on, beside the rows.
      columns: Of the rows, those that are read.
      on_bad_rows: As of `score_files`.
      overwrite: As of `score_files`.

    Attributes:
      todo: What is to be made.
      present: What is there.

    Raises:
      InputError: A column is missing in a file, or `output` has something else in it.
    """

    def __init__(
        self,
        paths: str | Path | Sequence[str | Path],
        source: Source,
        output: Path,
        run: Mapping[str, Any],
        columns: Sequence[str],
        *,
        on_bad_rows: OnBadRows,
        overwrite: bool,
    ) -> None:
        if on_bad_rows not in ("error", "skip"):
            raise InputError(f"on_bad_rows must be 'error' or 'skip', received {on_bad_rows!r}")
        settings = {**run, "on_bad_rows": on_bad_rows}
        parts = plan(paths, source.files, output, settings)
        self._columns = list(dict.fromkeys(columns))
        source.check(self._columns)
        if overwrite:
            remove_scores(output)
        self.todo = to_make(parts, require_own_folder(output, settings))
        made = {part.number for part in self.todo}
        self.present = [part for part in parts if part.number not in made]
        self._source, self._policy = source, on_bad_rows
        self._left_out: dict[int, LeftOut] = {}
        self._stop = threading.Event()
        self._progress = Progress(0.0, None)

    def make(
        self,
        table: Table,
        types: pa.Schema,
        schema: Schema,
        *,
        jobs: int,
        write: Callable[[str], None] | None,
        chunk_rows: int = CHUNK_ROWS,
        metadata: Mapping[bytes, bytes] | None = None,
    ) -> None:
        """Makes what is to be made.

        Args:
          table: What is written of a chunk; called by several threads.
          types: Of every file.
          schema: By which rows are read.
          jobs: Files at a time.
          write: Given lines of progress.
          chunk_rows: Rows that are given to `table` at most; where another file fails, those at hand are still done.
          metadata: What the end of every file says besides.

        Raises:
          InputError: A file cannot be read or written, or a row is bad.
        """
        self._progress = Progress(sum(part.size for part in self.todo), write)
        work = _Work(table, types, schema, chunk_rows, metadata or {})
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            futures = {pool.submit(self._make, part, work): part.number for part in self.todo}
            try:
                for future in concurrent.futures.as_completed(futures):
                    self._left_out[futures[future]] = future.result()
            finally:  # the others end where one fails, or where the program is to stop
                self._stop.set()
                pool.shutdown(wait=True, cancel_futures=True)

    def result(self) -> ScoredFiles:
        """What was done."""
        seconds = self._progress.seconds if self.todo else 0.0
        left_out = self._left_out | {part.number: left_out_of(part.output) for part in self.present}
        count = sum(one.rows for one in left_out.values())
        first = next((left_out[number].first for number in sorted(left_out) if left_out[number].rows), None)
        return ScoredFiles(self._progress.rows, len(self.todo), len(self.present), count, first, seconds)

    def _make(self, part: Part, work: _Work) -> LeftOut:
        bad_rows = BadRows()
        per_row = _work_per_row(part)
        with atomic_file(part.output) as partial:
            with ParquetRows(partial, with_record(work.types, part)) as writer:
                for chunk in self._source.chunks(
                    self._columns,
                    schema=work.schema,
                    chunk_rows=work.chunk_rows,
                    files=[part.number],
                    on_bad_lines=self._policy,
                    report=lambda file, row, reason: bad_rows.add(bad_line(file, row, reason)),
                ):
                    if self._stop.is_set():
                        raise _Stopped
                    chunk.frame.attrs["file"] = chunk.file
                    before = len(bad_rows)  # lines that could not be read are among them, and not in the frame
                    writer.append(work.table(chunk.frame, bad_rows if self._policy == "skip" else None))
                    scored = len(chunk.frame) - (len(bad_rows) - before)
                    self._progress.add(scored, per_row * len(chunk.frame))
                left_out = LeftOut.of(bad_rows)
                writer.note({**work.metadata, **left_out.metadata()})
            part.bad_rows.unlink(missing_ok=True)
            if len(bad_rows):
                bad_rows.write(part.bad_rows)
        self._progress.add(0, 0.0 if per_row else part.size)
        return left_out


@dataclasses.dataclass(frozen=True)
class _Work:
    """What is done with every part, see `Parts.make`."""

    table: Table
    types: pa.Schema
    schema: Schema
    chunk_rows: int
    metadata: Mapping[bytes, bytes]


class _Stopped(Exception):
    pass


def require_jobs(jobs: int | None) -> int:
    """How many files are scored at a time.

    Raises:
      InputError: Less than one.
    """
    if jobs is not None and jobs < 1:
        raise InputError(f"jobs must be at least 1, received {jobs}")
    return cores.count() if jobs is None else jobs


def _work_per_row(part: Part) -> float:
    """Bytes of the file per row, where its footer says how many there are; else 0."""
    if part.output.name != Path(part.file).name:
        return 0.0
    with contextlib.suppress(pa.ArrowException, OSError):  # whoever reads it says what is wrong
        return part.size / max(1, pq.read_metadata(part.file).num_rows)
    return 0.0
