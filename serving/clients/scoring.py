"""A file of rows -> a file of scores, over REST or gRPC."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TextIO

import pandas as pd

from htlnet_tf.errors import InputError
from htlnet_tf.files import atomic_file
from htlnet_tf.serving.clients.opening import open_client
from htlnet_tf.serving.clients.row_files import ADVICE, read_rows
from htlnet_tf.serving.signatures import Signature

_ROWS_PER_REQUEST = 1000
_ROWS_PER_REPORT = 100_000


def score_file(
    url: str,
    model_name: str,
    source: str | Path,
    destination: str | Path | None = None,
    *,
    version: int | None = None,
    label: str | None = None,
    read: Callable[[Signature], Iterable[pd.DataFrame]] | None = None,
    write: Callable[[str], None] | None = None,
) -> int:
    """Scores every row of a file and writes the scores as CSV, in the order of the rows.

    Rows are read, scored and written a thousand at a time, so a file may be larger than the memory.

    Args:
      url: Of the server: `http://localhost:8501`, or `grpc://localhost:8500`.
      model_name: The model's name there.
      source: A `.csv`, `.csv.gz` or `.parquet` file with the model's raw columns; further columns are ignored.
      destination: The CSV file to write, by an atomic rename; None: standard output.
      version: Version to ask; None for the one that `label` names, or the latest.
      label: Version label to ask; None for none.
      read: Reads the rows of `source` in pieces, columns named and typed as a signature has them; None: columns are
        taken by these names, with values as JSON would have them.
      write: Given a line of progress every 100,000 rows; None: nobody is told.

    Returns:
      The number of rows.

    Raises:
      InputError: The file cannot be read, or a column is missing or of a wrong type.
      ServingError: The server cannot be reached or refuses a request.
    """
    scored = 0
    with open_client(url, model_name, version=version, label=label) as client, _opened(destination) as output:
        signature = client.signature()
        for rows in read_rows(source, signature, rows=_ROWS_PER_REQUEST) if read is None else read(signature):
            try:
                scores = client.predict(rows)
            except InputError as error:
                advice = "" if read is not None else f" ({ADVICE})"
                raise InputError(f"'{source}': {error}{advice}") from error
            scores.to_csv(output, index=False, header=scored == 0)
            before, scored = scored, scored + len(rows)
            if write is not None and scored // _ROWS_PER_REPORT > before // _ROWS_PER_REPORT:
                write(f"{scored:,} rows scored")
    return scored


@contextlib.contextmanager
def _opened(destination: str | Path | None) -> Iterator[TextIO]:
    if destination is None:
        yield sys.stdout
        return
    with atomic_file(destination) as partial, partial.open("w", encoding="utf-8", newline="") as output:
        yield output
