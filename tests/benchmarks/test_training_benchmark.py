"""The benchmark compares like with like, and its arithmetic; how fast anything is belongs to `htlnet bench`."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import htlnet_tf as htl
from htlnet_tf.benchmarks import training
from htlnet_tf.benchmarks.naive import NaiveHTLNet
from htlnet_tf.benchmarks.timing import Timing, interleaved, ratio


@pytest.mark.parametrize("one_table", [True, False])
def test_the_naive_form_does_the_same_step(one_table: bool) -> None:
    encoder = training._encoder(43 * 20)
    frame = training.benchmark_frame(43 * 20, 96)
    assert isinstance(frame, pd.DataFrame)
    batch = next(iter(htl.data.make_dataset(frame, encoder.schema, encoder, batch_size=96)))
    tf.keras.utils.set_random_seed(0)
    fast = htl.HTLNet(encoder.schema, encoder, embedding_l2=0.0)
    tf.keras.utils.set_random_seed(0)
    naive = NaiveHTLNet(encoder.schema, encoder, one_table=one_table)
    naive.embedding_l2 = 0.0
    table = np.random.default_rng(0).normal(size=fast.embedding.table.shape) * 0.1
    fast.embedding.table.assign(table)
    for part, values in zip(naive.tables, np.split(table[1:], len(naive.tables)), strict=True):
        part.assign(values)
    for ours, theirs in zip(fast.towers, naive.towers, strict=True):
        theirs.set_weights(ours.get_weights())
    units = [*fast.label_embeddings.values(), *fast.representation_fusions[1:], *fast.label_fusions[1:]]
    copies = [*naive.label_embeddings.values(), *naive.representation_fusions[1:], *naive.label_fusions[1:]]
    for ours, theirs in zip(units, copies, strict=True):
        theirs.set_weights(ours.get_weights())
    for model in (fast, naive):
        model.compile(optimizer=tf.keras.optimizers.SGD(0.1))
        for _ in range(2):
            model.train_step(batch)
    learnt = np.concatenate([part.numpy() for part in naive.tables])
    assert np.abs(learnt - table[1:]).max() > 1e-4
    np.testing.assert_allclose(fast.embedding.table.numpy()[1:], learnt, rtol=1e-4, atol=1e-6)
    for ours, theirs in zip(fast.towers, naive.towers, strict=True):
        for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_ids_are_zipf_distributed() -> None:
    ids = training._zipf(np.random.default_rng(0), 1000, (200_000,))
    counts = np.bincount(ids, minlength=1000)
    # P(0) / P(9) = 10^1.2.
    assert counts[0] / counts[9] == pytest.approx(10**1.2, rel=0.1)
    assert ids.max() < 1000


def test_flops_by_hand() -> None:
    model = htl.HTLNet(training._schema(), training._encoder(43 * 5))
    towers = sum(width * 128 + 128 * 64 + 64 * 32 + 32 for width in (430, 558, 558))
    fusions = 128 * 64 + 2 * 128 * 192 + 10 * 64 + 2 * 10 * 192
    assert training._flops_per_row(model) == 6 * (towers + fusions)


def test_cases_take_turns_and_ratios_are_round_by_round() -> None:
    calls: list[str] = []
    measured = interleaved(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=2, calls=1, warm_up=1
    )
    assert calls == ["a", "b", "a", "b", "a", "b"]
    assert {name: len(seconds) for name, seconds in measured.items()} == {"a": 2, "b": 2}
    assert ratio([2.0, 6.0, 30.0], [1.0, 2.0, 3.0]) == Timing(3.0, 2.5, 6.5, 3)


def test_the_report_holds_every_ratio() -> None:
    timing = Timing(2.0, 1.0, 3.0, 5)
    result = training.TrainingBenchmark({"step": timing}, dict.fromkeys(training.TARGETS, timing), {"cpus": 2})
    assert set(result.to_dict()["ratios"]) == set(training.TARGETS)
    assert all(name in result.to_text() for name in training.TARGETS)
