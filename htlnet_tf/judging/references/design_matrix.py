"""Encoded rows as the matrices that boosted trees and linear models take: the same columns as a model's, no more."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse

from htlnet_tf.data.columns import Arrays
from htlnet_tf.encoding.encoder import FeatureEncoder
from htlnet_tf.encoding.kinds.kind import Block
from htlnet_tf.schema import CountEncoding, Numeric, TargetEncoding

MAX_CATEGORIES = 256
"""Embedding rows of a field up to which it is small: a category of its own for each, or a column."""


class IdColumn(NamedTuple):
    """A field of the embedding, as a column of ids.

    Attributes:
      name: Of the field.
      slots: Its columns in the encoded ids.
      block: Its embedding rows.
      is_ordered: Whether these are buckets of a number, in its order.
      has_mean: Whether the schema has the mean of a target by its value.
    """

    name: str
    slots: slice
    block: Block
    is_ordered: bool
    has_mean: bool

    @property
    def num_rows(self) -> int:
        """Embedding rows, those of unknown and missing values among them."""
        return self.block.end - self.block.start

    @property
    def is_small(self) -> bool:
        """Whether it has few values."""
        return self.num_rows <= MAX_CATEGORIES

    @property
    def is_single(self) -> bool:
        """Whether a row has one value."""
        return self.slots.stop - self.slots.start == 1


def id_columns(encoder: FeatureEncoder) -> list[IdColumn]:
    """The fields of the embedding, in the order of their ids."""
    schema = encoder.schema
    means = {feature.of for feature in schema.history if isinstance(feature, TargetEncoding)}
    bucketed = [k for k in encoder.kinds.values() if isinstance(k.feature, (Numeric, TargetEncoding, CountEncoding))]
    buckets = {field.name for kind in bucketed for field in kind.fields()}
    return [
        IdColumn(name, encoder.slots_of(name), encoder.blocks[name], name in buckets, name in means)
        for name in (field.name for field in encoder.layout.fields)
    ]


def fields_without_means(encoder: FeatureEncoder) -> list[str]:
    """The fields of too many values for a column each, and without a target's mean in the schema: references see little
    of them, where a model has an embedding for each value.
    """
    return [
        column.name
        for column in id_columns(encoder)
        if not column.is_small and not column.has_mean and not column.is_ordered
    ]


class TreeMatrix:
    """The columns of boosted trees.

    - Numbers, history statistics and indicators of missing values as they are encoded; trees see their order alone.
    - The bucket of a number in quantile buckets, as a number.
    - A field of one value per row and at most `MAX_CATEGORIES` embedding rows: its code, to be taken as a category.
    - One with more, and with the mean of a target by its value in the schema: its statistics alone, which say the same.
      Without such a mean, its code as a number: a vocabulary is in the order of how frequent its values are. Thousands
      of categories are more than trees can take; they learn the training rows by heart.
    - A field of several values per row: one column per embedding row, 1 where the row has the value, up to
      `MAX_CATEGORIES` of them; with more, its statistics alone.

    Args:
      encoder: Fitted on the training rows.

    Attributes:
      categorical: Positions of the columns that are categories.
    """

    def __init__(self, encoder: FeatureEncoder) -> None:
        columns = id_columns(encoder)
        self._codes = [c for c in columns if c.is_single and (c.is_small or c.is_ordered or not c.has_mean)]
        self._indicators = [c for c in columns if not c.is_single and c.is_small]
        start = encoder.num_numeric
        self.categorical = [i for i, c in enumerate(self._codes, start) if c.is_small and not c.is_ordered]

    def __call__(self, features: Arrays) -> np.ndarray:
        """The matrix, float32 [N, C], of encoded features: `"ids"` [N, num_slots], `"numeric"` [N, num_numeric]."""
        ids, numeric = features["ids"], features["numeric"]
        codes = [(ids[:, c.slots] - c.block.start).astype(np.float32) for c in self._codes]
        indicators = [_indicators(c, ids).toarray() for c in self._indicators]
        return np.concatenate([numeric, *codes, *indicators], axis=1)


class LinearMatrix:
    """The columns of a linear model: the numbers, and one per embedding row of each field with at most
    `MAX_CATEGORIES` of them. Fields of more values have their statistics alone.

    Args:
      encoder: Fitted on the training rows.
    """

    def __init__(self, encoder: FeatureEncoder) -> None:
        self._fields = [column for column in id_columns(encoder) if column.is_small]

    def __call__(self, features: Arrays) -> scipy.sparse.csr_matrix:
        """The matrix, float64 [N, C]; argument as for `TreeMatrix`."""
        numbers = scipy.sparse.csr_matrix(features["numeric"].astype(np.float64))
        indicators = [_indicators(field, features["ids"]) for field in self._fields]
        return scipy.sparse.hstack([numbers, *indicators], format="csr", dtype=np.float64)


def _indicators(column: IdColumn, ids: np.ndarray) -> scipy.sparse.csr_matrix:
    """1 where a row has the value, float32 [N, num_rows]; the padding of unused slots is no value."""
    codes = ids[:, column.slots].astype(np.int64) - column.block.start
    rows, slots = np.nonzero((codes >= 0) & (codes < column.num_rows))
    cells = np.unique(rows * column.num_rows + codes[rows, slots])
    rows, values = np.divmod(cells, column.num_rows)
    ones = np.ones(len(cells), np.float32)
    return scipy.sparse.csr_matrix((ones, (rows, values)), shape=(len(ids), column.num_rows))
