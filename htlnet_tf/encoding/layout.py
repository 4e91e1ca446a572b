"""Which embedding rows an encoded impression looks up, and how the rows of a field become one vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from htlnet_tf.schema.features import Pooling

PADDING_ROW = 0
"""The row of every table that fills the unused slots of multi-valued fields."""


class Field(NamedTuple):
    """One embedded field of an impression.

    Attributes:
      name: Of the feature, or of the part of one.
      slots: The number of rows that it looks up, padding included.
      pooling: How they become one: `"mean"`, `"sum"` or (per component) `"max"` of the used slots.
      dim: Width of its rows. None: the model's `embedding_dim`.
    """

    name: str
    slots: int = 1
    pooling: Pooling = "mean"
    dim: int | None = None


class Table(NamedTuple):
    """The embedding rows of one width.

    Attributes:
      start: The first of the table's row numbers; this row is the table's padding row.
      rows: The number of its rows.
      dim: Width of a row. None: the model's `embedding_dim`.
      fields: Positions of the fields that read it, ascending.
    """

    start: int
    rows: int
    dim: int | None
    fields: tuple[int, ...]


@dataclass(frozen=True)
class EmbeddingLayout:
    """The fields of an encoded impression and the tables that they read.

    Encoded ids, int32 [B, S], have one column per slot, field by field. They are row numbers that run through all
    tables: row i of the table that starts at s has the number s + i.

    Args:
      fields: In the order of their columns in the ids.
      tables: In the order of their rows; every field reads exactly one of them.

    Raises:
      ValueError: The tables leave gaps between their rows, or a field reads no table, two tables, or one of another
        width.

    Example:
      >>> fields = (Field("user_id"), Field("tag", slots=3, pooling="max", dim=4))
      >>> EmbeddingLayout(fields, (Table(0, 1001, None, (0,)), Table(1001, 21, 4, (1,))))
    """

    fields: tuple[Field, ...]
    tables: tuple[Table, ...]

    def __post_init__(self) -> None:
        start = 0
        for table in self.tables:
            if table.start != start:
                raise ValueError(f"tables follow one another without gaps: expected start {start}, received {table}")
            start += table.rows
            if list(table.fields) != sorted(table.fields):
                raise ValueError(f"a table names its fields in ascending order, received {table}")
            for field in table.fields:
                if self.fields[field].dim != table.dim:
                    raise ValueError(f"a field is as wide as its table, received {self.fields[field]} in {table}")
        read = sorted(field for table in self.tables for field in table.fields)
        if read != list(range(len(self.fields))):
            raise ValueError(f"each of {len(self.fields)} fields reads one table, received the fields {read}")

    @property
    def slots(self) -> tuple[int, ...]:
        """Looked-up rows per field."""
        return tuple(field.slots for field in self.fields)

    def columns(self, table: Table) -> tuple[int, ...]:
        """The columns of the ids that hold a table's rows."""
        starts = [sum(self.slots[:i]) for i in range(len(self.fields))]
        return tuple(starts[i] + j for i in table.fields for j in range(self.fields[i].slots))
