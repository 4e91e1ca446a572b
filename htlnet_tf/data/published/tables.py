"""Reads the CSV files of published data sets, naming file, line, column and value of whatever is wrong in them."""

from __future__ import annotations

import contextlib
import csv
import gzip
import zlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO, cast

import numpy as np
import pandas as pd

from htlnet_tf.errors import InputError
from htlnet_tf.schema import Schema

UNREADABLE = (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error)
"""What reading a truncated or garbled file raises; a truncated gzip is an EOFError."""


def refuse_outcomes(schema: Schema | None, outcomes: Collection[str], *, data: str, known_by: str) -> None:
    """Checks that no feature is an outcome.

    Args:
      schema: What is going to be trained; None is not checked.
      outcomes: Columns that are not known yet when a prediction is asked for.
      data: Name of the data set, for the message.
      known_by: The moment by which a feature must be known, such as "the impression".

    Raises:
      InputError: A feature is an outcome.
    """
    for feature in () if schema is None else schema.features:
        if feature.name in outcomes:
            raise InputError(
                f"features must be known before {known_by}, but '{feature.name}' is an outcome of it, so the model "
                f"would read the answer. The outcomes of {data} are {sorted(outcomes)}"
            )


def find_file(folder: Path, name: str) -> Path | None:
    """The file `name` or `name`.gz in a folder, the plain one if both are there; None if neither is."""
    return next((file for file in (folder / name, folder / f"{name}.gz") if file.is_file()), None)


@contextlib.contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Opens a text file in UTF-8 for the csv module, unpacking it if its name ends in .gz."""
    if path.suffix == ".gz":
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            yield cast(TextIO, file)
    else:
        with path.open(encoding="utf-8", newline="") as file:
            yield file


def unreadable(path: Path, error: BaseException, line: int = 0) -> InputError:
    """The error for a file that cannot be read; `line` is the last one that could be, 0 if that is not known."""
    place = f" at line {line}" if line else ""
    return InputError(f"{path.name} cannot be read as CSV in UTF-8{place} and may be truncated or garbled: {error}")


def require_header(path: Path, header: list[str], columns: Collection[str]) -> None:
    """Checks that the columns are in the header, each once.

    Raises:
      InputError: One is not.
    """
    for name in columns:
        if header.count(name) != 1:
            raise InputError(
                f"{path.name}: column '{name}' must be there once, but is there {header.count(name)} times; "
                f"its columns are {header}"
            )


def read_table(
    path: Path,
    columns: Mapping[str, str],
    *,
    key: str | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    choices: Mapping[str, Collection[str]] | None = None,
) -> pd.DataFrame:
    """Reads the given columns of a CSV file with a header, and checks every value.

    Args:
      path: The file; unpacked if its name ends in .gz.
      columns: By column name: `"int64"`, an integer in every row; `"Int64"`, a code, nullable, so that a missing value
        or a missing match does not turn 3 into 3.0; `"float64"`, an amount, NaN where missing; `"string"`, NaN where
        missing.
      key: A column whose values must be unique.
      bounds: By column name, the interval (inclusive) in which the values must lie.
      choices: By column name, the values that there are.

    Returns:
      The columns, in the order of `columns`; index 0 .. n-1.

    Raises:
      InputError: The file or a value breaks a rule.
    """
    _check_lines(path, columns)
    strings = {name: str for name, dtype in columns.items() if dtype == "string"}
    # Numeric columns are left to inference: a declared dtype would fail without a word on which line is at fault.
    raw = pd.read_csv(path, usecols=list(columns), dtype=strings, low_memory=False, encoding="utf-8")
    typed = {c: raw[c] if c in strings else _numbers(raw[c], dtype, path.name) for c, dtype in columns.items()}
    table = pd.DataFrame(typed)
    for name, (low, high) in (bounds or {}).items():
        require(table[name].between(low, high), raw[name], path.name, f"must lie in [{low}, {high}]")
    for name, known in (choices or {}).items():
        require(table[name].isin(list(known)), raw[name], path.name, f"must be one of {sorted(known)}")
    if key is not None:
        require(~table.duplicated(key), raw[key], path.name, "must be unique")
    return table


def require(
    good: np.ndarray | pd.Series[Any], raw: pd.Series[Any], file: str, rule: str, *, first_line: int | None = 2
) -> None:
    """Raises for the first row of a file that breaks a rule.

    Args:
      good: bool [N], the rows that keep it.
      raw: The column as it was read, in the order of the file.
      file: Name of the file.
      rule: What the column must be, continuing "column 'x' ...".
      first_line: Line of the first row; in CSV, line 1 is the header. None: the file has no lines, so rows are named,
        counted from 0.

    Raises:
      InputError: There is such a row.
    """
    rows = np.asarray(good, dtype=bool)
    if not rows.all():
        first = int(rows.argmin())
        value = "nothing" if pd.isna(raw.iloc[first]) else repr(raw.iloc[first])
        place = f"row {first}" if first_line is None else f"line {first + first_line}"
        raise InputError(
            f"{file}: column '{raw.name}' {rule}; {place} has {value} ({int((~rows).sum())} of "
            f"{len(rows)} rows break the rule)"
        )


def _check_lines(path: Path, columns: Collection[str]) -> None:
    """Every line must have as many fields as the header; pandas pads short ones and shifts long ones silently."""
    num_rows = 0
    blank_line = 0
    rows = None
    try:
        with open_text(path) as file:
            rows = csv.reader(file, strict=True)
            header = next(rows, [])
            require_header(path, header, columns)
            for row in rows:
                if not row:
                    blank_line = blank_line or rows.line_num  # good at the end of the file only
                elif blank_line or len(row) != len(header):
                    raise InputError(
                        f"{path.name}: line {blank_line or rows.line_num} must have {len(header)} fields as the "
                        f"header, but has {0 if blank_line else len(row)}; the file may be truncated or garbled"
                    )
                num_rows += bool(row)
    except UNREADABLE as error:
        raise unreadable(path, error, 0 if rows is None else rows.line_num) from error
    if num_rows == 0:
        raise InputError(f"{path.name}: at least one row is needed below the header; '{path}' has none")


def _numbers(raw: pd.Series[Any], dtype: str, file: str) -> pd.Series[Any]:
    # A column with garbled values (or "True") is not inferred as numeric; as text, its good values still parse.
    values = raw if raw.dtype.kind in "iuf" else pd.to_numeric(raw.astype(str), errors="coerce")
    is_code = dtype != "float64"
    as_float = values.to_numpy(dtype=np.float64)
    good = np.isfinite(as_float)
    if is_code:
        good &= (as_float == np.floor(as_float)) & (np.abs(as_float) < 2.0**63)
    if dtype != "int64":
        good |= raw.isna().to_numpy()
    require(good, raw, file, "must be an integer" if is_code else "must be a finite number")
    # From `values`, not `as_float`: float64 would lose the last digits of large ids.
    return values.astype(dtype)  # type: ignore[call-overload,no-any-return]
