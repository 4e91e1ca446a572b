"""CSV files as Arrow record batches of text."""

from __future__ import annotations

import contextlib
import csv as csv_text
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv

from htlnet_tf.data.sources.listing import is_gzip, reading
from htlnet_tf.data.sources.text_values import first_not_utf8
from htlnet_tf.errors import InputError

OnBadLines = Literal["error", "skip"]
Report = Callable[[str, int, str], None]

DELIMITERS = (",", ";", "\t", "|")
_WHAT = "a CSV file"
_BLOCK_BYTES = 8 << 20
_HEADER_BYTES = 1 << 20


class _BadLines:
    """What to do with lines of another number of fields; the numbers of the data rows that were skipped, in order.

    Where such a line is an error, it is passed over all the same: the rows before it, read with it, come first.
    """

    def __init__(self, file: str, policy: OnBadLines, report: Report | None) -> None:
        self.file, self.policy, self.report = file, policy, report
        self.skipped: list[int] = []
        self.error: InputError | None = None
        self.row: int | None = None

    def __call__(self, line: csv.InvalidRow) -> str:
        # pyarrow counts from 1 and the header is one, so the first data row is number 2.
        row = line.number - 2
        rule = f"a row must have the {line.expected_columns} fields of the header; received {line.actual_columns}"
        self.skipped.append(row)
        if self.policy == "error" and self.error is None:
            self.row = row
            self.error = InputError(f"'{self.file}', row {row}: {rule}: {_shortened(line.text)}")
        elif self.policy == "skip" and self.report is not None:
            self.report(self.file, row, f"{rule}: {_shortened(line.text)}")
        return "skip"

    def before(self, rows: pd.Index) -> int:
        """How many of rows come before a line that is an error."""
        return len(rows) if self.row is None else int(rows.searchsorted(self.row))


