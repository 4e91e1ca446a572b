"""An encoder after a further day: rows by what they stand for, and statistics by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import htlnet_tf as htl
from htlnet_tf.data import open_stream
from htlnet_tf.encoding.growth import Growth, grow
from htlnet_tf.encoding.kinds.kind import Origins
from htlnet_tf.encoding.tally import Aging

TARGETS = (htl.Binary("click"), htl.Continuous("spend"))
VALUES = st.lists(st.sampled_from([None, *"abcdefg"]), min_size=3, max_size=25)


def frame(first: list[Any], second: list[Any] | None = None, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    second = first[::-1] if second is None else second
    return pd.DataFrame(
        {
            "item": pd.Series(first, dtype=object),
            "shop": pd.Series(second, dtype=object),
            "code": random.integers(0, 30, len(first)),
            "tags": ["|".join(random.choice([*"xyz"], i % 4, replace=False)) for i in range(len(first))],
            "seen": ["|".join(str(v) for v in first[max(0, i - 2) : i] if v is not None) for i in range(len(first))],
            "price": random.random(len(first)),
            "time": pd.date_range("2024-01-01", periods=len(first), freq="h"),
            "click": random.integers(0, 2, len(first)),
            "spend": random.exponential(10.0, len(first)),
        }
    )


def alone(first: list[Any], seed: int = 0) -> pd.DataFrame:
    """Without the lists that are counted with the items."""
    return frame(first, seed=seed).assign(seen=None)


def schema(*more: Any, buckets: int = 1000) -> htl.Schema:
    features = (
        htl.Categorical("item", dtype="string"),
        htl.Categorical("shop", min_count=1, embedding_dim=3),
        htl.Categorical("code", encoding="hash", num_buckets=8),
        htl.Categorical("tags", separator="|"),
        htl.Sequence("seen", separator="|", shares="item", max_length=2),
        htl.Cross("pair", of=("item", "shop"), num_buckets=buckets),
        htl.Numeric("price", quantile_buckets=4, keep_number=True),
        htl.Timestamp("time"),
    )
    return htl.Schema(features=(*features, *more), targets=TARGETS)


def names_of(encoder: htl.FeatureEncoder, field: str) -> list[Any]:
    """What each row of a vocabulary's block stands for."""
    kind, block = encoder.kinds[field].owner, encoder.blocks[field]
    middle = ["missing"] if block.missing != block.unknown else []
    return ["unknown", *middle, *(("value", value) for value in kind.learned.values)]


def check_rows(growth: Growth, fields: tuple[str, ...]) -> None:
    """The origin of every row of some vocabularies, by the names of the rows."""
    starts = [table.start for table in growth.before.layout.tables]
    tables = growth.tables()
    for field in fields:
        before, after = (names_of(encoder, field) for encoder in (growth.before, growth.encoder))
        (place,) = (
            i
            for i, table in enumerate(growth.encoder.layout.tables)
            if field in [growth.encoder.layout.fields[f].name for f in table.fields]
        )
        start = growth.encoder.blocks[field].start - growth.encoder.layout.tables[place].start
        for row, name in enumerate(after, start=start):
            origin, is_new = tables[place].rows[row] + starts[place], tables[place].is_new[row]
            known = name in before
            assert is_new != known
            assert origin - growth.before.blocks[field].start == (before.index(name) if known else 0)


@given(VALUES, VALUES, VALUES, st.sampled_from([1, 2, None]))
@settings(deadline=None, max_examples=25)
def test_rows_are_found_by_value_between_any_two_vocabularies(
    first: list[Any], second: list[Any], third: list[Any], evict_after: int | None
) -> None:
    encoder = htl.FeatureEncoder.fit(schema(), frame(first))
    for number, day in enumerate((second, third), start=2):
        growth = grow(encoder, frame(day, seed=number), Aging(number, evict_after))
        check_rows(growth, ("item", "shop", "seen"))
        encoder = growth.encoder


