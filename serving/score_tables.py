"""Rows of a frame and their scores as an Arrow table, and as a Parquet file; no TensorFlow in here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from htlnet_tf.data.bad_rows import BadRows, settled
from htlnet_tf.data.columns import Arrays
from htlnet_tf.data.raw_features import raw_features
from htlnet_tf.data.sources.source import Source
from htlnet_tf.errors import InputError
from htlnet_tf.schema import Schema

CHUNK_ROWS = 16_384
"""Rows that are read, scored and written at a time."""

_ROW_GROUP = 131_072
_FIRST_ROWS = 1024

Scores = Callable[[Arrays], Mapping[str, np.ndarray]]
"""From raw columns to the outputs, as `LocalServable.scores`."""


def require_kept(schema: Schema, keep: Sequence[str]) -> tuple[str, ...]:
    """The columns to keep, each once.

    Raises:
      InputError: One is called as a score is.
    """
    for name in keep:
        if name in schema.score_columns:
            raise InputError(
                f"column '{name}' cannot be kept: a score has the same name; the scores are "
                f"{list(schema.score_columns)}"
            )
    return tuple(dict.fromkeys(keep))


def kept_types(source: Source, schema: Schema, keep: Sequence[str], features: Sequence[str] | None = None) -> pa.Schema:
    """The types of kept columns in every part, by the first rows that break no rule; text where they have no value.

    Rows at fault are passed over, whatever is to become of them: by a word among its numbers a column would be text.

    Args:
      source: The files.
      schema: By which they are read.
      keep: The columns.
      features: Those of the features that are read, without one of which there are no rows; None: all.

    Raises:
      InputError: There are no rows, or a column is missing.
    """
    if not keep:
        return pa.schema([])
    read = [feature.source for feature in schema.inputs] if features is None else features
    only = [feature.name for feature in schema.inputs if feature.source in read]
    names = list(dict.fromkeys((*keep, *read)))
    for chunk in source.chunks(names, schema=schema, chunk_rows=_FIRST_ROWS, on_bad_lines="skip"):
        chunk.frame.attrs["file"] = chunk.file
        raw, good = checked_features(chunk.frame, schema, BadRows(), only=only)
        if raw is not None:
            frame = chunk.frame if good.all() else settled(chunk.frame[good])
            return pa.schema([(name, _plain(_array(frame[name], None).type)) for name in keep])
    return pa.schema([(name, pa.string()) for name in keep])  # no row of any file is written


def score_types(schema: Schema) -> pa.Schema:
    """The columns of scores: float32 each, see `Schema.outputs`."""
    return pa.schema([(name, pa.float32()) for name in schema.score_columns])


def scored_table(
    frame: pd.DataFrame, schema: Schema, scores: Scores, kept: pa.Schema, bad_rows: BadRows | None
) -> pa.Table:
    """Kept columns and scores of rows.

    Args:
      frame: A chunk of a file, its name in `attrs["file"]`; it has the columns of the features and the kept ones.
      schema: Of the training, every dtype settled.
      scores: Gives the outputs of raw columns.
      kept: The columns to keep and their types.
      bad_rows: Where rows that break a rule are noted, which are left out; None: they are an error.

    Raises:
      InputError: A row breaks a rule of a feature, or a kept column does not fit its type.
    """
    raw, good = checked_features(frame, schema, bad_rows)
    if raw is None:
        return pa.schema([*kept, *score_types(schema)]).empty_table()
    if not good.all():
        frame = settled(frame[good])
    columns = [*kept_arrays(frame, kept), *score_arrays(schema, scores(raw))]
    return pa.table(columns, [*kept.names, *schema.score_columns])


def checked_features(
    frame: pd.DataFrame, schema: Schema, bad_rows: BadRows | None, *, only: Collection[str] | None = None
) -> tuple[Arrays | None, np.ndarray]:
    """The raw columns of the rows that break no rule, None if there are none; and which rows these are, bool [N].

    Args:
      frame: As of `scored_table`.
      schema: As of `scored_table`.
      bad_rows: As of `scored_table`.
      only: Names of the features that are wanted; None: all.

    Raises:
      InputError: A row breaks a rule, if `bad_rows` is None.
    """
    good = np.ones(len(frame), bool)
    if bad_rows is None:
        return raw_features(frame, schema, only=only), good
    return bad_rows.without(frame, good, lambda rows: raw_features(rows, schema, only=only)), good


def kept_arrays(frame: pd.DataFrame, kept: pa.Schema) -> list[pa.Array]:
    """Columns of a frame in the types of every part.

    Raises:
      InputError: A column has values of another type.
    """
    return [_array(frame[field.name], field.type) for field in kept]


def score_arrays(schema: Schema, outputs: Mapping[str, np.ndarray]) -> list[pa.Array]:
    """Outputs, [N] or [N, K], as the columns of `score_types`."""
    columns = []
    for name, names in schema.outputs.items():
        values = outputs[name].astype(np.float32, copy=False).reshape(-1, len(names))
        columns += [pa.array(np.ascontiguousarray(values[:, i])) for i in range(len(names))]
    return columns


def _array(column: pd.Series, type_: pa.DataType | None) -> pa.Array:
    try:
        array = pa.array(column, from_pandas=True)
        if isinstance(array, pa.ChunkedArray):
            array = array.combine_chunks()
        return array if type_ is None else array.cast(type_)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        file = column.attrs.get("file")
        place = "" if file is None else f"{file}, "
        raise InputError(
            f"{place}column '{column.name}' cannot be kept: it has values of another type than the first rows: {error}"
        ) from error


def _plain(type_: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(type_):
        type_ = type_.value_type
    text = pa.types.is_null(type_) or pa.types.is_large_string(type_)
    return pa.string() if text else type_


class ParquetRows:
    """A Parquet file that is written a piece at a time, in row groups of one size; it may have no rows.

    The block of a `with` writes it; where that fails, what is pending is dropped, for nobody will read the file.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(path, schema)
        self._schema = schema
        self._pending: list[pa.Table] = []
        self.rows = 0

    def append(self, table: pa.Table) -> None:
        """Appends rows."""
        self._pending.append(table)
        self.rows += table.num_rows
        if sum(one.num_rows for one in self._pending) >= _ROW_GROUP:
            self._flush()

    def note(self, metadata: Mapping[bytes, bytes]) -> None:
        """Adds to what the end of the file says beside the schema's metadata."""
        self._writer.add_key_value_metadata(dict(metadata))

    def __enter__(self) -> ParquetRows:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._flush()
        finally:
            self._writer.close()

    def _flush(self) -> None:
        if self._pending:
            table = pa.concat_tables(self._pending).cast(self._schema)
            self._writer.write_table(table, row_group_size=_ROW_GROUP)
            self._pending = []
