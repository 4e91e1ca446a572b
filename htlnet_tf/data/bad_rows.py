"""Rows that break a rule of the schema: what is noted of them where they are left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import pandas as pd

from htlnet_tf.errors import RowError
from htlnet_tf.files import atomic_file

OnBadRows = Literal["error", "skip"]
Checked = TypeVar("Checked")


class BadRow(NamedTuple):
    """A row that was left out.

    Attributes:
      file: Where it stands.
      row: Its number there; the first row after the header is 0.
      column: At fault; empty for a line that could not be read.
      rule: What the column must be.
      value: What it has.
    """

    file: str
    row: int
    column: str
    rule: str
    value: str

    def __str__(self) -> str:
        place = f"{self.file}, row {self.row}" + (f", column '{self.column}'" if self.column else "")
        return f"{place}: {self.rule}; received {self.value!r}"


def bad_line(file: str, row: int, reason: str) -> BadRow:
    """A line of a file that could not be cut into the columns."""
    return BadRow(file, row, "", "a line of the file", reason)


class BadRows:
    """The rows that a stream has left out, each once, however often the stream is read."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[int, BadRow]] = {}
        self._checked: set[str] = set()

    def add(self, row: BadRow) -> None:
        """Notes a row; a second fault of the same row is not kept."""
        self._rows.setdefault(row.file, {}).setdefault(row.row, row)

    def note(self, frame: pd.DataFrame, good: np.ndarray, error: RowError) -> None:
        """Notes rows at fault, which are good ones no longer.

        Args:
          frame: A chunk of a file, its name in `attrs["file"]`, indexed by row number there.
          good: bool [N], the rows that were checked; those at fault become False.
          error: What the check of the good rows raised.
        """
        at_fault = np.flatnonzero(good)[error.rows]
        file = str(frame.attrs["file"])
        for position in at_fault:
            value = frame[error.column].iloc[position]
            self.add(BadRow(file, int(frame.index[position]), error.column, error.rule, str(value)))
        good[at_fault] = False

    def without(
        self, frame: pd.DataFrame, good: np.ndarray, check: Callable[[pd.DataFrame], Checked]
    ) -> Checked | None:
        """Checks the good rows of a chunk and notes those at fault, until the others pass.

        Args:
          frame: As of `note`.
          good: As of `note`.
          check: Called with the good rows; raises `RowError` where some break a rule.

        Returns:
          What `check` gave of the rows that passed; None if there are none.
        """
        while good.any():
            try:
                return check(frame[good])
            except RowError as error:
                self.note(frame, good, error)
        return None

    def complete(self, file: str) -> None:
        """Notes that every row of a file has been checked."""
        self._checked.add(file)

    def of(self, file: str) -> np.ndarray | None:
        """The numbers of a file's bad rows, int64; None as long as it has not been checked to its end."""
        if file not in self._checked:
            return None
        return np.fromiter(self._rows.get(file, {}), np.int64)

    def __len__(self) -> int:
        return sum(map(len, self._rows.values()))

    def first(self) -> BadRow:
        """The first of them in order of file and row."""
        return min(row for rows in self._rows.values() for row in rows.values())

    def to_frame(self) -> pd.DataFrame:
        """One line per row, in order of file and row: the fields of `BadRow`."""
        return pd.DataFrame(
            sorted(row for rows in self._rows.values() for row in rows.values()), columns=list(BadRow._fields)
        )

    def write(self, path: str | Path) -> None:
        """Writes them as CSV, by an atomic rename."""
        with atomic_file(path) as partial:
            self.to_frame().to_csv(partial, index=False)


def settled(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns that were text for the sake of a value that is gone, as what the others are."""
    result = frame.copy()
    for name in frame:
        column = frame[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            kept = column.cat.remove_unused_categories()
            kind = pd.api.types.infer_dtype(kept.cat.categories)
            result[name] = kept.astype(_SETTLED[kind]) if kind in _SETTLED else kept
    result.attrs = frame.attrs
    return result


_SETTLED: dict[str, Any] = {
    "integer": "Int64",
    "floating": "float64",
    "mixed-integer-float": "float64",
    "datetime": "datetime64[us]",
    "datetime64": "datetime64[us]",
}
