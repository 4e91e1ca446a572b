"""Scores as a file, piece by piece: CSV or Parquet."""

from __future__ import annotations

import contextlib
import gzip
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from htlnet_tf.errors import InputError
from htlnet_tf.files import atomic_file, local_path

Write = Callable[[pd.DataFrame], None]
"""Appends rows; all frames have the same columns."""


@contextlib.contextmanager
def score_file_writer(destination: str | Path | None) -> Iterator[Write]:
    """Opens a file of scores that appears whole or not at all.

    Args:
      destination: A path that ends in `.parquet`, or a CSV file, packed by gzip if it ends in `.gz`; None: CSV to
        standard output.

    Returns:
      What appends rows to it; their index is not written.

    Raises:
      InputError: The file cannot be written.
    """
    if destination is None:
        yield _csv_writer(sys.stdout)
        return
    name = local_path(destination).name.lower()
    with atomic_file(destination) as partial:
        if name.endswith(".parquet"):
            with contextlib.closing(_ParquetRows(partial)) as rows:
                yield rows.append
        else:
            opened: Any = gzip.open if name.endswith(".gz") else open
            with opened(partial, "wt", encoding="utf-8", newline="") as output:
                yield _csv_writer(output)


def _csv_writer(output: Any) -> Write:
    written = False

    def append(frame: pd.DataFrame) -> None:
        nonlocal written
        frame.to_csv(output, index=False, header=not written)
        written = True

    return append


class _ParquetRows:
    """A Parquet file whose types are those of the first rows, text where they have no value."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pa.parquet.ParquetWriter | None = None

    def append(self, frame: pd.DataFrame) -> None:
        # Categories are for reading: each piece has others.
        categories = [name for name in frame if isinstance(frame[name].dtype, pd.CategoricalDtype)]
        frame = frame.astype(dict.fromkeys(categories, object))
        if self._writer is None:
            guessed = pa.Schema.from_pandas(frame, preserve_index=False)
            fields = [field.with_type(pa.string()) if pa.types.is_null(field.type) else field for field in guessed]
            self._writer = pa.parquet.ParquetWriter(self._path, pa.schema(fields))
        try:
            table = pa.Table.from_pandas(frame, self._writer.schema, preserve_index=False)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise InputError(f"a kept column has values of another type than its first ones: {error}") from error
        self._writer.write_table(table)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
