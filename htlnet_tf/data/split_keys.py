"""The part of a row by a column's value, or by the row's number; the same on every machine and in every release."""

from __future__ import annotations

import hashlib
import math
import reprlib
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from htlnet_tf.data.columns import refuse
from htlnet_tf.data.split_config import ColumnSplit, HashSplit, RandomSplit, text_of


def parts_by_value(column: pd.Series[Any], config: ColumnSplit) -> np.ndarray:
    """The part that lists each row's value, int8 [N].

    Raises:
      RowError: A value is missing or not listed.
    """
    codes, texts = _distinct(column)
    part_of = config.part_of
    parts = np.asarray([part_of.get(text, -1) for text in texts], np.int8)[codes]
    rule = f"every value must be in one part of the split by column, which lists {reprlib.repr(sorted(part_of))}"
    refuse(column, parts < 0, rule=rule)
    return parts


def parts_by_hash(column: pd.Series[Any], config: HashSplit) -> np.ndarray:
    """The part of each row's key, int8 [N].

    Raises:
      RowError: A key is missing.
    """
    codes, texts = _distinct(column)
    # The empty string is a missing value elsewhere too; its rows are of many users.
    empty = np.asarray([text == "" for text in texts], bool)
    refuse(column, empty[codes], rule="the key of a split by hash must not be empty")
    return _share(_blake2b(texts, config.seed), config.fractions)[codes]


def _distinct(column: pd.Series[Any]) -> tuple[np.ndarray, list[str]]:
    """A column as int [N] positions among the texts of its distinct values."""
    refuse(column, column.isna().to_numpy(), rule="the column of a split must not have missing values")
    rule = "the column of a split must hold text, finite numbers or booleans"
    try:
        codes, distinct = pd.factorize(column)
    except TypeError:  # lists, which have no hash
        refuse(column, np.asarray([not isinstance(value, Hashable) for value in column], bool), rule=rule)
        raise
    texts = [text_of(value) for value in distinct]
    refuse(column, np.asarray([text is None for text in texts], bool)[codes], rule=rule)
    return codes, [text for text in texts if text is not None]


def parts_by_row(rows: np.ndarray, config: RandomSplit) -> np.ndarray:
    """The parts of rows by their numbers, integers [N]: int8 [N]."""
    return _share(_splitmix64(_blake2b(["rows"], config.seed)[0], rows), config.fractions)


def _share(hashes: np.ndarray, fractions: Sequence[float]) -> np.ndarray:
    """The part, int8 [N], of hashes, uint64 [N] uniform over the whole range."""
    bounds = [round(math.fsum(fractions[:k]) * 2.0**64) for k in range(1, len(fractions))]
    return np.searchsorted(np.asarray(bounds, np.uint64), hashes, side="right").astype(np.int8)


def _blake2b(texts: Sequence[str], seed: int) -> np.ndarray:
    """64-bit BLAKE2b hashes (RFC 7693) keyed with the seed, uint64 [len(texts)]."""
    key = seed.to_bytes(8, "little")
    # A lone surrogate, which some readers leave in damaged text, has no UTF-8.
    encoded = (text.encode("utf-8", errors="surrogatepass") for text in texts)
    digests = b"".join(hashlib.blake2b(data, digest_size=8, key=key).digest() for data in encoded)
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def _splitmix64(start: np.uint64, numbers: np.ndarray) -> np.ndarray:
    """The outputs of the given numbers, from 0, of the SplitMix64 generator, uint64 [N].

    Each output is a function of its number, so chunks get what the whole would. Reference: Steele, Lea, Flood: "Fast
    splittable pseudorandom number generators", OOPSLA 2014; https://prng.di.unimi.it/splitmix64.c.
    """
    z = (numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) + start
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
