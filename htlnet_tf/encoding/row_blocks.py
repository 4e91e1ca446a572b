"""Which rows of the embedding tables belong to which feature."""

from __future__ import annotations

from typing import NamedTuple

from htlnet_tf.encoding.layout import EmbeddingLayout, Field, Table
from htlnet_tf.encoding.statistics import TrainingStatistics
from htlnet_tf.errors import InputError
from htlnet_tf.schema import Categorical, Cross, Numeric, Schema, Timestamp

TIME_PARTS = {"hour": 24, "weekday": 7}
_MAX_ROWS = 2**31 - 1


class Block(NamedTuple):
    """The rows of one field, from `start` to `end` (exclusive).

    Attributes:
      start: The first row.
      unknown: Of values out of vocabulary; None where every value has a row (hashes, buckets, hours).
      missing: Of missing values; None where there can be none (a cross).
      first: Of the first value, bucket or hour.
      end: Behind the last.
    """

    start: int
    unknown: int | None
    missing: int | None
    first: int
    end: int

    @classmethod
    def at(cls, start: int, *, unknown: bool, missing: bool, values: int) -> Block:
        """Lays the rows out: unknown, missing, values."""
        first = start + unknown + missing
        missing_row = start + unknown if missing else (start if unknown else None)
        return cls(start, start if unknown else None, missing_row, first, first + values)


def lay_out(statistics: TrainingStatistics) -> tuple[EmbeddingLayout, dict[str, Block]]:
    """Numbers the rows: per table (one for each declared width) a padding row, then a block for each field.

    Args:
      statistics: Of the training rows; they know the vocabularies.

    Returns:
      The layout of fields and tables, and the block of each field by its name. A feature that shares rows has the block
      of the other.

    Raises:
      InputError: There are more rows than int32 can number.
    """
    schema = statistics.schema
    fields = [field for feature in schema.features for field in _fields(statistics, feature)]
    shared = {f.name: f.shares for f in schema.categoricals if f.shares is not None}
    blocks: dict[str, Block] = {}
    tables = []
    next_row = 0
    for dim in dict.fromkeys(field.dim for field in fields):
        start, next_row = next_row, next_row + 1
        for field in fields:
            if field.dim == dim and field.name not in shared:
                blocks[field.name] = _block(statistics, field.name, next_row)
                next_row = blocks[field.name].end
        members = tuple(i for i, field in enumerate(fields) if field.dim == dim)
        tables.append(Table(start, next_row - start, dim, members))
    if next_row > _MAX_ROWS:
        raise InputError(f"the features need {next_row:,} embedding rows, more than {_MAX_ROWS:,}; hash the largest")
    blocks.update({name: blocks[owner] for name, owner in shared.items()})
    return EmbeddingLayout(tuple(fields), tuple(tables)), blocks


def owner_of(schema: Schema, feature: Categorical) -> Categorical:
    """The feature whose rows a categorical feature uses: itself, or the one it shares with."""
    owner = feature if feature.shares is None else schema.feature(feature.shares)
    assert isinstance(owner, Categorical)  # checked by the schema
    return owner


def _fields(statistics: TrainingStatistics, feature: Categorical | Numeric | Timestamp | Cross) -> list[Field]:
    if isinstance(feature, Timestamp):
        return [Field(f"{feature.name}.{part}", 1, "mean", feature.embedding_dim) for part in feature.parts]
    if isinstance(feature, Categorical):
        slots = statistics.vocabularies[feature.name].slots
        return [Field(feature.name, slots, feature.pooling, owner_of(statistics.schema, feature).embedding_dim)]
    if isinstance(feature, Cross) or feature.quantile_buckets is not None:
        return [Field(feature.name, 1, "mean", feature.embedding_dim)]
    return []


def _block(statistics: TrainingStatistics, field: str, start: int) -> Block:
    """The block of a field that has rows of its own."""
    if field in statistics.boundaries:
        # Here, as for hashes and hours, the row for missing values may stay untrained; near 0, it then says nothing.
        return Block.at(start, unknown=False, missing=True, values=len(statistics.boundaries[field]) + 1)
    if field in statistics.vocabularies:
        vocabulary = statistics.vocabularies[field]
        feature = statistics.schema.feature(field)
        assert isinstance(feature, Categorical)
        if feature.encoding == "hash":
            return Block.at(start, unknown=False, missing=True, values=feature.num_buckets or 2)
        # Without missing values in training their row would stay untrained, so they share the out-of-vocabulary row.
        return Block.at(start, unknown=True, missing=vocabulary.has_missing, values=len(vocabulary.values))
    cross = next((f for f in statistics.schema.features if f.name == field), None)
    if isinstance(cross, Cross):
        sizes = [_size(statistics, name) for name in cross.of]
        return Block.at(start, unknown=False, missing=False, values=min(cross.num_buckets, sizes[0] * sizes[1]))
    return Block.at(start, unknown=False, missing=True, values=TIME_PARTS[field.rpartition(".")[2]])


def _size(statistics: TrainingStatistics, name: str) -> int:
    feature = statistics.schema.feature(name)
    assert isinstance(feature, Categorical)
    return _block(statistics, owner_of(statistics.schema, feature).name, 0).end
