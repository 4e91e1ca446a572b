"""What sections are made of; the template `blocks.html.j2` has one macro for each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Union

from htlnet_tf.page.charts import Chart


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
      text: As people read it.
      value: What the column is sorted by, if it is a number.
      note: Said below, smaller: why a metric is undefined.
      aside: Said behind the number, smaller: a spread.
      is_best: Marked.
      bar: The length of a bar behind the number, from 0 to 1; None: no bar.
      colour: The bar's, a name of `charts.COLOURS`.
    """

    text: str
    value: float | None = None
    note: str = ""
    aside: str = ""
    is_best: bool = False
    bar: float | None = None
    colour: str = "c1"


@dataclasses.dataclass(frozen=True)
class Column:
    """The head of a column: its name, what it is (shown to who points at it), and whether numbers stand in it."""

    label: str
    about: str = ""
    is_number: bool = True


@dataclasses.dataclass(frozen=True)
class Table:
    """A table whose first column names the rows.

    Attributes:
      caption: What it is of.
      columns: As many as every row has cells.
      rows: The cells. A row of one cell is a heading within the table.
      more: Rows that are folded away below the others.
    """

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    more: Sequence[Sequence[Cell]] = ()
    kind: str = "table"


@dataclasses.dataclass(frozen=True)
class Tables:
    """Tables side by side where the page is wide enough."""

    tables: Sequence[Table]
    kind: str = "tables"


@dataclasses.dataclass(frozen=True)
class Charts:
    """Pictures side by side, as many as the page is wide."""

    charts: Sequence[Chart]
    kind: str = "charts"


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Names and what they stand for."""

    pairs: Sequence[tuple[str, str]]
    kind: str = "pairs"


@dataclasses.dataclass(frozen=True)
class Code:
    """Text to copy, under a line that says what it is."""

    label: str
    text: str
    kind: str = "code"


@dataclasses.dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    kind: str = "text"


@dataclasses.dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    text: str
    kind: str = "heading"


@dataclasses.dataclass(frozen=True)
class Folded:
    """Blocks that the reader opens."""

    label: str
    blocks: Sequence[Block]
    kind: str = "folded"


Block = Union[Table, Tables, Charts, Pairs, Code, Text, Heading, Folded]


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page under a heading of its own.

    Attributes:
      name: In the address, `#quality`.
      title: The heading.
      blocks: What it has.
    """

    name: str
    title: str
    blocks: Sequence[Block]


@dataclasses.dataclass(frozen=True)
class Tile:
    """A number that is read first.

    Attributes:
      label: What it is.
      text: The number.
      beside: What it has to be held against.
    """

    label: str
    text: str
    beside: str = ""


@dataclasses.dataclass(frozen=True)
class Page:
    """A whole page.

    Attributes:
      title: Of the document and its first heading.
      lead: Some sentences below it.
      tiles: The numbers that are read first.
      notices: What is missing, and how to get it.
      sections: In order.
      footer: Who made it, and when.
    """

    title: str
    lead: str
    tiles: Sequence[Tile]
    notices: Sequence[str]
    sections: Sequence[Section]
    footer: str
