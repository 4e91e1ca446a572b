"""Files of rows -> files of scores by an exported version in this process, without a server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa

from htlnet_tf.data.bad_rows import OnBadRows
from htlnet_tf.data.sources.source import open_source
from htlnet_tf.files import local_path
from htlnet_tf.serving.exported import exported_schema, version_digest, version_folder
from htlnet_tf.serving.part_making import Parts, ScoredFiles, require_jobs
from htlnet_tf.serving.score_tables import kept_types, require_kept, score_types, scored_table


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
    folder = version_folder(model)
    schema = exported_schema(folder)
    names = require_kept(schema, keep)
    rows = open_source(source, delimiter=schema.delimiter)
    run = {"model": version_digest(folder), "keep": list(names)}
    columns = [*(feature.source for feature in schema.inputs), *names]
    parts = Parts(source, rows, local_path(output), run, columns, on_bad_rows=on_bad_rows, overwrite=overwrite)
    if parts.todo:
        from htlnet_tf.serving.local_servable import loaded

        workers = min(workers, len(parts.todo))
        servable = loaded(folder, callers=workers)
        kept = kept_types(rows, servable.schema, names)
        parts.make(
            lambda frame, noted: scored_table(frame, servable.schema, servable.scores, kept, noted),
            pa.schema([*kept, *score_types(schema)]),
            servable.schema,
            jobs=workers,
            write=write,
        )
    return parts.result()
