"""Looking at a table in files."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pandas as pd

from htlnet_tf.data.sources.csv_source import find_delimiter
from htlnet_tf.data.sources.source import Source, open_source
from htlnet_tf.errors import InputError
from htlnet_tf.files import atomic_file, local_path
from htlnet_tf.inspection.proposals import config_text
from htlnet_tf.inspection.report import Inspection
from htlnet_tf.inspection.rows import inspect_rows
from htlnet_tf.schema import Schema

_SECONDS_BETWEEN_LINES = 5.0


def inspect_path(
    path: str | Path,
    *,
    schema: str | Path | None = None,
    targets: Sequence[str] | None = None,
    timestamp: str | None = None,
    draft: str | Path | None = None,
    overwrite: bool = False,
    write: Callable[[str], None] = print,
) -> Inspection:
    """Looks at the rows of files, in one pass, and may draft a schema for them.

    Args:
      path: A file, a folder or a glob of CSV, Parquet or TFRecord files.
      schema: A schema file to hold the table against: every value of its columns is checked.
      targets: The funnel in order, the core last, if there is no schema.
      timestamp: When a row was logged, if there is no schema.
      draft: A file for the proposed schema, with comments, written by an atomic rename; None: none is written.
      overwrite: Replace an existing draft.
      write: Where progress lines go.

    Raises:
      InputError: A file cannot be read or lacks a column of the schema, there are no rows, the draft exists already, or
        no schema can be proposed although one is to be written; see also `inspect_rows`.
    """
    require_new(draft, overwrite=overwrite)
    declared = None if schema is None else Schema.from_yaml(schema)
    source = open_source(path)
    delimiter = "," if source.format != "csv" else declared.delimiter if declared else find_delimiter(source.files)
    if delimiter != ",":
        source = open_source(path, delimiter=delimiter)
    if declared is not None:
        _require_columns(source, declared)

    def frames() -> Iterator[pd.DataFrame]:
        rows, spoke = 0, time.monotonic()
        for chunk in source.chunks(schema=declared):
            rows += len(chunk.frame)
            if time.monotonic() - spoke > _SECONDS_BETWEEN_LINES:
                spoke = time.monotonic()
                write(f"  {rows:,} rows read, now {chunk.file}")
            chunk.frame.attrs["file"] = chunk.file
            yield chunk.frame

    inspection = inspect_rows(
        frames(), schema=declared, targets=targets, timestamp=timestamp, source=str(path), delimiter=delimiter
    )
    if draft is not None:
        write_schema(inspection, draft)
    return inspection


def require_new(path: str | Path | None, *, overwrite: bool) -> None:
    """Checks that a file to be written is not there, or may be replaced.

    Raises:
      InputError: It is there.
    """
    if path is not None and local_path(path).exists() and not overwrite:
        raise InputError(f"'{path}' exists already; name another file or ask to overwrite it (--overwrite)")


def write_schema(inspection: Inspection, path: str | Path) -> None:
    """Writes the proposed schema, with comments.

    Raises:
      InputError: None can be proposed.
    """
    text = inspection.schema_text()
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_config(inspection: Inspection, path: str | Path, schema: str | Path) -> None:
    """Writes a configuration that trains on the table with a schema file that was written for it.

    Args:
      inspection: Of files.
      path: The configuration to write.
      schema: The schema file.
    """
    folder = local_path(path).resolve().parent
    data, of_schema = (os.path.relpath(local_path(other).resolve(), folder) for other in (inspection.source, schema))
    with atomic_file(path) as partial:
        partial.write_text(config_text(data, of_schema, by_time=inspection.is_dated), encoding="utf-8")


def _require_columns(source: Source, schema: Schema) -> None:
    # Later files are held against the first one while they are read. One without any column has no rows either.
    for name in schema.columns if source.columns else ():
        fault = source.fault(name)
        if fault is not None:
            raise InputError(f"{source.files[0]}: {fault}")