@given(VALUES, VALUES, st.sampled_from([4, 30, 1000]))
@settings(deadline=None, max_examples=10)
def test_what_was_known_before_finds_its_row_again(first: list[Any], second: list[Any], buckets: int) -> None:
    encoder = htl.FeatureEncoder.fit(schema(buckets=buckets), frame(first))
    growth = grow(encoder, frame(second, seed=1))
    rows = frame(first + second, seed=2)
    before, after = (e.encode(rows)["ids"] for e in (encoder, growth.encoder))
    tables = growth.tables()
    starts = [(a.start, b.start) for a, b in zip(encoder.layout.tables, growth.encoder.layout.tables, strict=True)]
    is_hashed = buckets < encoder.kinds["item"].num_rows * encoder.kinds["shop"].num_rows
    was_new = np.zeros(len(rows), bool)
    for field in ("item", "shop"):
        places = after[:, growth.encoder.slots_of(field)][:, 0] - growth.encoder.blocks[field].start
        was_new |= growth.origins[field].is_new[places]
    for place, table in enumerate(growth.encoder.layout.tables):
        for field in (growth.encoder.layout.fields[i].name for i in table.fields):
            ids = after[:, growth.encoder.slots_of(field)] - starts[place][1]
            old = before[:, encoder.slots_of(field)] - starts[place][0]
            ids = ids[:, : old.shape[1]]  # lists may have become longer
            known = ~tables[place].is_new[ids]
            if field in ("tags", "seen") and growth.encoder.slots_of(field) != encoder.slots_of(field):
                continue
            if field == "pair" and not is_hashed:
                # Where buckets no longer suffice for all pairs, some pairs share one.
                known &= buckets >= growth.encoder.kinds["item"].num_rows * growth.encoder.kinds["shop"].num_rows
            if field == "pair":
                known &= ~was_new[:, np.newaxis]
            np.testing.assert_array_equal(tables[place].rows[ids][known], old[known], err_msg=field)
            if field != "pair":
                np.testing.assert_array_equal(tables[place].rows[ids], old, err_msg=field)  # as they were read before


def test_a_cross_that_is_hashed_from_now_on_takes_over_the_pairs_rows() -> None:
    first, second = [*"aabbcc"], [*"xxyyxy"]
    encoder = htl.FeatureEncoder.fit(schema(buckets=12), frame(first, second))
    assert encoder.kinds["pair"].num_rows == 12  # 4 rows of items, 3 of shops
    growth = grow(encoder, frame([*"ddeeff"], [*"xyzxyz"]))
    cross = growth.encoder.kinds["pair"]
    rows = frame(first, second)
    before, after = (e.encode(rows)["ids"] for e in (encoder, growth.encoder))
    origins = growth.origins["pair"]
    assert cross.num_rows == 12
    old = before[:, encoder.slots_of("pair")][:, 0] - encoder.blocks["pair"].start
    new = after[:, growth.encoder.slots_of("pair")][:, 0] - growth.encoder.blocks["pair"].start
    # The first pair of a bucket, in the order of the rows, has it.
    for bucket in np.unique(new):
        assert origins.rows[bucket] in range(12)
    alone = [i for i in range(len(new)) if origins.rows[new[i]] == old[i]]
    assert len(set(new[alone])) == len(set(new))
    # A further day that brings nothing new leaves every bucket where it is.
    again = grow(growth.encoder, frame(first, second))
    np.testing.assert_array_equal(again.origins["pair"].rows, np.arange(12))
    np.testing.assert_array_equal(
        again.encoder.encode(rows)["ids"][:, again.encoder.slots_of("pair")][:, 0] - again.encoder.blocks["pair"].start,
        new,
    )