def find_delimiter(files: Sequence[str]) -> str:
    """What separates the fields of CSV files, by the first lines of the first file that has any: the character that
    cuts them into the most fields, of which nearly all lines have as many as the header; `","` if there is none.
    """
    for file in files:
        with reading(file, _WHAT), pa.input_stream(file, compression="gzip" if is_gzip(file) else None) as stream:
            text = stream.read(_HEADER_BYTES // 4).decode("utf-8-sig", errors="replace")
        if text.strip():
            fields = {delimiter: _fields(text, delimiter) for delimiter in DELIMITERS}
            return max(DELIMITERS, key=lambda delimiter: fields[delimiter])
    return ","


def _fields(text: str, delimiter: str) -> int:
    """The fields of the header, 1 if other lines have another number of them."""
    try:
        lines = [line for line in csv_text.reader(io.StringIO(text), delimiter=delimiter) if line]
    except csv_text.Error:
        return 1
    whole = lines[:-1] if len(lines) > 2 else lines  # the last one may have been cut off
    alike = sum(len(line) == len(lines[0]) for line in whole)
    return len(lines[0]) if alike >= 0.95 * len(whole) else 1


def header(file: str, delimiter: str = ",") -> pa.Schema:
    """Names of a file's columns, all of them text; none if it is empty, as a part of a folder may be.

    Raises:
      InputError: The file is damaged.
    """
    if _is_empty(file):
        return pa.schema([])
    with (
        reading(file, _WHAT),
        _open(file, pa.binary(), None, _BadLines(file, "skip", None), _HEADER_BYTES, delimiter) as reader,
    ):
        return pa.schema([(name, pa.string()) for name in reader.schema.names])


def _is_empty(file: str) -> bool:
    with reading(file, _WHAT), pa.input_stream(file, compression="gzip" if is_gzip(file) else None) as stream:
        return not stream.read(_HEADER_BYTES).removeprefix(b"\xef\xbb\xbf").strip(b"\r\n")


def blocks(
    file: str,
    types: Mapping[str, pa.DataType],
    *,
    delimiter: str = ",",
    chunk_rows: int,
    on_bad_lines: OnBadLines,
    report: Report | None,
) -> Iterator[tuple[pd.Index, pa.RecordBatch]]:
    """Reads a file in order. The empty field is null.

    Args:
      file: The path.
      types: By name, the columns to read and as what: text, or dictionary-encoded text.
      delimiter: Between fields.
      chunk_rows: Rows per batch at most.
      on_bad_lines: `"skip"` passes over lines with too few or too many fields.
      report: Called with file, row number and reason for each skipped line.

    Returns:
      Pairs: row numbers [n] (skipped lines count, lines without a character do not), and a batch of n rows.

    Raises:
      InputError: The file is damaged, or a line is not skipped; names the row.
    """
    bad = _BadLines(file, on_bad_lines, report)
    kept = 0
    try:
        with reading(file, _WHAT), _open(file, None, types, bad, _BLOCK_BYTES, delimiter) as reader:
            for block in reader:
                rows = _row_numbers(kept, block.num_rows, bad.skipped)
                kept += block.num_rows
                good = bad.before(rows)
                for start in range(0, good, chunk_rows):
                    end = min(start + chunk_rows, good)
                    yield rows[start:end], block.slice(start, end - start)
                if good < len(rows):
                    break
            if bad.error is not None:
                raise bad.error
    except InputError as error:
        raise bad.error or _not_utf8(file, types, delimiter) or error from error.__cause__


@contextlib.contextmanager
def _open(
    file: str,
    default: pa.DataType | None,
    types: Mapping[str, pa.DataType] | None,
    bad: _BadLines,
    block_bytes: int,
    delimiter: str,
) -> Iterator[csv.CSVStreamingReader]:
    convert = csv.ConvertOptions(
        default_column_type=default,
        column_types=None if types is None else dict(types),
        include_columns=None if types is None else list(types),
        null_values=[""],
        strings_can_be_null=True,
    )
    with (
        # Left to itself, pyarrow takes a file whose name ends in .GZ for text.
        pa.input_stream(file, compression="gzip" if is_gzip(file) else None) as stream,
        csv.open_csv(
            stream,
            read_options=csv.ReadOptions(block_size=block_bytes, use_threads=False),  # with threads no row numbers
            parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=bad),
            convert_options=convert,
        ) as reader,
    ):
        yield reader


def _row_numbers(kept: int, count: int, skipped: list[int]) -> pd.Index:
    """Numbers in the file of the rows `kept .. kept + count` of those that were not skipped."""
    if not skipped:
        return pd.RangeIndex(kept, kept + count)
    # Before the i-th skipped row, skipped[i] - i rows were kept.
    before = np.asarray(skipped, np.int64) - np.arange(len(skipped))
    ranks = np.arange(kept, kept + count, dtype=np.int64)
    rows = ranks + np.searchsorted(before, ranks, side="right")
    if count == 0 or rows[-1] - rows[0] == count - 1:
        return pd.RangeIndex(rows[0], rows[0] + count) if count else pd.RangeIndex(0)
    return pd.Index(rows)


def _not_utf8(file: str, types: Mapping[str, pa.DataType], delimiter: str) -> InputError | None:
    """The first value that is not UTF-8, looked for when the reader says no more than that there is one."""
    bad, kept = _BadLines(file, "skip", None), 0
    try:
        with _open(file, None, dict.fromkeys(types, pa.binary()), bad, _BLOCK_BYTES, delimiter) as reader:
            for block in reader:
                rows = _row_numbers(kept, block.num_rows, bad.skipped)
                kept += block.num_rows
                for name in types:
                    position = first_not_utf8(block.column(name))
                    if position is not None:
                        value = block.column(name)[position].as_py()
                        return InputError(
                            f"'{file}', column '{name}', row {rows[position]}: text must be UTF-8; received {value!r}"
                        )
    except (pa.ArrowException, OSError):
        return None  # the file has another fault, which the caller reports
    return None


def _shortened(text: str, limit: int = 120) -> str:
    return repr(text if len(text) <= limit else text[:limit] + "...")
