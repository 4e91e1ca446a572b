"""A file of rows, read piece by piece with the types of a signature."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from htlnet_tf.errors import InputError
from htlnet_tf.files import local_path
from htlnet_tf.serving.signatures import Signature

ADVICE = "a table that is written in another way is read by the schema of the training: --schema"
# Text columns stay text ("007" is not 7) and whole numbers with gaps whole: as floats, ids beyond 2**53 would change.
_CSV_TYPES = {"DT_STRING": "str", "DT_INT64": "Int64"}
# What stands for "missing" in a column of numbers; a text "NA" is a value like any other, as it is in training.
_MISSING_NUMBERS = ["", "NaN", "nan", "NULL", "null", "NA", "None"]


def read_rows(source: str | Path, signature: Signature, *, rows: int) -> Iterator[pd.DataFrame]:
    """Reads a file in pieces, so that its size does not matter.

    Args:
      source: A `.csv`, `.csv.gz` or `.parquet` file.
      signature: Says which columns are needed, and their types; others are left out.
      rows: At most so many per piece.

    Returns:
      Frames, indexed by row number in the file, the header not counted.

    Raises:
      InputError: The file is missing, of another type, damaged, or has no rows.
    """
    path = local_path(source)
    read = _READERS.get("".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix)
    if read is None:
        raise InputError(f"'{path}' must be a .csv, .csv.gz or .parquet file")
    first = 0
    try:
        for piece in read(path, signature, rows):
            if len(piece):
                yield piece.set_axis(pd.RangeIndex(first, first + len(piece)))
            first += len(piece)
    except (OSError, ValueError, EOFError) as error:
        if isinstance(error, InputError):
            raise
        advice = f" ({ADVICE})" if isinstance(error, ValueError) else ""
        raise InputError(f"cannot read '{path}': {error}{advice}") from error
    if not first:
        raise InputError(f"'{path}' has no rows")


def _csv(path: Path, signature: Signature, rows: int) -> Iterator[pd.DataFrame]:
    dtypes = {name: _CSV_TYPES[info.dtype] for name, info in signature.inputs.items() if info.dtype in _CSV_TYPES}
    missing = {name: [""] if info.dtype == "DT_STRING" else _MISSING_NUMBERS for name, info in signature.inputs.items()}
    header = pd.read_csv(path, nrows=0).columns
    with pd.read_csv(
        path,
        # A file without any of the columns still has rows, and the client says which column is missing.
        usecols=[name for name in header if name in signature.inputs] or header[:1].tolist(),
        dtype=dtypes,
        na_values=missing,
        keep_default_na=False,
        chunksize=rows,
    ) as pieces:
        yield from pieces


def _parquet(path: Path, signature: Signature, rows: int) -> Iterator[pd.DataFrame]:
    whole = {pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int32Dtype(), pa.uint64(): pd.UInt64Dtype()}
    with pyarrow.parquet.ParquetFile(path) as file:
        names = [name for name in file.schema_arrow.names if name in signature.inputs]
        for batch in file.iter_batches(rows, columns=names):
            yield batch.to_pandas(types_mapper=whole.get)


_READERS = {".csv": _csv, ".csv.gz": _csv, ".parquet": _parquet}