def test_values_are_counted_over_days_and_what_weights_rely_on_stays() -> None:
    encoder = htl.FeatureEncoder.fit(schema(), alone([*"aabbc"]))
    assert encoder.kinds["item"].learned.values == ("a", "b")
    day = alone([*"cd", None, "a"])
    day["price"] = [100.0, None, 300.0, 400.0]
    growth = grow(encoder, day)
    learned = growth.encoder.kinds["item"].learned
    assert learned.values == ("a", "b", "c")
    assert [e.kinds["shop"].learned.has_missing for e in (encoder, growth.encoder)] == [False, True]
    assert (growth.added["item"], growth.dropped["item"], growth.num_rows) == (1, 0, 4)
    assert "seen" not in growth.added and "code" not in growth.added
    before, after = encoder.statistics, growth.encoder.statistics
    assert after.learned["price"] == before.learned["price"]
    assert after.labels == before.labels
    assert (after.num_rows, after.days) == (9, 2)
    vanished = grow(growth.encoder, alone(["b", "b", "e"]).assign(seen=["", "c", "e|"]), Aging(3, evict_after=1))
    # In lists too, whose values share the rows.
    assert vanished.encoder.kinds["item"].learned.values == ("b", "c", "e")
    assert (vanished.added["item"], vanished.dropped["item"]) == (1, 1)


def test_statistics_move_on_with_a_half_life() -> None:
    declared = schema(
        htl.TargetEncoding(of="item", target="spend", smoothing=3.0, quantile_buckets=3),
        htl.TargetEncoding(of="tags", target="click", scheme="folds"),
        htl.CountEncoding(of="item"),
    )
    old, day = alone([*"aabbcaab"]), alone([*"cadeeb"], seed=1)
    encoder = htl.FeatureEncoder.fit(declared, old)
    growth = grow(encoder, day, Aging(2, half_life=2.0))
    decay = 0.5**0.5
    kind: Any = growth.encoder.kinds["item.spend"]
    was = encoder.statistics.learned["item.spend"]
    values = growth.encoder.kinds["item"].learned.values
    assert set(values) == {"a", "b", "c", "e"}
    # By hand, float64: what the days before have added up counts half after two days; c and e were unknown then.
    for position, value in enumerate(values, start=growth.encoder.kinds["item"].num_rows - len(values)):
        known = decay if value in "ab" else 0.0
        n, s = (old.item == value).sum(), old.spend[old.item == value].sum()
        weight, total = known * n + (day.item == value).sum(), known * s + day.spend[day.item == value].sum()
        assert kind.learned.weights[position] == pytest.approx(weight, rel=1e-6)
        assert kind.learned.sums[position] == pytest.approx(total, rel=1e-5)
        assert growth.encoder.statistics.learned["item.count"].weights[position] == pytest.approx(weight, rel=1e-6)
    prior = (decay * old.spend.sum() + day.spend.sum()) / (decay * len(old) + len(day))
    assert kind.learned.priors[0] == pytest.approx(prior, rel=1e-6)
    assert (kind.learned.mean, kind.learned.std, kind.learned.boundaries) == (was.mean, was.std, was.boundaries)
    tags = growth.encoder.statistics.learned["tags.click"]
    rows = growth.encoder.kinds["tags"]
    for position, tag in enumerate(rows.learned.values, start=rows.num_rows - len(rows.learned.values)):
        has = [table.tags.str.split("|").map(lambda tags, tag=tag: tag in tags) for table in (old, day)]
        known = decay if tag in encoder.kinds["tags"].learned.values else 0.0
        assert tags.weights[position] == pytest.approx(known * has[0].sum() + has[1].sum(), rel=1e-6)


