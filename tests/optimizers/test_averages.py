"""Averaged weights: the average over all steps, though a step moves some rows alone; and what `fit` makes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import htlnet_tf as htl
from htlnet_tf.runs.callbacks import KeepBest

M = 0.9
Build = Callable[..., Any]


def averaged(weights: list[np.ndarray]) -> np.ndarray:
    """sum_i m^(t-i) w_i / sum_i m^(t-i) in float64."""
    shares = M ** np.arange(len(weights) - 1, -1, -1.0)
    return np.tensordot(shares / shares.sum(), np.stack([w.astype(np.float64) for w in weights]), axes=1)


def step(optimizer: Any, table: tf.Variable, bias: tf.Variable, number: int) -> None:
    random = np.random.default_rng(number)
    rows = random.choice(6, 1 + number % 3, replace=False)  # row 5 stays alone for long
    rows = rows[rows != 5] if number != 7 else np.append(rows[rows != 5], 5)
    values = tf.constant(random.normal(size=(len(rows), 3)), tf.float32)
    gradient = tf.IndexedSlices(values, tf.constant(rows), tf.constant([6, 3]))
    optimizer.apply_gradients([(gradient, table), (tf.constant(random.normal(size=2), tf.float32), bias)])


def test_the_average_is_over_all_steps_for_touched_and_untouched_rows() -> None:
    table, bias = tf.Variable(tf.random.stateless_normal([6, 3], [0, 1])), tf.Variable([3.0, -3.0])
    optimizer, plain = htl.LazyAdam(0.1, use_ema=True, ema_momentum=M), htl.LazyAdam(0.1)
    other = [tf.Variable(table), tf.Variable(bias)]
    tables, biases = [], []
    for number in range(12):
        step(optimizer, table, bias, number)
        step(plain, *other, number)
        np.testing.assert_array_equal(table, other[0])  # the training itself is the same
        tables.append(table.numpy())
        biases.append(bias.numpy())
        if number in (0, 6, 11):
            optimizer.use_averages(True)
            # At first they are the weights after the first step: the start values have no part in them.
            np.testing.assert_allclose(table, averaged(tables), rtol=2e-6, atol=1e-6)
            np.testing.assert_allclose(bias, averaged(biases), rtol=2e-6, atol=1e-6)
            optimizer.use_averages(True)  # where they are already
            optimizer.use_averages(False)
            np.testing.assert_array_equal(table, tables[-1])
            np.testing.assert_array_equal(bias, biases[-1])
    optimizer.restart_averages()
    step(optimizer, table, bias, 12)
    latest = table.numpy()
    optimizer.finalize_variable_values([table, bias])
    np.testing.assert_allclose(table, latest, rtol=1e-6)
    # A loop of one's own goes on from there, and can do it again.
    later = []
    for number in range(13, 16):
        step(optimizer, table, bias, number)
        later.append(table.numpy())
    optimizer.finalize_variable_values([table, bias])
    np.testing.assert_allclose(table, averaged(later), rtol=2e-6, atol=1e-6)


def test_averages_are_saved_in_the_middle_of_a_training(tmp_path: Path) -> None:
    def made() -> tuple[Any, tf.Variable, tf.Variable]:
        return htl.LazyAdam(0.1, use_ema=True, ema_momentum=M), tf.Variable(tf.ones([6, 3])), tf.Variable([1.0, 2.0])

    optimizer, table, bias = made()
    for number in range(5):
        step(optimizer, table, bias, number)
    optimizer.use_averages(True)  # as at the end of an epoch, when checkpoints are written
    path = tf.train.Checkpoint(optimizer=optimizer, table=table, bias=bias).save(str(tmp_path / "c"))
    second, other_table, other_bias = made()
    second.build([other_table, other_bias])
    tf.train.Checkpoint(optimizer=second, table=other_table, bias=other_bias).restore(path).assert_consumed()
    for o, t, b in ((optimizer, table, bias), (second, other_table, other_bias)):
        o.use_averages(False)
        for number in range(5, 9):
            step(o, t, b, number)
        o.use_averages(True)
    np.testing.assert_array_equal(table, other_table)
    np.testing.assert_array_equal(bias, other_bias)


def test_a_momentum_outside_of_0_and_1_is_refused() -> None:
    for momentum in (0.0, 1.0):
        with pytest.raises(ValueError, match=r"ema_momentum must be in \(0, 1\), received"):
            htl.LazyAdam(use_ema=True, ema_momentum=momentum)
    config = htl.LazyAdam(use_ema=True, ema_momentum=0.5).get_config()
    again = htl.LazyAdam.from_config(config)
    assert (again.use_ema, again.ema_momentum) == (True, 0.5)


class Weights(tf.keras.callbacks.Callback):
    """What the table has after each step and at the end of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[np.ndarray] = []
        self.epochs: list[np.ndarray] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.steps.append(self.model.embedding.table.numpy())

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epochs.append(self.model.embedding.table.numpy())


def test_fit_validates_keeps_and_levels_the_averages(
    make_model: Build, schema: htl.Schema, encoder: Any, frame: pd.DataFrame
) -> None:
    model = make_model(htl.SharedBottom)
    model.compile(htl.LazyAdam(0.05, use_ema=True, ema_momentum=M))
    dataset = htl.data.make_dataset(frame, schema, encoder, batch_size=100)
    seen, best = Weights(), KeepBest(10)
    history = model.fit(dataset, validation_data=dataset, epochs=3, callbacks=[best, seen], verbose=0).history
    assert len(seen.steps) == 12
    for epoch, table in enumerate(seen.epochs):
        np.testing.assert_allclose(table, averaged(seen.steps[: 4 * epoch + 4]), rtol=1e-4, atol=1e-6)
    kept = int(np.argmin(history["val_relative_loss"]))
    np.testing.assert_array_equal(model.embedding.table, seen.epochs[kept])
    assert model.evaluate(dataset, verbose=0, return_dict=True)["loss"] == pytest.approx(
        history["val_loss"][kept], rel=1e-5
    )
    # The level is that of the averages.
    scores = model.predict(dataset, verbose=0)["spend"]
    assert scores.sum() == pytest.approx(frame["spend"].sum(), rel=1e-4)
    # A further fit goes on from what the model has.
    again = Weights()
    model.optimizer.learning_rate = 0.0
    model.fit(dataset, callbacks=[again], verbose=0)
    np.testing.assert_allclose(again.epochs[-1], seen.epochs[kept], rtol=1e-5)
