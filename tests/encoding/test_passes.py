"""Passes over rows: each is a function of seed and number, and may begin anywhere."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import htlnet_tf as htl
from htlnet_tf.encoding.passes import Passes, passes_of, without_length
from tests.data.test_stream import write_parts

BATCH = 32  # 400 rows: 12 whole batches and one of 16


@pytest.fixture(params=["frame", "stream", "in order"])
def dataset(
    request: pytest.FixtureRequest, tmp_path: Path, schema: htl.Schema, frame: pd.DataFrame, encoder: Any
) -> Any:
    arguments: dict[str, Any] = {"batch_size": BATCH, "seed": 5, "shuffle": request.param != "in order"}
    rows: Any = frame
    if request.param == "stream":
        rows, arguments["shuffle_buffer"] = htl.data.open_stream(write_parts(tmp_path / "rows", frame), schema), 150
    return htl.data.make_dataset(rows, schema, encoder, **arguments)


def spends(batches: Any) -> list[list[float]]:
    return [targets["spend"].numpy().tolist() for _, targets, *_ in batches]


def test_a_pass_may_be_made_again_from_any_batch_on(dataset: Any) -> None:
    passes = passes_of(dataset)
    assert passes is not None
    whole = [spends(dataset) for _ in range(3)]
    assert [len(batches) for batches in whole] == [13] * 3
    for number, first in ((2, 0), (0, 7), (1, 12)):
        passes.start_at(number, first)
        assert spends(without_length(dataset)) == whole[number][first:]
        # What comes then is the pass after it.
        expected = whole[number + 1] if number < 2 else None
        following = spends(dataset)
        assert expected is None or following == expected


def test_an_endless_repetition_goes_on_from_any_batch(dataset: Any) -> None:
    endless = dataset.repeat()
    passes = passes_of(endless)
    assert passes is passes_of(dataset) is not None
    whole = spends(endless.take(39))
    for number, first in ((0, 5), (1, 12), (2, 0)):
        passes.start_at(number, first)
        position = 13 * number + first
        assert spends(without_length(endless).take(39 - position)) == whole[position:]


def test_in_memory_a_pass_keeps_its_length_where_the_left_out_follow_at_its_end(
    schema: htl.Schema, frame: pd.DataFrame, encoder: Any
) -> None:
    dataset = htl.data.make_dataset(frame, schema, encoder, batch_size=BATCH, shuffle=True, seed=0)
    whole = spends(dataset)
    passes = passes_of(dataset)
    assert passes is not None
    passes.start_at(0, 9, filled=True)
    assert int(dataset.cardinality()) == 13
    assert spends(dataset) == whole[9:] + whole[:9]


def test_the_end_of_a_pass_is_known_before_its_last_batch_is_used(
    tmp_path: Path, schema: htl.Schema, frame: pd.DataFrame, encoder: Any
) -> None:
    stream = htl.data.open_stream(write_parts(tmp_path / "rows", frame), schema)
    dataset = htl.data.make_dataset(stream, schema, encoder, batch_size=4, shuffle=True, seed=0, shuffle_buffer=100)
    passes = passes_of(dataset)
    assert passes is not None
    assert passes.length(0) is None
    for number, _ in enumerate(dataset):  # 100 batches, in blocks of 32
        assert number < 99 or passes.length(0) == 100


def test_without_a_seed_orders_follow_tensorflow_s(schema: htl.Schema, frame: pd.DataFrame, encoder: Any) -> None:
    orders = []
    for seed in (1, 1, 2):
        tf.random.set_seed(seed)
        orders.append(spends(htl.data.make_dataset(frame, schema, encoder, shuffle=True)))
    assert orders[0] == orders[1] != orders[2]


def test_other_datasets_are_not_known(dataset: Any) -> None:
    for other in (dataset.take(3), dataset.repeat(2), tf.data.Dataset.range(3).repeat(), [1], {"x": 1}, None):
        assert passes_of(other) is None


def test_a_dataset_that_nobody_has_is_forgotten(schema: htl.Schema, frame: pd.DataFrame, encoder: Any) -> None:
    dataset = htl.data.make_dataset(frame, schema, encoder)
    reference = weakref.ref(dataset)
    del dataset
    gc.collect()
    assert reference() is None


@given(
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=6),
    start=st.integers(0, 6),
    used=st.integers(0, 40),
)
def test_places_are_those_of_counting_on(lengths: list[int], start: int, used: int) -> None:
    passes = Passes(0)
    for number, length in enumerate(lengths):
        passes.tell(number, length)
    number, batch = 0, start % lengths[0]
    expected = (number, batch)
    for _ in range(used):
        batch += 1
        if number < len(lengths) and batch == lengths[number]:
            number, batch = number + 1, 0
    assert passes.locate(*expected, used) == (number, batch)


def test_a_seed_of_any_size() -> None:
    states = {tuple(np.asarray(Passes(seed).entropy(0).generate_state(2))) for seed in (-1, 0, 2**63, 2**64 - 2)}
    assert len(states) == 4
