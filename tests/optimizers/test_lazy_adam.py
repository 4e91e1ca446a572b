"""LazyAdam against Keras' Adam and against what lazy means."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import htlnet_tf as htl


def slices(rows: list[int], seed: int, shape: tuple[int, int] = (6, 3)) -> tf.IndexedSlices:
    values = np.random.default_rng(seed).normal(size=(len(rows), shape[1]))
    return tf.IndexedSlices(tf.constant(values, tf.float32), tf.constant(rows), tf.constant(shape))


def test_touching_every_row_equals_adam() -> None:
    lazy, eager = (tf.Variable(tf.ones([6, 3])) for _ in range(2))
    ours, adam = htl.LazyAdam(0.1), tf.keras.optimizers.Adam(0.1)
    for step in range(5):
        g = slices([5, 0, 3, 1, 2, 4, 3], step)  # row 3 occurs twice: its gradients are summed
        ours.apply_gradients([(g, lazy)])
        adam.apply_gradients([(tf.convert_to_tensor(g), eager)])
    np.testing.assert_allclose(lazy, eager, rtol=1e-6)


def test_untouched_rows_keep_weights_and_moments_bit_for_bit() -> None:
    variable = tf.Variable(tf.random.normal([6, 3]))
    optimizer = htl.LazyAdam(0.1)
    optimizer.apply_gradients([(slices([0, 1, 2, 3, 4, 5], 0), variable)])
    before = [v.numpy() for v in (variable, *optimizer.variables[-2:])]
    optimizer.apply_gradients([(slices([1, 4], 1), variable)])
    after = [v.numpy() for v in (variable, *optimizer.variables[-2:])]
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a[[0, 2, 3, 5]], b[[0, 2, 3, 5]])
        assert not np.allclose(a[[1, 4]], b[[1, 4]])


def test_duplicates_are_summed_unless_the_graph_proves_there_are_none() -> None:
    eager, unique, repeated = (tf.Variable(tf.zeros([4, 2])) for _ in range(3))
    values = tf.constant([[1.0, 2.0], [3.0, 5.0]])
    optimizers = [htl.LazyAdam(0.1) for _ in range(3)]

    @tf.function
    def through_unique() -> None:
        rows, _ = tf.unique(tf.constant([2, 1, 2]))
        optimizers[1].apply_gradients([(tf.IndexedSlices(values, rows, tf.constant([4, 2])), unique)])

    @tf.function
    def with_repeats() -> None:
        rows = tf.constant([2, 1, 2])
        repeated_values = tf.concat([values, tf.zeros([1, 2])], axis=0)
        optimizers[2].apply_gradients([(tf.IndexedSlices(repeated_values, rows, tf.constant([4, 2])), repeated)])

    optimizers[0].apply_gradients([(tf.IndexedSlices(values, tf.constant([2, 1]), tf.constant([4, 2])), eager)])
    through_unique()
    with_repeats()
    np.testing.assert_allclose(unique, eager, rtol=1e-6)
    np.testing.assert_allclose(repeated, eager, rtol=1e-6)


def test_slots_are_saved_and_restored(tmp_path: Path) -> None:
    def optimizer_and_variable() -> tuple[htl.LazyAdam, tf.Variable]:
        return htl.LazyAdam(0.1), tf.Variable(tf.ones([6, 3]))

    first, variable = optimizer_and_variable()
    first.apply_gradients([(slices([0, 1], 0), variable)])
    path = tf.train.Checkpoint(optimizer=first, variable=variable).save(str(tmp_path / "c"))
    first.apply_gradients([(slices([1, 2], 1), variable)])

    second, restored = optimizer_and_variable()
    second.build([restored])
    tf.train.Checkpoint(optimizer=second, variable=restored).restore(path).assert_consumed()
    second.apply_gradients([(slices([1, 2], 1), restored)])
    np.testing.assert_array_equal(variable, restored)


@pytest.mark.parametrize("name", ["amsgrad", "weight_decay", "ema_overwrite_frequency"])
def test_what_would_move_every_row_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        htl.LazyAdam(**{name: True})


def test_config_round_trip() -> None:
    optimizer = htl.LazyAdam.from_config(htl.LazyAdam(0.25, beta_1=0.8).get_config())
    assert float(optimizer.learning_rate) == 0.25
    assert optimizer.beta_1 == 0.8
