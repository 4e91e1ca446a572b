"""Which rows of a table break the schema that it is held against."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from htlnet_tf.data.labels import label_values
from htlnet_tf.data.raw_features import categorical_dtype, distinct_values, raw_numbers
from htlnet_tf.data.users import read_users
from htlnet_tf.errors import RowError
from htlnet_tf.schema import Categorical, Numeric, Schema, Timestamp

_MAX_SHOWN = 80  # characters of a value


@dataclass(frozen=True)
class BrokenRule:
    """A rule of the schema that rows of a column break; training refuses them, or leaves them out.

    Args:
      column: At fault.
      rule: What its values must be.
      rows: How many rows break it; a row that breaks several rules of a column counts for the first of them alone.
      file: Where the first one stands; None if the rows did not come from a file.
      row: The number of the first one, counted from 0: in its file, or over all rows where there is no file.
      value: What the first one has, as Python writes it.
    """

    column: str
    rule: str
    rows: int
    file: str | None
    row: int
    value: str


class SchemaCheck:
    """Holds a table against a schema chunk by chunk, by the checks that reading it for training does.

    Args:
      schema: A categorical feature whose dtype is left open takes that of the first rows that have a value, as it does
        in training.
    """

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._inputs = {feature.name: feature for feature in schema.inputs}
        self._sources = {feature.source for feature in schema.inputs}
        self._found: dict[tuple[str, str], BrokenRule] = {}
        self._positions: dict[tuple[str, str], int] = {}  # of the first row, over all rows

    def update(self, frame: pd.DataFrame, first_row: int) -> None:
        """Adds a chunk.

        Args:
          frame: [N >= 1] rows with the schema's columns. With a file in `attrs["file"]`, its index are row numbers.
          first_row: How many rows came before.
        """
        for name in self._inputs:
            self._check_input(frame, first_row, name)
        self._check_labels(frame, first_row)
        try:
            read_users(frame, self._schema)
        except RowError as error:
            if error.column not in self._sources:  # else it has been noted as a feature
                self._note(frame, first_row, error.column, error.rule, error.rows)

    def result(self) -> tuple[BrokenRule, ...]:
        """The broken rules by column, in the schema's order, then by their first row."""
        columns = self._schema.columns
        order = sorted(self._found, key=lambda key: (columns.index(key[0]), self._positions[key]))
        return tuple(self._found[key] for key in order)

    def _check_input(self, frame: pd.DataFrame, first_row: int, name: str) -> None:
        source = self._inputs[name].source
        column = frame[source]
        if isinstance(self._inputs[name], Numeric) and _is_time(column):
            self._note(frame, first_row, source, f"feature '{name}' is numeric, no time", column.notna().to_numpy(bool))
            return
        good = np.ones(len(column), bool)
        while good.any():
            try:
                conflict = self._read(column if good.all() else column[good], name)
            except RowError as error:
                offends = np.zeros(len(column), bool)
                offends[np.flatnonzero(good)[error.rows]] = True
                self._note(frame, first_row, source, error.rule, offends)
                good &= ~offends
                continue
            if conflict is not None:
                self._note(frame, first_row, source, conflict, good & column.notna().to_numpy(bool))
            return

    def _read(self, column: pd.Series, name: str) -> str | None:
        """Reads a column as training does; returns why its dtype contradicts the declaration, if it does."""
        feature = self._inputs[name]
        if isinstance(feature, Numeric | Timestamp):
            raw_numbers(column, feature, decimal=self._schema.decimal)
            return None
        if feature.dtype is None:
            if column.isna().all():
                return None
            dtype = categorical_dtype(column, feature)
            try:
                feature = dataclasses.replace(feature, dtype=dtype)
            except ValueError as error:
                return f"its values are {dtype}, but {error}"
            self._inputs[name] = feature
        assert isinstance(feature, Categorical)
        distinct_values(column, feature)
        return None

    def _check_labels(self, frame: pd.DataFrame, first_row: int) -> None:
        """Reads labels and weights together; values at fault are noted, replaced by good ones, and all read again."""
        targets = [target.source for target in self._schema.targets]
        outcomes = frame[[*targets, *self._schema.weights]]
        good_value = dict.fromkeys(targets, np.nan) | dict.fromkeys(self._schema.weights, 1.0)

        def mend(name: str, rule: str, offends: np.ndarray) -> None:
            nonlocal outcomes
            self._note(frame, first_row, name, rule, offends)
            outcomes = outcomes.copy()
            outcomes[name] = outcomes[name].astype(object).where(~offends, good_value[name])

        for name in good_value:
            if _is_time(frame[name]):
                mend(name, "labels and weights are numbers, no times", np.ones(len(frame), bool))
        while True:
            try:
                label_values(outcomes, self._schema)
            except RowError as error:
                mend(error.column, error.rule, error.rows)
            else:
                return

    def _note(self, frame: pd.DataFrame, first_row: int, name: str, rule: str, offends: np.ndarray) -> None:
        """Counts the offending rows (bool [N]) of a chunk."""
        if not offends.any():
            return
        rows = int(offends.sum())
        known = self._found.get((name, rule))
        if known is not None:
            self._found[name, rule] = dataclasses.replace(known, rows=known.rows + rows)
            return
        first = int(np.argmax(offends))
        file = frame.attrs.get("file")
        row = first_row + first if file is None else int(frame.index[first])
        self._positions[name, rule] = first_row + first
        self._found[name, rule] = BrokenRule(name, rule, rows, file, row, _shown(frame[name].iloc[first]))


def _is_time(column: pd.Series) -> bool:
    return column.dtype.kind in "mM"


def _shown(value: Any) -> str:
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"
