"""Which rows of the embedding tables belong to which feature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from htlnet_tf.encoding.kinds.kind import Block, Kind
from htlnet_tf.encoding.layout import EmbeddingLayout, Table
from htlnet_tf.errors import InputError

_MAX_ROWS = 2**31 - 1


def lay_out(kinds: Mapping[str, Kind[Any]]) -> tuple[EmbeddingLayout, dict[str, Block]]:
    """Numbers the rows: per table (one for each declared width) a padding row, then a block for each field.

    Args:
      kinds: Of all features by name, in schema order.

    Returns:
      The layout of fields and tables, and the block of each field by its name. A feature that shares rows has the block
      of the other.

    Raises:
      InputError: There are more rows than int32 can number.
    """
    placed = [(field, kind) for kind in kinds.values() for field in kind.fields()]
    fields = [field for field, _ in placed]
    blocks: dict[str, Block] = {}
    tables = []
    next_row = 0
    for dim in dict.fromkeys(field.dim for field in fields):
        start, next_row = next_row, next_row + 1
        for field, kind in placed:
            if field.dim == dim and kind.owner is kind:
                blocks[field.name] = kind.block(field.name, next_row)
                next_row = blocks[field.name].end
        members = tuple(i for i, field in enumerate(fields) if field.dim == dim)
        tables.append(Table(start, next_row - start, dim, members))
    if next_row > _MAX_ROWS:
        raise InputError(f"the features need {next_row:,} embedding rows, more than {_MAX_ROWS:,}; hash the largest")
    borrowed = {field.name: blocks[kind.owner.feature.name] for field, kind in placed if kind.owner is not kind}
    return EmbeddingLayout(tuple(fields), tuple(tables)), blocks | borrowed
