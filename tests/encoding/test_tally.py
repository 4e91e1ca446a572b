"""Counts over the days against exact ones, and the bound of what is kept."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from htlnet_tf.encoding.tally import Aging, Step, Tally, hashes_of

Days = list[list[str]]
DAYS = st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=12), min_size=2, max_size=6)


def counted(days: Days, *, least: int, evict_after: int | None = None, most: int = 100) -> tuple[list[str], Tally]:
    """The vocabulary after some days, as the kinds count it."""
    total = Counter(days[0])
    values = sorted(value for value, n in total.items() if n >= least)
    rare = [value for value, n in total.items() if n < least]
    tally = Tally.first([total[v] for v in values], rare, [total[v] for v in rare])
    for number, day in enumerate(days[1:], start=2):
        step, others = after(tally, values, day, least=least, aging=Aging(number, evict_after), most=most)
        values = [values[i] for i in step.kept] + [others[i] for i in step.new]
        tally = step.tally
    return values, tally


def after(tally: Tally, values: list[str], day: list[str], **arguments: Any) -> tuple[Step, list[str]]:
    counts = Counter(day)
    known = np.asarray([counts.pop(value, 0) for value in values], np.int64)
    others = list(counts)
    return tally.after(known, others, np.asarray([counts[v] for v in others], np.int64), **arguments), others


@given(DAYS, st.integers(1, 4))
@settings(deadline=None, max_examples=60)
def test_values_get_a_row_when_their_count_over_all_days_is_reached(days: Days, least: int) -> None:
    values, tally = counted(days, least=least)
    exact = Counter(value for day in days for value in day)
    assert set(values) == {value for value, n in exact.items() if n >= least}
    assert tally.counts.tolist() == [exact[value] for value in values]
    rest = {value: n for value, n in exact.items() if n < least}
    kept = dict(zip(tally.hashes.tolist(), tally.candidate_counts.tolist(), strict=True))
    assert kept == {int(hashes_of([value])[0]): n for value, n in rest.items()}


@given(DAYS, st.integers(1, 4), st.integers(1, 3))
@settings(deadline=None, max_examples=60)
def test_values_without_a_row_for_so_many_days_are_given_up_and_begin_anew(
    days: Days, least: int, evict_after: int
) -> None:
    values, tally = counted(days, least=least, evict_after=evict_after)
    # By hand: a dictionary of counts, from which whatever was not seen for so long falls out.
    counts: dict[str, int] = {}
    last: dict[str, int] = {}
    rows: set[str] = set()
    for number, day in enumerate(days, start=1):
        for value in day:
            counts[value] = counts.get(value, 0) + 1
            last[value] = number
        for value in [v for v in counts if number > 1 and number - last[v] >= evict_after]:
            del counts[value]
            rows.discard(value)
        rows |= {value for value, n in counts.items() if n >= least}
    assert set(values) == rows
    assert dict(zip(values, tally.counts.tolist(), strict=True)) == {value: counts[value] for value in rows}


def test_new_values_come_most_frequent_first_and_ties_by_value() -> None:
    tally = Tally.first([5], ["x"], [1])
    step, others = after(tally, ["known"], [*"ccbbaaax", "known"], least=2, aging=Aging(2))
    assert [others[i] for i in step.new] == ["a", "b", "c", "x"]
    assert step.tally.counts.tolist() == [6, 3, 2, 2, 2]
    assert step.tally.last.tolist() == [2] * 5


def test_candidates_are_bounded_and_counts_are_never_too_high() -> None:
    random = np.random.default_rng(0)
    days = [[f"v{i}" for i in random.zipf(1.3, 400) % 2000] for _ in range(6)]
    values, tally = counted(days, least=6, most=50)
    exact = Counter(value for day in days for value in day)
    assert len(tally.hashes) == 50
    assert set(values) < {value for value, n in exact.items() if n >= 6}
    assert all(n <= exact[value] for value, n in zip(values, tally.counts.tolist(), strict=True))
    hashed = {int(h): value for value, h in zip(exact, hashes_of(list(exact)), strict=True)}
    for key, n in zip(tally.hashes.tolist(), tally.candidate_counts.tolist(), strict=True):
        assert 0 < n <= exact[hashed[key]]
    # What is forgotten first has the lowest count, and among equal ones was unseen longest.
    full = Tally.first([], ["a", "b", "c"], [1, 2, 1])
    step, _ = after(full, [], ["d"], least=9, aging=Aging(2), most=2)
    assert sorted(step.tally.candidate_counts.tolist()) == [1, 2]
    assert sorted(step.tally.candidate_last.tolist()) == [1, 2]


def test_a_vocabulary_of_an_older_file_goes_on_with_the_least_count() -> None:
    step, _ = after(Tally.unknown(2, 3), ["a", "b"], ["a", "c"], least=3, aging=Aging(2))
    assert step.tally.counts.tolist() == [4, 3]
    assert len(step.new) == 0


def test_hashes_are_the_same_in_every_process_and_tell_values_apart() -> None:
    assert hashes_of(["a", "b"]).tolist() == [13950350942979735504, 12688059582079114975]  # as first written
    whole = hashes_of(range(100_000))
    assert len(np.unique(whole)) == 100_000
    assert hashes_of([7]).tolist() == [whole[7]]
    assert hashes_of([]).dtype == np.uint64


@pytest.mark.parametrize(("half_life", "decay"), [(None, 1.0), (1.0, 0.5), (2.0, 0.5**0.5)])
def test_decay(half_life: float | None, decay: float) -> None:
    assert Aging(2, half_life=half_life).decay == pytest.approx(decay)
