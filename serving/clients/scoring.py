"""Files of rows -> a file of scores, over REST or gRPC."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pandas as pd

from htlnet_tf.errors import InputError
from htlnet_tf.files import local_path
from htlnet_tf.serving.clients.opening import open_client
from htlnet_tf.serving.clients.row_files import RowFiles
from htlnet_tf.serving.clients.schema_rows import SchemaRows
from htlnet_tf.serving.clients.score_files import score_file_writer

if TYPE_CHECKING:
    from htlnet_tf.schema import Schema

_Result = TypeVar("_Result")

_ROWS_PER_REQUEST = 1000
_ROWS_PER_REPORT = 100_000
_ADVICE = "a table that is written in another way is read by the schema of the training: --schema"


def score_file(
    url: str,
    model_name: str,
    source: str | Path | Sequence[str | Path],
    destination: str | Path | None = None,
    *,
    version: int | None = None,
    label: str | None = None,
    schema: Schema | str | Path | None = None,
    keep: Sequence[str] = (),
    write: Callable[[str], None] | None = None,
) -> int:
    """Scores every row of files and writes the scores, in the order of the rows and of the files' paths.

    Rows are read, scored and written a thousand at a time, so a table may be larger than the memory.

    Args:
      url: Of the server: `http://localhost:8501`, or `grpc://localhost:8500`.
      model_name: The model's name there.
      source: A file, folder or glob of CSV, Parquet or TFRecord files with the model's raw columns; further columns are
        ignored.
      destination: The file to write, by an atomic rename: Parquet if it ends in `.parquet`, else CSV; None: CSV to
        standard output.
      version: Version to ask; None for the one that `label` names, or the latest.
      label: Version label to ask; None for none.
      schema: The schema that the model was trained with, or the path of its file or run folder: files are read by it.
        None: columns have the names of the model's inputs, and values as JSON would have them.
      keep: Columns of the files that are written before the scores.
      write: Given a line of progress every 100,000 rows; None: nobody is told.

    Returns:
      The number of rows.

    Raises:
      InputError: A file cannot be read, a column is missing or of a wrong type, or is called like a score.
      ServingError: The server cannot be reached or refuses a request.
    """
    scored = 0
    reading = None if schema is None else SchemaRows(schema)
    declared = None if reading is None else reading.declared
    with open_client(url, model_name, version=version, label=label, schema=declared) as client:
        signature = client.signature()
        settled = None if reading is None else reading.of_model(signature)
        files = RowFiles(source, signature, schema=settled, keep=keep)
        if destination is not None:
            files.require_other(local_path(destination))
        with score_file_writer(destination) as append:
            pieces = files.pieces(_ROWS_PER_REQUEST)
            while (piece := _advised(lambda: next(pieces, None), schema)) is not None:
                file, rows = piece
                scores = _advised(functools.partial(client.predict, rows), schema, f"'{file}': ")
                append(_beside(rows, files.keep, scores))
                before, scored = scored, scored + len(rows)
                if write is not None and scored // _ROWS_PER_REPORT > before // _ROWS_PER_REPORT:
                    write(f"{scored:,} rows scored")
    return scored


def _advised(call: Callable[[], _Result], schema: object, place: str = "") -> _Result:
    """What a call returns; its refusals, if files are read without a schema, say the place and what to try."""
    try:
        return call()
    except InputError as error:
        if schema is not None:
            raise
        raise InputError(f"{place}{error} ({_ADVICE})") from error


def _beside(rows: pd.DataFrame, keep: Sequence[str], scores: pd.DataFrame) -> pd.DataFrame:
    """Kept columns, then the scores."""
    for name in keep:
        if name in scores:
            raise InputError(f"column '{name}' cannot be kept: a score has the same name")
    return pd.concat([rows[list(keep)], scores], axis=1)
