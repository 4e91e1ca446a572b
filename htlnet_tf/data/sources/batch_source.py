"""Tables that a program has at hand one after another, such as what a consumer of a message queue polls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Union

import pandas as pd
import pyarrow as pa

from htlnet_tf.data.sources.arrow_columns import CategoryCache, Column, ListRule, Place, column_of, family
from htlnet_tf.data.sources.csv_source import OnBadLines, Report
from htlnet_tf.data.sources.source import Chunk, list_rule
from htlnet_tf.errors import InputError
from htlnet_tf.schema import Schema

Batch = Union[pd.DataFrame, pa.RecordBatch, pa.Table]
Batches = Union[Iterable[Batch], Callable[[], Iterable[Batch]]]

_NAME = "batches"


class BatchSource:
    """Batches of rows as the one part of a table; columns have the names that the batches give them.

    Each batch counts as a file of its own where a row is named: `batch 3`, row 17, both from 0.

    Args:
      batches: A function that gives an iterator over the same batches whenever it is called, or something that can be
        iterated again and again; or an iterator, which can be read once.

    Attributes:
      is_read_once: Whether it is an iterator.

    Raises:
      InputError: It is none of these.
    """

    def __init__(self, batches: Batches) -> None:
        if not callable(batches) and not isinstance(batches, Iterable):
            raise InputError(
                "batches are a function that gives an iterator over frames or Arrow batches, or such an iterator; "
                f"received a {type(batches).__name__}"
            )
        self._batches, self._is_read = batches, False
        self.is_read_once = isinstance(batches, Iterator)

    @property
    def files(self) -> tuple[str, ...]:
        """One name, for all batches follow one another."""
        return (_NAME,)

    def chunks(
        self,
        columns: Sequence[str] | None = None,
        *,
        schema: Schema | None = None,
        chunk_rows: int = 65_536,
        files: Sequence[int] | None = None,
        on_bad_lines: OnBadLines = "error",
        report: Report | None = None,
        piece: tuple[int, int] = (1, 0),
    ) -> Iterator[Chunk]:
        """Reads the rows, batch by batch; larger ones in parts. Values become what `Source.chunks` makes of Parquet's.

        Args:
          columns: Names, in the order wanted; None: all of the first batch.
          schema: Says the separators of lists.
          chunk_rows: At most so many rows per chunk.
          files: Positions in `files`; without the one there is, nothing is read.
          on_bad_lines: Not used: a batch has no lines.
          report: Not used.
          piece: `(n, i)`: only every n-th chunk, from the i-th on.

        Raises:
          InputError: An iterator was read before, a batch is no table, lacks a column or has it twice, or has it in a
            type that no column can be made of or that the batches before did not have; names batch and column. Or
            there are no rows.
        """
        if files is not None and 0 not in files:
            return
        if self._is_read and self.is_read_once:
            raise InputError(
                "an iterator over batches can be read once, and it was: give a function that makes a new one each time "
                "(one epoch with an encoder that was fitted before needs a single pass)"
            )
        self._is_read = True
        names = None if columns is None else list(columns)
        known: dict[str, tuple[pa.DataType, int]] = {}
        cache, count = CategoryCache(), 0
        for number, batch in enumerate(self._batches() if callable(self._batches) else self._batches):
            file = f"batch {number}"
            if names is None:
                names = list(batch.columns if isinstance(batch, pd.DataFrame) else getattr(batch, "column_names", ()))
            _check(batch, names, file)
            frames: Iterator[pd.DataFrame]
            if isinstance(batch, pd.DataFrame):
                frames = (batch[names].iloc[at : at + chunk_rows] for at in range(0, len(batch), chunk_rows))
            else:
                _check_types(batch, names, number, known)
                frames = _frames(batch.select(names), file, schema, chunk_rows, cache)
            first = 0
            for frame in frames:
                if len(frame):
                    rows = pd.RangeIndex(first, first + len(frame))
                    if count % piece[0] == piece[1]:
                        yield Chunk(frame.set_axis(rows), file, first)
                    count += 1
                    first += len(frame)
        if not count:
            raise InputError("there are no rows in the batches")


def _check(batch: object, names: Sequence[str], file: str) -> None:
    if not isinstance(batch, (pd.DataFrame, pa.RecordBatch, pa.Table)):
        raise InputError(
            f"{file}: a DataFrame, an Arrow RecordBatch or Table is needed, received {type(batch).__name__}"
        )
    offered = list(batch.columns) if isinstance(batch, pd.DataFrame) else batch.schema.names
    for name in names:
        count = offered.count(name)
        if count == 0:
            raise InputError(f"{file}: column '{name}' is missing; the batch has {offered}")
        if count > 1:
            raise InputError(f"{file}: the names of columns must differ, but '{name}' appears {count} times")


def _check_types(
    batch: pa.RecordBatch | pa.Table, names: Sequence[str], number: int, known: dict[str, tuple[pa.DataType, int]]
) -> None:
    for name in names:
        type_ = batch.schema.field(name).type
        kind = family(type_)
        if kind is None:
            raise InputError(
                f"batch {number}, column '{name}': columns hold numbers, text, times, or lists of numbers or text; "
                f"received {type_}"
            )
        if kind == "nothing":
            continue
        other, first = known.setdefault(name, (type_, number))
        if family(other) != kind:
            raise InputError(
                f"batch {number}, column '{name}': a column must be of one kind in all batches; received {type_} here "
                f"and {other} in batch {first}"
            )


def _frames(
    batch: pa.RecordBatch | pa.Table, file: str, schema: Schema | None, chunk_rows: int, cache: CategoryCache
) -> Iterator[pd.DataFrame]:
    table = batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
    rules: dict[str, ListRule] = {name: list_rule(name, schema) for name in table.column_names}
    for start in range(0, table.num_rows, chunk_rows):
        part = table.slice(start, chunk_rows).combine_chunks()
        rows = pd.RangeIndex(start, start + part.num_rows)
        columns: dict[str, Column] = {}
        for name in part.column_names:
            array = part.column(name)
            whole = pa.concat_arrays(array.chunks) if array.num_chunks != 1 else array.chunk(0)
            columns[name] = column_of(whole, Place(file, name, rows), rules[name], cache)
        yield pd.DataFrame(columns, index=rows, copy=False)
