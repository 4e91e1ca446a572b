"""Parquet files as Arrow record batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from htlnet_tf.data.sources.listing import reading

_WHAT = "a Parquet file"
# Pages are read as they are needed. Whole column chunks would put a row group of a million rows into memory at once.
_BUFFER_BYTES = 1 << 20


def header(file: str) -> pa.Schema:
    """Names and types of a file's columns.

    Raises:
      InputError: The file is damaged.
    """
    with reading(file, _WHAT):
        return pq.read_schema(file)


def blocks(
    file: str, types: Mapping[str, pa.DataType], *, chunk_rows: int
) -> Iterator[tuple[pd.Index, pa.RecordBatch]]:
    """Reads a file in order.

    Args:
      file: The path.
      types: By name, the columns to read, as `header` gives them.
      chunk_rows: Rows per batch at most.

    Returns:
      Pairs: row numbers [n], and a batch of n rows; text is dictionary-encoded.

    Raises:
      InputError: The file is damaged.
    """
    text = [name for name, type_ in types.items() if _is_plain_text(type_)]
    first = 0
    with (
        reading(file, _WHAT),
        pq.ParquetFile(file, read_dictionary=text, pre_buffer=False, buffer_size=_BUFFER_BYTES) as opened,
    ):
        for batch in opened.iter_batches(chunk_rows, columns=list(types), use_threads=True):
            yield pd.RangeIndex(first, first + batch.num_rows), batch
            first += batch.num_rows


def _is_plain_text(type_: pa.DataType) -> bool:
    return pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_binary(type_)
