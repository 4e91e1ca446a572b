"""A file of rows -> a file of scores, over REST."""

from __future__ import annotations

import sys
import uuid
from pathlib import Path

import pandas as pd

from htlnet_tf.errors import InputError
from htlnet_tf.serving.rest_client import RestClient
from htlnet_tf.serving.signatures import Signature

_ROWS_PER_REQUEST = 1000


def score_file(url: str, model_name: str, source: str | Path, destination: str | Path | None = None) -> int:
    """Scores every row of a file and writes the scores as CSV, in the order of the rows.

    Args:
      url: Of the server, e.g. `http://localhost:8501`.
      model_name: The model's name there.
      source: A `.csv`, `.csv.gz` or `.parquet` file with the model's raw columns; further columns are ignored.
      destination: The CSV file to write, by an atomic rename; None: standard output.

    Returns:
      The number of rows.

    Raises:
      InputError: The file cannot be read, or a column is missing or of a wrong type.
      ServingError: The server cannot be reached or refuses a request.
    """
    with RestClient(url, model_name) as client:
        rows = read_rows(source, client.signature())
        parts = [
            client.predict(rows.iloc[start : start + _ROWS_PER_REQUEST])
            for start in range(0, len(rows), _ROWS_PER_REQUEST)
        ]
    scores = pd.concat(parts)
    if destination is None:
        scores.to_csv(sys.stdout, index=False)
        return len(scores)
    final = Path(destination)
    partial = final.parent / f".{final.name}.{uuid.uuid4().hex}.partial"
    try:
        scores.to_csv(partial, index=False)
        partial.replace(final)
    except OSError as error:
        raise InputError(f"cannot write '{final}': {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return len(scores)


def read_rows(source: str | Path, signature: Signature) -> pd.DataFrame:
    """Reads a file of rows; text columns of the signature stay text, so that "007" is not read as 7.

    Raises:
      InputError: The file is missing, of another type, damaged, or has no rows.
    """
    path = Path(source)
    text = {name: "str" for name, info in signature.inputs.items() if info.dtype == "DT_STRING"}
    try:
        if path.name.endswith(".parquet"):
            rows = pd.read_parquet(path)
        elif path.name.endswith((".csv", ".csv.gz")):
            rows = pd.read_csv(path, dtype=text)
        else:
            raise InputError(f"'{path}' must be a .csv, .csv.gz or .parquet file")
    except (OSError, ValueError, EOFError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot read '{path}': {error}") from error
    if rows.empty:
        raise InputError(f"'{path}' has no rows")
    return rows
