"""Looking at a table in files."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pandas as pd

from htlnet_tf.data.sources import open_source
from htlnet_tf.errors import InputError
from htlnet_tf.files import atomic_file
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
    write: Callable[[str], None] = print,
) -> Inspection:
    """Looks at the rows of files, in one pass.

    Args:
      path: A file, a folder or a glob of CSV, Parquet or TFRecord files.
      schema: A schema file to hold the table against.
      targets: The funnel in order, the core last, if there is no schema.
      timestamp: When a row was logged, if there is no schema.
      write: Where progress lines go.

    Raises:
      InputError: A file cannot be read or there are no rows; see also `inspect_rows`.
    """
    declared = None if schema is None else Schema.from_yaml(schema)
    source = open_source(path)

    def frames() -> Iterator[pd.DataFrame]:
        rows, spoke = 0, time.monotonic()
        for chunk in source.chunks(schema=declared):
            rows += len(chunk.frame)
            if time.monotonic() - spoke > _SECONDS_BETWEEN_LINES:
                spoke = time.monotonic()
                write(f"  {rows:,} rows read, now {chunk.file}")
            yield chunk.frame

    return inspect_rows(frames(), schema=declared, targets=targets, timestamp=timestamp, source=str(path))


def write_schema(inspection: Inspection, path: str | Path, *, overwrite: bool = False) -> None:
    """Writes the proposed schema, with comments, by an atomic rename.

    Raises:
      InputError: The file exists and `overwrite` is False, or no schema can be proposed.
    """
    if Path(path).exists() and not overwrite:
        raise InputError(f"'{path}' exists already; name another file or ask to overwrite it (--overwrite)")
    text = inspection.schema_text()
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
