"""Rows -> the inputs of a signature as training reads them, by the schema that the model was trained with."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from htlnet_tf.data.raw_features import raw_features
from htlnet_tf.data.request_rows import schema_of_model
from htlnet_tf.errors import InputError, RowError
from htlnet_tf.schema import Schema, load_schema
from htlnet_tf.serving.clients.columns import Columns, in_shape, require_own_values, split_for_candidates
from htlnet_tf.serving.clients.rows import Rows, User, checked_user, columns_of
from htlnet_tf.serving.signatures import Signature


class SchemaRows:
    """Reads rows by a schema: the table's own column names, decimal marks, formats of times, lists, datetimes.

    Args:
      schema: The schema, or the path of its file or of a run folder.

    Attributes:
      declared: The schema.
      outputs: Names of the outputs, in funnel order.

    Raises:
      InputError: The schema cannot be read.
    """

    def __init__(self, schema: Schema | str | Path) -> None:
        self.declared = schema if isinstance(schema, Schema) else load_schema(schema)
        self.outputs = tuple(self.declared.outputs)
        # A table comes along with its labels; a dict of any other column may hold a typing error.
        self._known = frozenset(self.declared.columns)
        self._settled: tuple[dict[str, str], Schema] | None = None

    def of_model(self, signature: Signature) -> Schema:
        """The schema with every dtype settled.

        Args:
          signature: Takes the features by name.

        Raises:
          InputError: The schema is not the one of the model.
        """
        dtypes = {name: info.dtype for name, info in signature.inputs.items()}
        settled = self._settled  # another thread may replace it meanwhile
        if settled is None or settled[0] != dtypes:
            settled = self._settled = (dtypes, schema_of_model(self.declared, dtypes))
        return settled[1]

    def columns(self, rows: Rows, signature: Signature) -> Columns:
        """As `to_columns`, by the schema.

        Raises:
          InputError: As in `to_columns` and `raw_features`, or the schema is not the one of the model.
        """
        columns = self._columns(rows, signature, self.of_model(signature), signature.inputs)
        require_own_values(signature, len(columns.index))
        return columns

    def candidate_columns(self, user: User, items: Rows, signature: Signature) -> Columns:
        """As `to_candidate_columns`, by the schema.

        Raises:
          InputError: As in `to_candidate_columns` and `raw_features`, or the schema is not the one of the model.
        """
        schema = self.of_model(signature)
        shared, own = split_for_candidates(signature)
        of_user = _sources(schema, shared.inputs)
        of_items = _sources(schema, own.inputs)
        known = self._known - (set(of_items) - set(of_user))
        user = checked_user(user, of_user, known, of_items)
        once: dict[str, list[Any]] = {}
        if shared.inputs:
            try:
                once = self._columns([user], signature, schema, shared.inputs).values
            except RowError as error:
                told = f"column '{error.column}' of the user: {error.rule}; received {error.value!r}"
                raise InputError(told) from error
        columns = self._columns(items, signature, schema, own.inputs, " of the items")
        return Columns(once | columns.values, columns.index)

    def _columns(
        self, rows: Rows, signature: Signature, schema: Schema, features: Collection[str], of_what: str = ""
    ) -> Columns:
        if isinstance(rows, pd.DataFrame):
            frame = rows
        else:
            columns, index = columns_of(rows, _sources(schema, features), self._known, of_what)
            frame = pd.DataFrame({name: _array(values) for name, values in columns.items()}, index)
        raw = raw_features(frame, schema, only=features)
        values = {name: in_shape(array.tolist(), signature.inputs[name]) for name, array in raw.items()}
        return Columns(values, frame.index)


def _sources(schema: Schema, features: Collection[str]) -> list[str]:
    """What the table calls the columns of features, each once."""
    return list(dict.fromkeys(feature.source for feature in schema.inputs if feature.name in features))


def _array(values: list[Any]) -> np.ndarray:
    """Values as they are: as pandas would guess, whole numbers with a gap among them would be floats."""
    dtype = _EXACT.get(type(values[0]))
    if dtype is not None and len(set(map(type, values))) == 1:
        with contextlib.suppress(OverflowError):
            return np.array(values, dtype)
    array = np.empty(len(values), object)
    for position, value in enumerate(values):  # assigned at once, lists of one length would be taken for a table
        array[position] = value
    return array


_EXACT = {int: np.int64, float: np.float64, str: np.object_}
"""Types whose values need no object each."""
