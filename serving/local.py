"""Files of rows -> files of scores by an exported version in this process, without a server."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from htlnet_tf.data.bad_rows import BadRow, BadRows, OnBadRows
from htlnet_tf.data.sources.source import Source, open_source
from htlnet_tf.errors import InputError
from htlnet_tf.files import atomic_file, local_path
from htlnet_tf.serving.exported import exported_schema, version_digest, version_folder
from htlnet_tf.serving.score_parts import (
    Part,
    plan,
    remove_scores,
    require_own_folder,
    to_make,
    with_record,
)
from htlnet_tf.serving.score_progress import Progress
from htlnet_tf.serving.score_tables import CHUNK_ROWS, ParquetRows, kept_types, require_kept, score_types, scored_table

if TYPE_CHECKING:
    from htlnet_tf.serving.local_servable import LocalServable


@dataclasses.dataclass(frozen=True)
class ScoredFiles:
    """What a scoring of files has done.

    Attributes:
      rows: Rows that were scored.
      parts: Files of scores that were made.
      present: Files of scores that were there already, made of the same.
      bad_rows: Rows that were left out.
      first_bad_row: The first of them; None if there are none.
      seconds: How long it took, without loading the servable.
    """

    rows: int
    parts: int
    present: int
    bad_rows: int
    first_bad_row: BadRow | None
    seconds: float

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
        return "\n".join(lines)


def score_files(
    model: str | Path,
    source: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    keep: Sequence[str] = (),
    jobs: int | None = None,
    on_bad_rows: OnBadRows = "error",
    overwrite: bool = False,
    write: Callable[[str], None] | None = None,
) -> ScoredFiles:
    """Scores every row of files by an exported version, a Parquet file of scores per file of rows.

    Rows are read as in training, by the schema that travels in the version, and scored by its signature
    `serving_default`, which is what a server answers with. Files are read and written in pieces, so they may be larger
    than the memory. Each file of scores appears by an atomic rename and says in its metadata what it was made of: the
    version, `keep`, `on_bad_rows`, and the name, size and time of change of the file of rows. The same call after a
    kill goes on with the files that are not there.

    Args:
      model: `MODELS/NAME`, of which the latest version is taken, or `MODELS/NAME/VERSION`.
      source: A file, folder, glob, or list of these, of CSV, Parquet or TFRecord files; labels may be missing.
      output: The folder of scores: as the files of rows lie to one another, those of their scores do.
      keep: Columns of the rows that are written before the scores.
      jobs: Files at a time, in threads that share one servable; None: as many as there are cores.
      on_bad_rows: `"error"`: the first row that breaks a rule of the schema ends it. `"skip"`: such rows are left out
        and noted in `OUTPUT/_bad_rows/`.
      overwrite: Remove the scores that `output` has before.
      write: Given a line of progress every few seconds; None: nobody is told.

    Returns:
      What was done. The columns of the files: the kept ones, and `Schema.score_columns` as float32, in the targets'
      units.

    Raises:
      InputError: The model is none, a file cannot be read, a column is missing, a row is bad, a kept column is called
        as a score is, or `output` has scores of other settings; names the file and, where there is one, column and row.

    Example:
      >>> done = htl.score_files("models/htlnet", "logs/*.parquet", "scores", keep=["user_id", "item_id"])
    """
    workers = require_jobs(jobs)
    if on_bad_rows not in ("error", "skip"):
        raise InputError(f"on_bad_rows must be 'error' or 'skip', received {on_bad_rows!r}")
    folder, destination = version_folder(model), local_path(output)
    schema = exported_schema(folder)
    names = require_kept(schema, keep)
    rows = open_source(source, delimiter=schema.delimiter)
    run = {"model": version_digest(folder), "keep": list(names), "on_bad_rows": on_bad_rows}
    parts = plan(source, rows.files, destination, run)
    rows.check(list(dict.fromkeys((*(feature.source for feature in schema.inputs), *names))))
    if overwrite:
        remove_scores(destination)
    todo = to_make(parts, require_own_folder(destination, run))
    if not todo:
        return ScoredFiles(0, 0, len(parts), 0, None, 0.0)
    from htlnet_tf.serving.local_servable import loaded, one_thread_per_call

    one_thread_per_call(workers)
    servable = loaded(folder)
    progress = Progress(sum(part.size for part in todo), write)
    making = _Making(rows, servable, kept_types(rows, servable.schema, names), on_bad_rows, progress)
    in_threads([lambda part=part: making.make(part) for part in todo], workers, making.stop)
    bad = making.bad_rows
    first = bad.first() if len(bad) else None
    return ScoredFiles(progress.rows, len(todo), len(parts) - len(todo), len(bad), first, progress.seconds)


def require_jobs(jobs: int | None) -> int:
    """How many files are scored at a time.

    Raises:
      InputError: Less than one.
    """
    if jobs is not None and jobs < 1:
        raise InputError(f"jobs must be at least 1, received {jobs}")
    return len(os.sched_getaffinity(0)) if jobs is None else jobs


def in_threads(calls: Sequence[Callable[[], object]], jobs: int, stop: threading.Event) -> None:
    """Makes calls, several at a time, and ends all of them where one fails or the program is to stop."""
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(call) for call in calls]
        try:
            for future in concurrent.futures.as_completed(futures):
                future.result()
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


class _Stopped(Exception):
    pass


class _Making:
    """Makes parts; several threads may, for what they share is not changed but for the noted bad rows."""

    def __init__(
        self, source: Source, servable: LocalServable, kept: pa.Schema, on_bad_rows: OnBadRows, progress: Progress
    ) -> None:
        self._source, self._servable, self._kept, self._progress = source, servable, kept, progress
        self._policy: Literal["error", "skip"] = on_bad_rows
        self.bad_rows = BadRows()
        self.stop = threading.Event()

    def make(self, part: Part) -> None:
        schema = self._servable.schema
        names = list(dict.fromkeys((*(f.source for f in schema.inputs), *self._kept.names)))
        types = with_record(pa.schema([*self._kept, *score_types(schema)]), part)
        bad_rows = BadRows()
        per_row = _work_per_row(part)
        with atomic_file(part.output) as partial:
            with contextlib.closing(ParquetRows(partial, types)) as writer:
                for chunk in self._source.chunks(
                    names,
                    schema=schema,
                    chunk_rows=CHUNK_ROWS,
                    files=[part.number],
                    on_bad_lines=self._policy,
                    report=lambda file, row, reason: bad_rows.add(BadRow(file, row, "", "a line of the file", reason)),
                ):
                    if self.stop.is_set():
                        raise _Stopped
                    chunk.frame.attrs["file"] = chunk.file
                    noted = bad_rows if self._policy == "skip" else None
                    writer.append(scored_table(chunk.frame, schema, self._servable.scores, self._kept, noted))
                    self._progress.add(len(chunk.frame), per_row * len(chunk.frame))
            part.bad_rows.unlink(missing_ok=True)
            if len(bad_rows):
                bad_rows.write(part.bad_rows)
        self._progress.add(0, 0.0 if per_row else part.size)
        self.bad_rows.extend(bad_rows)


def _work_per_row(part: Part) -> float:
    """Bytes of the file per row, where its footer says how many there are; else 0."""
    if part.output.name != Path(part.file).name:
        return 0.0
    with contextlib.suppress(pa.ArrowException, OSError):  # whoever reads it says what is wrong
        return part.size / max(1, pq.read_metadata(part.file).num_rows)
    return 0.0
