"""Parquet files as Arrow record batches."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

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


def own_row_groups(file: str, count: int, index: int) -> list[int] | None:
    """The row groups of a file for one of several readers, who together have each once.

    Larger ones are given away first, each to the reader with the fewest rows so far: of groups of one size a reader has
    every count-th.

    Args:
      file: The path.
      count: Readers.
      index: Which of them.

    Returns:
      Numbers, increasing. None: the file has too few row groups, so that a reader would have none, or more than
      5/4 of an even share.

    Raises:
      InputError: The file is damaged.
    """
    with reading(file, _WHAT):
        metadata = pq.read_metadata(file)
    rows = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    groups: list[list[int]] = [[] for _ in range(count)]
    shares = [0] * count
    for number in sorted(range(len(rows)), key=lambda number: -rows[number]):
        least = shares.index(min(shares))
        groups[least].append(number)
        shares[least] += rows[number]
    is_even = min(shares) > 0 and 4 * count * max(shares) <= 5 * sum(rows)
    return sorted(groups[index]) if is_even else None


def blocks(
    file: str, types: Mapping[str, pa.DataType], *, chunk_rows: int, row_groups: Sequence[int] | None = None
) -> Iterator[tuple[pd.Index, pa.RecordBatch]]:
    """Reads a file in order.

    Args:
      file: The path.
      types: By name, the columns to read, as `header` gives them.
      chunk_rows: Rows per batch at most.
      row_groups: Read these alone, and nothing else of the file; None: all.

    Returns:
      Pairs: row numbers [n], and a batch of n rows; text is dictionary-encoded.

    Raises:
      InputError: The file is damaged.
    """
    text = [name for name, type_ in types.items() if _is_plain_text(type_)]
    with (
        reading(file, _WHAT),
        pq.ParquetFile(file, read_dictionary=text, pre_buffer=False, buffer_size=_BUFFER_BYTES) as opened,
    ):
        metadata = opened.metadata
        starts = itertools.accumulate(
            (metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)), initial=0
        )
        start_of = dict(enumerate(starts))
        # A batch of all reaches over the ends of groups.
        for part in [None] if row_groups is None else [[number] for number in row_groups]:
            first = 0 if part is None else start_of[part[0]]
            for batch in opened.iter_batches(chunk_rows, row_groups=part, columns=list(types), use_threads=True):
                yield pd.RangeIndex(first, first + batch.num_rows), batch
                first += batch.num_rows


def _is_plain_text(type_: pa.DataType) -> bool:
    return pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_binary(type_)