def test_rows_to_learn_see_the_statistics_of_the_days_before_alone() -> None:
    declared = schema(htl.TargetEncoding(of="shop", target="click"), htl.CountEncoding(of="shop"))
    old, day = frame([*"aabbcaab"]), frame([*"cadeeb"], seed=1)
    encoder = htl.FeatureEncoder.fit(declared, old)
    growth = grow(encoder, day)
    flipped = grow(encoder, day.assign(click=1 - day.click, spend=0.0))
    served, learned = (e.encode(day)["numeric"] for e in (encoder, growth.learning))
    np.testing.assert_array_equal(learned, served)
    np.testing.assert_array_equal(flipped.learning.encode(day)["numeric"], learned)
    assert (growth.encoder.encode(day)["numeric"] != learned).any()
    assert growth.encoder.layout == growth.learning.layout


def test_a_stream_grows_an_encoder_as_a_frame_does_and_files_keep_all_of_it(tmp_path: Path) -> None:
    declared = dataclasses.replace(schema(buckets=7), statistics=htl.HistoryStatistics(of=("item", "pair")))
    old, day = frame([*"aabbcaab"]), frame([*"cadeeb", None], seed=1)
    growth = grow(htl.FeatureEncoder.fit(declared, old), day)
    for part in range(3):
        day.iloc[part::3].to_parquet(tmp_path / f"{part}.parquet")
    htl.FeatureEncoder.fit(declared, old).save(tmp_path / "encoder.json")
    loaded = htl.FeatureEncoder.load(tmp_path / "encoder.json")
    streamed = grow(loaded, open_stream(str(tmp_path / "*.parquet"), loaded.schema))
    growth.encoder.save(tmp_path / "grown.json")
    again = htl.FeatureEncoder.load(tmp_path / "grown.json")
    assert again.statistics == growth.encoder.statistics
    np.testing.assert_array_equal(again.encode(day)["ids"], growth.encoder.encode(day)["ids"])
    np.testing.assert_array_equal(streamed.encoder.encode(day)["ids"], again.encode(day)["ids"])
    np.testing.assert_allclose(streamed.encoder.encode(day)["numeric"], again.encode(day)["numeric"], atol=1e-5)


def test_a_file_without_counts_is_read_and_goes_on(tmp_path: Path) -> None:
    encoder = htl.FeatureEncoder.fit(schema(), alone([*"aabbc"]))
    item = dataclasses.replace(encoder.statistics.learned["item"], tally=None)
    older = dataclasses.replace(encoder.statistics, learned=encoder.statistics.learned | {"item": item})
    growth = grow(htl.FeatureEncoder(older), alone([*"ccd"]))
    assert growth.encoder.kinds["item"].learned.values == ("a", "b", "c")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.drop(columns="shop"), "shop"),
        (lambda rows: rows.iloc[:0], "no rows"),
        (lambda rows: rows.assign(price="dear"), "price"),
        (lambda rows: rows.assign(click=3), "click"),
    ],
)
def test_rows_that_cannot_be_learned(change: Any, message: str) -> None:
    encoder = htl.FeatureEncoder.fit(schema(htl.CountEncoding(of="item")), frame([*"aabbc"]))
    with pytest.raises(htl.InputError, match=message):
        grow(encoder, change(frame([*"abc"])))


def test_a_block_that_changes_without_its_kind_s_word_is_no_silent_matter() -> None:
    encoder = htl.FeatureEncoder.fit(schema(), frame([*"aabbc"]))
    other = htl.FeatureEncoder.fit(schema(), frame([*"aabbccdd"]))
    hour, bucket = encoder.kinds["time"], encoder.kinds["price"]
    assert hour.origins("time.hour", other.kinds["time"], None)[0].tolist() == list(range(25))
    more = dataclasses.replace(bucket.learned, boundaries=(0.1,))
    with pytest.raises(AssertionError, match="'price' had"):
        bucket.origins("price", type(bucket)(bucket.feature, more, {}), None)


def test_numbers_of_rows_move_along() -> None:
    origins = Origins(np.array([2, 0, 0]), np.array([False, False, True]))
    np.testing.assert_array_equal(origins.moved(np.array([[1.0, 2.0, 3.0]])), [[3.0, 1.0, 0.0]])
