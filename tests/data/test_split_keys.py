"""Parts by value, by the hash of a key, and by row number."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from htlnet_tf.data import split_keys
from htlnet_tf.data.split_config import ColumnSplit, HashSplit, RandomSplit
from htlnet_tf.errors import RowError

_FRACTIONS = (0.5, 0.3, 0.2)
_HASH = HashSplit(column="user", fractions=_FRACTIONS)
_LISTED = ColumnSplit(column="day", train=("1", 2), valid=(3,), test=("late", 0.5, False))

# Computed once; another value here means that a split kept beside a run no longer gives the same rows.
_PINNED = [2, 1, 0, 0, 0, 0, 1, 2, 2, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 0]
_PINNED_ROWS = [0, 1, 2, 0, 1, 1, 1, 0, 0, 0, 0, 0, 1, 2, 0, 2, 0, 0, 1, 0]


def _by_hash(values: Any, config: HashSplit = _HASH, **kwargs: Any) -> list[int]:
    return split_keys.parts_by_hash(pd.Series(values, name="user", **kwargs), config).tolist()


def _by_value(values: Any, **kwargs: Any) -> list[int]:
    return split_keys.parts_by_value(pd.Series(values, name="day", **kwargs), _LISTED).tolist()


def test_a_key_falls_where_its_blake2b_says() -> None:
    # From the standard library, with the rule written out: 64 bits, little endian, as a share of 2**64.
    expected = []
    for text in ("7", "8", "9", "ünal", "-1"):
        digest = hashlib.blake2b(text.encode(), digest_size=8, key=(3).to_bytes(8, "little")).digest()
        share = int.from_bytes(digest, "little") / 2**64
        expected.append(0 if share < 0.5 else 1 if share < 0.8 else 2)
    config = HashSplit(column="user", fractions=_FRACTIONS, seed=3)
    assert _by_hash(["7", "8", "9", "ünal", "-1"], config) == expected


def test_a_share_begins_at_its_bound() -> None:
    hashes = np.array([0, 2**63 - 1, 2**63, 3 * 2**62 - 1, 3 * 2**62, 2**64 - 1], np.uint64)
    assert split_keys._share(hashes, (0.5, 0.25, 0.25)).tolist() == [0, 0, 1, 1, 2, 2]


def test_a_key_stays_where_releases_before_have_put_it() -> None:
    assert _by_hash(range(20)) == _PINNED


@pytest.mark.parametrize(
    "values",
    [
        pd.Series(range(50), dtype="int8"),
        pd.Series(range(50), dtype="uint64"),
        pd.Series(range(50), dtype="Int64"),
        pd.Series(range(50), dtype="float64"),
        pd.Series(range(50), dtype=object),
        pd.Series(range(50)).astype(str),
        pd.Series(range(50)).astype(str).astype(object),
        pd.Series(range(50)).astype("category"),
        pd.Series(range(50)).astype(str).astype("category"),
        pd.Series([i if i % 2 else str(i) for i in range(50)], dtype=object),
    ],
)
def test_a_key_falls_alike_in_every_dtype(values: pd.Series) -> None:
    assert _by_hash(values) == _by_hash(range(50))
    # In whatever company and order.
    assert _by_hash(values[::-1]) == _by_hash(range(50))[::-1]


@given(st.lists(st.one_of(st.integers(0, 9), st.text(min_size=1, max_size=2)), min_size=1), st.integers(0, 2**64 - 1))
def test_no_key_is_in_two_parts(keys: list[Any], seed: int) -> None:
    parts = _by_hash(keys, HashSplit(column="user", fractions=_FRACTIONS, seed=seed), dtype=object)
    assert pd.Series(parts).groupby([str(k) for k in keys]).nunique().max() == 1


def test_keys_are_shared_out_as_asked_and_by_seed() -> None:
    keys = range(20_000)
    first = np.asarray(_by_hash(keys))
    second = np.asarray(_by_hash(keys, HashSplit(column="user", fractions=_FRACTIONS, seed=1)))
    for parts in (first, second):
        # 5 standard deviations of a binomial share: sqrt(0.25 / 20000) = 0.0035.
        np.testing.assert_allclose(np.bincount(parts) / 20_000, _FRACTIONS, atol=0.018)
    # Independent splits agree on 0.5^2 + 0.3^2 + 0.2^2 of the keys.
    assert abs(np.mean(first == second) - 0.38) < 0.018


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, None], r"column 'user', row 1 \(index 1\): .*missing"),
        (pd.Categorical(["a", None]), "row 1 .*missing"),
        (["a", "", "b", ""], "row 1 .*must not be empty; received '' .and 1 more"),
        ([1.0, np.inf], "row 1 .*text, finite numbers or booleans; received inf"),
        ([[1], [2]], r"row 0 .*text, finite numbers or booleans; received \[1\]"),
        (pd.to_datetime(["2024-01-01"]), "row 0 .*text, finite numbers or booleans"),
    ],
)
def test_keys_that_are_none(values: Any, message: str) -> None:
    with pytest.raises(RowError, match=message):
        _by_hash(values)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 3, 0], [0, 0, 1, 2]),
        ([1.0, 2.0, 3.0, 0.5], [0, 0, 1, 2]),
        (["1", "2", "3", "late"], [0, 0, 1, 2]),
        (pd.Categorical(["late", "1", "late"]), [2, 0, 2]),
        ([True, False], [0, 2]),
        (pd.Series(["late", 1, 2.0, True], dtype=object), [2, 0, 0, 0]),
    ],
)
def test_a_column_says_the_part(values: Any, expected: list[int]) -> None:
    assert _by_value(values) == expected


def test_a_value_that_no_part_lists() -> None:
    with pytest.raises(RowError, match=r"column 'day', row 1 \(index 1\): .*\['0', '0.5', '1', .*received 'early'"):
        _by_value(["late", "early"])
    with pytest.raises(RowError, match=r"row 0 .*received '01'"):
        _by_value(["01"])
    with pytest.raises(RowError, match=r"row 1 .*missing"):
        _by_value([1, None], dtype="Int64")


def test_row_numbers_are_hashed_by_the_published_generator() -> None:
    # The first outputs for seed 1234567, as listed at https://rosettacode.org/wiki/Pseudo-random_numbers/Splitmix64.
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert split_keys._splitmix64(np.uint64(1234567), np.arange(4)).tolist() == expected
    assert split_keys._splitmix64(np.uint64(1234567), np.asarray([3, 1])).tolist() == [expected[3], expected[1]]
    assert split_keys._splitmix64(np.uint64(2**64 - 1), np.arange(0)).tolist() == []


def test_rows_are_shared_out_by_number_and_seed() -> None:
    def parts(seed: int) -> np.ndarray:
        return split_keys.parts_by_row(np.arange(20_000), RandomSplit(fractions=_FRACTIONS, seed=seed))

    one, other = parts(0), parts(1)
    for part in (one, other):
        np.testing.assert_allclose(np.bincount(part) / 20_000, _FRACTIONS, atol=0.018)
    assert abs(np.mean(one == other) - 0.38) < 0.018  # as for hashes
    some = np.asarray([7, 19_999, 3])
    assert split_keys.parts_by_row(some, RandomSplit(fractions=_FRACTIONS)).tolist() == one[some].tolist()


def test_rows_stay_where_releases_before_have_put_them() -> None:
    config = RandomSplit(fractions=_FRACTIONS)
    assert split_keys.parts_by_row(np.arange(20), config).tolist() == _PINNED_ROWS
