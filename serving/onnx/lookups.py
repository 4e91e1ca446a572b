"""What arithmetic cannot do, done beside an ONNX graph: values and hashed pairs -> rows of the embedding tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from htlnet_tf.data.raw_features import missing_codes
from htlnet_tf.schema import Categorical
from htlnet_tf.serving.onnx.fingerprint import fingerprint64

# TensorFlow's `tf.strings.strip` knows the blanks of ASCII alone.
_BLANKS = " \t\n\v\f\r"
_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_STRICT)
class ValueRows:
    """A row per value, as a Parquet file of the columns `value` and `row` says.

    Args:
      feature: Name of the categorical feature.
      table: The file, within the folder.
      unknown: The row of values that are not in it.
      missing: The row of a list without values.
      padding: The row of unused slots.
      slots: Rows per impression.
    """

    feature: str
    table: str
    unknown: int
    missing: int
    padding: int
    slots: int
    kind: Literal["values"] = "values"


@dataclass(frozen=True, config=_STRICT)
class HashedRows:
    """A row per bucket: `first` + Fingerprint64(text) mod `buckets`.

    Args:
      feature: Name of the categorical feature.
      buckets: Their number.
      first: The row of the first bucket.
      missing: The row of missing values.
      padding: As of `ValueRows`, as is the following.
      slots: Rows per impression.
    """

    feature: str
    buckets: int
    first: int
    missing: int
    padding: int
    slots: int
    kind: Literal["hashed"] = "hashed"


@dataclass(frozen=True, config=_STRICT)
class PairRows:
    """A row per bucket of pairs: `first` + Fingerprint64(str(a * size + b)) mod `buckets`, where a and b are rows of
    the two features, counted from the first one that each has.

    Once vocabularies have grown, x = first_numbers[a] and y = second_numbers[b] stand for a and b: with x < sizes[0]
    and y < sizes[1], the pair is x * sizes[1] + y, else later + x * shift + y.

    Args:
      feature: Name of the cross.
      of: The two features.
      starts: Their first rows.
      size: Rows of the second.
      buckets: Their number.
      first: The row of the first bucket.
      numbers: A Parquet file each, of the column `number`, once vocabularies have grown.
      sizes: Rows of the two when the encoder was fitted.
      later: As above.
      shift: As above.
    """

    feature: str
    of: tuple[str, str]
    starts: tuple[int, int]
    size: int
    buckets: int
    first: int
    numbers: tuple[str, str] | None = None
    sizes: tuple[int, int] = (0, 0)
    later: int = 0
    shift: int = 0
    kind: Literal["pairs"] = "pairs"


Find = Callable[[np.ndarray], np.ndarray]
"""From raw values [K], object of `str` or int64, to rows int32 [K]."""


def in_table(keys: pd.Series, rows: np.ndarray, unknown: int) -> Find:
    """A look-up in a table.

    Args:
      keys: Distinct values, [V], int64 or strings.
      rows: int32 [V].
      unknown: The row of all others.
    """
    extended = np.append(rows, np.int32(unknown)).astype(np.int32)
    if pd.api.types.is_integer_dtype(keys.dtype):
        index = pd.Index(keys.to_numpy(np.int64))
        return lambda values: extended[index.get_indexer(pd.Index(values))]
    places = dict(zip(keys.tolist(), rows.tolist(), strict=True))
    return lambda values: np.asarray([places.get(value, unknown) for value in values.tolist()], np.int32)


def in_buckets(lookup: HashedRows, feature: Categorical) -> Find:
    """A look-up by hash."""
    codes = dict.fromkeys(missing_codes(feature))

    def find(values: np.ndarray) -> np.ndarray:
        rows = [
            lookup.missing if value in codes else lookup.first + fingerprint64(str(value)) % lookup.buckets
            for value in values.tolist()
        ]
        return np.asarray(rows, np.int32)

    return find


def rows_of(values: np.ndarray, feature: Categorical, lookup: ValueRows | HashedRows, find: Find) -> np.ndarray:
    """The rows of raw values.

    Args:
      values: [K], object of `str`, or int64.
      feature: With its dtype settled.
      lookup: How its values are looked up.
      find: Does it.

    Returns:
      int32 [K, slots].
    """
    if feature.separator is None:
        return find(values)[:, np.newaxis]
    codes, slots = dict.fromkeys(missing_codes(feature)), lookup.slots
    lists: list[list[Any]] = []
    for value in values.tolist():
        tokens = [token.strip(_BLANKS) for token in value.split(feature.separator)]
        kept = [token for token in tokens if token not in codes]
        lists.append(kept[-slots:] if feature.keeps_last else kept[:slots])
    counts = np.asarray([len(tokens) for tokens in lists], np.int64)
    rows = np.full((len(values), slots), lookup.padding, np.int32)
    is_used = np.arange(slots) < counts[:, np.newaxis]
    if is_used.any():
        flat = np.empty(counts.sum(), object)
        flat[:] = [token for tokens in lists for token in tokens]
        rows[is_used] = find(flat)
    rows[counts == 0, 0] = lookup.missing
    return rows


def rows_of_pairs(lookup: PairRows, numbers: tuple[np.ndarray, ...], rows: Mapping[str, np.ndarray]) -> np.ndarray:
    """The rows of a cross.

    Args:
      lookup: How its pairs are looked up.
      numbers: int64, what the files of `lookup.numbers` hold; none without them.
      rows: By feature, int32 [N, 1].

    Returns:
      int32 [N, 1].
    """
    a, b = (rows[name][:, 0].astype(np.int64) - start for name, start in zip(lookup.of, lookup.starts, strict=True))
    pair = a * lookup.size + b
    if numbers:
        x, y = numbers[0][a], numbers[1][b]
        is_fitted = (x < lookup.sizes[0]) & (y < lookup.sizes[1])
        pair = np.where(is_fitted, x * lookup.sizes[1] + y, lookup.later + x * lookup.shift + y)
    distinct, codes = np.unique(pair, return_inverse=True)
    buckets = [fingerprint64(str(one)) % lookup.buckets for one in distinct.tolist()]
    return (np.asarray(buckets, np.int32)[codes] + np.int32(lookup.first))[:, np.newaxis]
