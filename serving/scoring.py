"""A file of rows -> a file of scores, over REST."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from htlnet_tf.errors import InputError
from htlnet_tf.files import atomic_file
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
    with atomic_file(destination) as partial:
        scores.to_csv(partial, index=False)
    return len(scores)


def read_rows(source: str | Path, signature: Signature) -> pd.DataFrame:
    """Reads a file of rows with the types of the signature, so that "007" in a text column is not read as 7.

    Raises:
      InputError: The file is missing, of another type, damaged, or has no rows.
    """
    path = Path(source)
    # Text columns stay text and whole numbers with gaps whole: as floats, ids beyond 2**53 would change.
    kinds = {"DT_STRING": "str", "DT_INT64": "Int64"}
    dtypes = {name: kinds[info.dtype] for name, info in signature.inputs.items() if info.dtype in kinds}
    try:
        if path.name.endswith(".parquet"):
            rows = pd.read_parquet(path)
        elif path.name.endswith((".csv", ".csv.gz")):
            rows = pd.read_csv(path, dtype=dtypes)
        else:
            raise InputError(f"'{path}' must be a .csv, .csv.gz or .parquet file")
    except (OSError, ValueError, EOFError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot read '{path}': {error}") from error
    if rows.empty:
        raise InputError(f"'{path}' has no rows")
    return rows
