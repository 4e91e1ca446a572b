"""`trainable = False`: what is frozen stays as it is, whatever it is, and the rest is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import htlnet_tf as htl
from htlnet_tf.models import MODELS

Build = Callable[..., Any]


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_frozen_embedding_stays_and_a_frozen_rest_leaves_the_embedding_to_train(
    schema: htl.Schema, encoder: Any, batch: Any, name: str
) -> None:
    model = MODELS[name](schema, encoder, tower_units=(8,), gradient_metrics=True)
    others = [layer for layer in model.layers if layer is not model.embedding]
    model.embedding.trainable = False
    model.compile(optimizer=htl.LazyAdam(1e-2), run_eagerly=True)
    table, towers = model.embedding.table.numpy(), [w.numpy() for w in model.trainable_weights]
    results = model.train_on_batch(*batch, return_dict=True)
    np.testing.assert_array_equal(model.embedding.table, table)
    assert all(not np.array_equal(w, before) for w, before in zip(model.trainable_weights, towers, strict=True))
    assert not any("gradient" in key for key in results)  # there is no gradient to tell of
    assert len(model.optimizer.variables) == 1 + 2 * len(towers)  # the step, two moments each

    model.embedding.trainable = True
    for layer in others:
        layer.trainable = False
    model.compile(optimizer=htl.LazyAdam(1e-2), run_eagerly=True)
    assert [w.name for w in model.trainable_weights] == [model.embedding.table.name]
    rest = [w.numpy() for layer in others for w in layer.weights if "tau" not in w.name]
    results = model.train_on_batch(*batch, return_dict=True)
    touched = np.unique(batch[0]["ids"].numpy())
    assert not np.allclose(model.embedding.table.numpy()[touched], table[touched])
    for before, after in zip(rest, (w for layer in others for w in layer.weights if "tau" not in w.name), strict=True):
        if not any(m is after for metric in model.metrics for m in metric.variables):
            np.testing.assert_array_equal(before, after)
    assert results["click_gradient_norm"] > 0
    assert len(model.optimizer.variables) == 1 + 2


def test_a_frozen_embedding_under_an_adjustment_trains_the_towers_as_the_plain_sum_does(
    make_model: Build, batch: Any
) -> None:
    """The adjustment is about the embedding alone; the towers get the gradient of the sum of the losses."""
    weights = []
    for adjustment in (htl.GradientAdjustment(), htl.GradientSum()):
        model = make_model(gradient_adjustment=adjustment, label_embedding="expected")
        model.embedding.trainable = False
        model.compile(optimizer=tf.keras.optimizers.SGD(0.1), run_eagerly=True)
        model.train_on_batch(*batch)
        weights.append([w.numpy() for w in model.trainable_weights])
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_only_the_label_embeddings_train(make_model: Build, batch: Any) -> None:
    model = make_model()
    units = list(model.label_embeddings.values())
    for layer in model.layers:
        layer.trainable = layer in units
    model.compile(optimizer=htl.LazyAdam(1e-2), run_eagerly=True)
    tables = [unit.table for unit in units]
    assert {id(w) for w in model.trainable_weights} == {id(table) for table in tables}
    before = {id(w): w.numpy() for w in (*tables, *model.towers[0].weights, *model.embedding.tables)}
    model.train_on_batch(*batch)
    for w in (*tables, *model.towers[0].weights, *model.embedding.tables):
        assert np.array_equal(w.numpy(), before[id(w)]) == all(w is not table for table in tables), w.name


def test_one_tower_is_frozen(make_model: Build, batch: Any) -> None:
    model = make_model()
    model.towers[1].trainable = False
    model.compile(optimizer=htl.LazyAdam(1e-2), run_eagerly=True)
    before = [w.numpy() for tower in model.towers for w in tower.weights]
    model.train_on_batch(*batch)
    same = [np.array_equal(w, b) for w, b in zip((w for t in model.towers for w in t.weights), before, strict=True)]
    first, second = len(model.towers[0].weights), len(model.towers[1].weights)
    assert same == [False] * first + [True] * second + [False] * len(model.towers[2].weights)


@pytest.mark.parametrize("on_nonfinite", ["raise", "skip"])
def test_nothing_is_trained(make_model: Build, batch: Any, on_nonfinite: str) -> None:
    model = make_model(on_nonfinite=on_nonfinite)
    model.trainable = False
    model.compile(optimizer=htl.LazyAdam(1e-2), run_eagerly=True)
    before = [w.numpy() for w in (*model.embedding.tables, *model.towers[2].weights)]
    assert model.train_on_batch(*batch)[0] > 0
    for w, b in zip((*model.embedding.tables, *model.towers[2].weights), before, strict=True):
        np.testing.assert_array_equal(w, b)


def test_one_of_two_tables_is_frozen(schema: htl.Schema, frame: pd.DataFrame) -> None:
    """The Gram matrix is that of the other one: from float64 NumPy, the norms of the gradients there."""
    features = [htl.Categorical("user_id", embedding_dim=3), *schema.features[1:]]
    wide = htl.Schema(features=features, targets=schema.targets, timestamp="time_ms")
    encoder = htl.FeatureEncoder.fit(wide, frame)
    tf.keras.utils.set_random_seed(0)
    model = htl.HTLNet(wide, encoder, tower_units=(8,), label_embedding="expected")
    frozen, trained = model.embedding.parts
    frozen.trainable = False
    model.compile(optimizer=tf.keras.optimizers.SGD(0.1), run_eagerly=True)
    features_, targets = next(iter(htl.data.make_dataset(frame, wide, encoder, batch_size=64)))
    with tf.GradientTape() as tape:
        shared = model.shared_input(model.embedding(features_["ids"]), features_)
        loss = model._task_losses(targets, model.task_outputs([shared] * 3, training=True))[0]
    norm = np.linalg.norm(tf.convert_to_tensor(tape.gradient(loss, trained.table)).numpy().astype(np.float64))
    before = [part.table.numpy() for part in model.embedding.parts]
    results = model.train_on_batch(features_, targets, return_dict=True)
    assert results["click_gradient_norm"] == pytest.approx(norm, rel=1e-5)
    np.testing.assert_array_equal(frozen.table, before[0])
    assert not np.allclose(trained.table, before[1])


def test_a_part_is_thawed_again(make_model: Build, schema: htl.Schema, frame: pd.DataFrame, encoder: Any) -> None:
    """As in fine-tuning: `compile` after each change, in graphs."""
    dataset = htl.data.make_dataset(frame, schema, encoder, batch_size=100)
    model = make_model(htl.SharedBottom, gradient_adjustment=htl.GradientAdjustment(), gradient_metrics=True)
    table = model.embedding.table.numpy()
    model.embedding.trainable = False
    model.compile(optimizer=htl.LazyAdam(1e-2))
    steps = htl.GradientHistory()
    model.fit(dataset, verbose=0, callbacks=[steps])
    np.testing.assert_array_equal(model.embedding.table, table)
    assert np.isnan(steps.history["click_gradient_norm"]).all()
    model.embedding.trainable = True
    model.compile(optimizer=htl.LazyAdam(1e-2))
    history = model.fit(dataset, verbose=0).history
    assert not np.array_equal(model.embedding.table, table)
    assert history["click_gradient_norm"][0] > 0
