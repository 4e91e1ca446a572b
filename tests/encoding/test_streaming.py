"""Streams as datasets: every row once, in an order that the seed decides, and errors that stay readable."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import htlnet_tf as htl
from htlnet_tf.encoding.encoded import EncodedRows, encode_frame
from htlnet_tf.encoding.streaming import regrouped, shuffled, stream_error
from tests.conftest import small_frame
from tests.data.test_stream import write_parts


def rows(numbers: Any) -> EncodedRows:
    values = np.asarray(numbers, np.int32)
    return EncodedRows({"ids": values[:, None], "numeric": values[:, None] * 0.5}, {"y": values.astype(np.float32)})


def numbers(parts: Any) -> list[int]:
    listed = []
    for part in parts:
        assert part.labels["y"].tolist() == part.features["ids"][:, 0].tolist()  # a row stays whole
        listed += part.features["ids"][:, 0].tolist()
    return listed


SIZES = st.lists(st.integers(1, 30), min_size=1, max_size=8)


def split_up(sizes: list[int]) -> list[EncodedRows]:
    starts = np.cumsum([0, *sizes])
    return [rows(range(a, b)) for a, b in itertools.pairwise(starts)]


@given(SIZES, st.integers(1, 40), st.integers(0, 5))
@settings(max_examples=60)
def test_the_buffer_passes_every_row_on_once(sizes: list[int], size: int, seed: int) -> None:
    out = numbers(shuffled(split_up(sizes), size, np.random.default_rng(seed)))
    assert sorted(out) == list(range(sum(sizes)))


@given(SIZES, st.integers(1, 40))
@settings(max_examples=60)
def test_regrouping_keeps_rows_and_order(sizes: list[int], size: int) -> None:
    parts = list(regrouped(split_up(sizes), size))
    assert numbers(parts) == list(range(sum(sizes)))
    assert all(len(part) == size for part in parts[:-1])


def test_a_buffer_as_large_as_the_rows_gives_any_order_alike() -> None:
    firsts = [numbers(shuffled([rows(range(4))], 4, np.random.default_rng(seed)))[0] for seed in range(400)]
    # 400 draws of 4 values: expected 100 each, standard deviation 8.7.
    assert all(60 < firsts.count(value) < 140 for value in range(4))


def ids_of(dataset: Any) -> np.ndarray:
    return np.concatenate([features["ids"].numpy() for features, *_ in dataset])


@pytest.fixture
def stream(tmp_path: Path, schema: htl.Schema, frame: pd.DataFrame) -> htl.data.Stream:
    return htl.data.open_stream(write_parts(tmp_path / "rows", frame), schema)


def test_unshuffled_batches_are_the_frame_in_order(
    stream: htl.data.Stream, schema: htl.Schema, frame: pd.DataFrame, encoder: Any
) -> None:
    expected = encode_frame(frame, encoder).with_weights()
    batches = list(htl.data.make_dataset(stream, schema, encoder, batch_size=64))
    assert [len(features["ids"]) for features, *_ in batches] == [64] * 6 + [16]
    for i, (features, targets, weights) in enumerate(batches):
        part = slice(64 * i, 64 * i + 64)
        np.testing.assert_array_equal(features["ids"], expected.features["ids"][part])
        for name in ("click", "buy", "spend"):
            np.testing.assert_array_equal(targets[name], expected.labels[name][part])
            assert (weights[name].numpy() == 1).all()


def test_an_order_per_epoch_that_the_seed_repeats(
    stream: htl.data.Stream, schema: htl.Schema, frame: pd.DataFrame, encoder: Any
) -> None:
    def dataset(seed: int, buffer: int = 100) -> Any:
        return htl.data.make_dataset(
            stream, schema, encoder, batch_size=32, shuffle=True, seed=seed, shuffle_buffer=buffer
        )

    one, other = dataset(0), dataset(0)
    epochs = [ids_of(one) for _ in range(2)]
    for epoch in epochs:
        np.testing.assert_array_equal(epoch, ids_of(other))
        assert sorted(map(tuple, epoch)) == sorted(map(tuple, encoder.encode(frame)["ids"]))
    assert (epochs[0] != epochs[1]).any()
    assert (ids_of(dataset(1)) != epochs[0]).any()


def test_shards_hold_every_row_once(
    stream: htl.data.Stream, schema: htl.Schema, frame: pd.DataFrame, encoder: Any
) -> None:
    parts = [ids_of(htl.data.make_dataset(stream, schema, encoder, num_shards=2, shard_index=i)) for i in range(2)]
    assert sorted(map(tuple, np.concatenate(parts))) == sorted(map(tuple, encoder.encode(frame)["ids"]))


def test_a_static_batch_size(stream: htl.data.Stream, schema: htl.Schema, encoder: Any) -> None:
    dataset = htl.data.make_dataset(stream, schema, encoder, batch_size=64, drop_remainder=True)
    assert dataset.element_spec[0]["ids"].shape[0] == 64
    assert len(ids_of(dataset)) == 384


def test_a_cached_stream_is_as_a_frame(
    stream: htl.data.Stream, schema: htl.Schema, frame: pd.DataFrame, encoder: Any
) -> None:
    cached = htl.data.make_dataset(stream, schema, encoder, batch_size=100, cache=True)
    plain = htl.data.make_dataset(frame, schema, encoder, batch_size=100)
    assert cached.element_spec == plain.element_spec
    np.testing.assert_array_equal(ids_of(cached), ids_of(plain))


def test_no_two_arrays_share_memory(frame: pd.DataFrame, encoder: Any) -> None:
    # TensorFlow aliases what a generator yields and may write into it: a shared array would corrupt the other user.
    arrays = [array for part in encode_frame(frame, encoder).with_weights().tree for array in part.values()]
    assert not any(np.shares_memory(a, b) for a, b in itertools.combinations(arrays, 2))


def test_fit_on_a_stream_is_fit_on_the_frame(
    stream: htl.data.Stream, schema: htl.Schema, frame: pd.DataFrame, encoder: Any, reused_model: Any
) -> None:
    losses = []
    for source in (stream, frame):
        model = reused_model()
        dataset = htl.data.make_dataset(source, schema, encoder, batch_size=64)
        losses.append(model.fit(dataset, epochs=2, verbose=0).history["loss"])
        assert htl.evaluate(model, source).num_rows == 400
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


def test_a_bad_row_stops_fit_with_a_clear_error(
    tmp_path: Path, schema: htl.Schema, encoder: Any, reused_model: Any
) -> None:
    frame = small_frame(300)
    frame.loc[250, "spend"] = -5.0
    stream = htl.data.open_stream(write_parts(tmp_path / "bad", frame), schema)
    dataset = htl.data.make_dataset(stream, schema, encoder, batch_size=32)
    with pytest.raises(htl.InputError, match=r"part-2\.parquet, column 'spend', row 50: .*negative.*received -5.0"):
        reused_model().fit(dataset, verbose=0)


def test_each_of_two_streams_tells_its_own_error(tmp_path: Path, schema: htl.Schema, encoder: Any) -> None:
    readers = []
    for name, row in (("a", 10), ("b", 120)):
        frame = small_frame(150)
        frame.loc[row, "spend"] = -5.0
        stream = htl.data.open_stream(write_parts(tmp_path / name, frame), schema)
        readers.append((name, iter(htl.data.make_dataset(stream, schema, encoder, batch_size=50))))
    found: dict[str, str] = {}
    # Both are open at once, and both fail before either is asked why.
    failed: dict[str, tf.errors.OpError] = {}
    for name, reader in readers:
        with pytest.raises(tf.errors.OpError) as caught:
            list(reader)
        failed[name] = caught.value
    for name, error in failed.items():
        told = stream_error(error)
        assert told is not None
        found[name] = str(told)
    assert str(tmp_path / "a") in found["a"]
    assert str(tmp_path / "b") in found["b"]
    assert stream_error(tf.errors.InvalidArgumentError(None, None, "something else")) is None


def test_a_part_without_rows_stops_fit(
    stream: htl.data.Stream, schema: htl.Schema, encoder: Any, reused_model: Any
) -> None:
    split = htl.data.Split(htl.data.ColumnSplit(column="tab", train=(0, 1, 2), valid=(7,), test=(8,)))
    dataset = htl.data.make_dataset(stream.of(split, "valid"), schema, encoder)
    with pytest.raises(htl.InputError, match=r"no rows in .*part: valid"):
        reused_model().fit(dataset, verbose=0)
    with pytest.raises(htl.InputError, match="no rows"):
        htl.data.make_dataset(stream.of(split, "valid"), schema, encoder, cache=True)
    with pytest.raises(htl.InputError, match="no rows"):
        htl.evaluate(reused_model(), stream.of(split, "valid"))


def test_wrong_use(stream: htl.data.Stream, schema: htl.Schema, encoder: Any) -> None:
    with pytest.raises(htl.InputError, match="takes no shards"):
        htl.data.make_dataset(stream, schema, encoder, cache=True, num_shards=2)
    with pytest.raises(htl.InputError, match="shuffle_buffer"):
        htl.data.make_dataset(stream, schema, encoder, shuffle_buffer=0)
