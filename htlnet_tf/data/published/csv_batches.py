"""Reads a CSV file that does not fit into memory, batch by batch, naming line, column and value of what is wrong."""

from __future__ import annotations

import csv
import datetime
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from htlnet_tf.data.published.tables import UNREADABLE, open_text, require_header, unreadable
from htlnet_tf.errors import InputError

_TYPES = {"int64": pa.int64(), "float64": pa.float64(), "date": pa.date32(), "string": pa.string()}
_RULES = {"int64": "must be an integer", "float64": "must be a finite number", "date": "must be a date, YYYY-MM-DD"}


def read_batches(
    path: Path, columns: Mapping[str, str], *, not_negative: Collection[str] = (), block_bytes: int = 16 << 20
) -> Iterator[pa.Table]:
    """Yields the given columns of a CSV file with a header, in the order of the file.

    Args:
      path: The file; unpacked as it is read if its name ends in .gz.
      columns: By column name `"int64"`, `"float64"` (finite), `"date"` (YYYY-MM-DD, becomes date32), each in every row,
        or `"string"` (null where empty). Further columns are skipped.
      not_negative: Numeric columns that must not be negative.
      block_bytes: Text read at a time.

    Yields:
      Tables of one batch of rows each.

    Raises:
      InputError: The file cannot be read, a column is missing, a line has too few or too many fields, or a value is not
        of its type. The offending line is looked up only then, by reading the file again in Python.
    """
    try:
        with open_text(path) as file:
            header = next(csv.reader(file), [])
    except UNREADABLE as error:
        raise unreadable(path, error) from error
    require_header(path, header, columns)
    rows = 0
    try:
        batches = pa_csv.open_csv(
            path,
            read_options=pa_csv.ReadOptions(block_size=block_bytes),
            convert_options=pa_csv.ConvertOptions(
                column_types={name: _TYPES[dtype] for name, dtype in columns.items()},
                include_columns=list(columns),
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
        for batch in batches:
            table = pa.Table.from_batches([batch])
            if not _is_good(table, columns, not_negative):
                raise _first_fault(path, header, columns, not_negative, rows, "a value is missing or out of range")
            yield table
            rows += table.num_rows
    except (pa.ArrowException, OSError) as error:
        raise _first_fault(path, header, columns, not_negative, rows, str(error)) from error
    if rows == 0:
        raise InputError(f"{path.name}: at least one row is needed below the header; '{path}' has none")


def _is_good(table: pa.Table, columns: Mapping[str, str], not_negative: Collection[str]) -> bool:
    return all(
        (dtype == "string" or table[name].null_count == 0)
        and (dtype != "float64" or pc.all(pc.is_finite(table[name])).as_py() is not False)
        and (name not in not_negative or not table.num_rows or pc.min(table[name]).as_py() >= 0)
        for name, dtype in columns.items()
    )


def _first_fault(
    path: Path, header: list[str], columns: Mapping[str, str], not_negative: Collection[str], rows: int, reason: str
) -> InputError:
    """Finds the line at fault; the first `rows` rows are known to be good."""
    lines = None
    try:
        with open_text(path) as file:
            lines = csv.reader(file)
            next(lines)
            passed = 0
            for fields in lines:
                passed += bool(fields)
                if not fields or passed <= rows:
                    continue
                if len(fields) != len(header):
                    return InputError(
                        f"{path.name}: line {lines.line_num} must have {len(header)} fields as the header, but has "
                        f"{len(fields)}; the file may be truncated or garbled"
                    )
                for name, dtype in columns.items():
                    value = fields[header.index(name)]
                    rule = _broken_rule(value, dtype, name in not_negative)
                    if rule:
                        shown = repr(value) if value else "nothing"
                        return InputError(f"{path.name}: column '{name}' {rule}; line {lines.line_num} has {shown}")
    except UNREADABLE as error:
        return unreadable(path, error, 0 if lines is None else lines.line_num)
    return InputError(f"{path.name} cannot be read as CSV in UTF-8 and may be truncated or garbled: {reason}")


_PARSERS: dict[str, Callable[[str], float]] = {
    "int64": int,
    "float64": float,
    "date": lambda text: datetime.date.fromisoformat(text).toordinal(),
}


def _broken_rule(value: str, dtype: str, not_negative: bool) -> str | None:
    if dtype == "string":
        return None
    try:
        number = _PARSERS[dtype](value)
    except ValueError:
        return _RULES[dtype]
    if not math.isfinite(number) or (dtype == "int64" and abs(number) >= 2**63):
        return _RULES[dtype]
    return "must not be negative" if not_negative and number < 0 else None
