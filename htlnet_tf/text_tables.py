"""Tables of text for people: the one writer of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

Table = Sequence[Sequence[str]]
"""Rows of cells, all of one length; of a table with a header the first row."""


def aligned(table: Table, *, left: Collection[int] = (0,), indent: str = "", rule: bool = True) -> str:
    """Columns padded to their widest cell, two blanks between them.

    Args:
      table: At least one row.
      left: Positions of the columns that are aligned to the left; numbers stand to the right.
      indent: What every line begins with.
      rule: Whether there is a line below the first row, the header.
    """
    lines = ["  ".join(cells).rstrip() for cells in _padded(table, left)]
    if rule:
        lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(f"{indent}{line}" for line in lines)


def markdown(table: Table) -> str:
    """A Markdown table that reads well as text too: the first row is the header, the first column the labels."""
    padded = _padded(table, (0,))
    header, *rows = [f"| {' | '.join(cells)} |" for cells in padded]
    first, *others = map(len, padded[0])
    rule = [":" + "-" * (first - 1), *("-" * (width - 1) + ":" for width in others)]
    return "\n".join([header, f"| {' | '.join(rule)} |", *rows])


def _padded(table: Table, left: Collection[int]) -> list[list[str]]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        [cell.ljust(w) if i in left else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))]
        for row in table
    ]
