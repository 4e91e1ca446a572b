"""Layers between the embedding and the towers: they are trained, and the adjustment is still that of the rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_recommenders as tfrs

import htlnet_tf as htl

Build = Callable[..., Any]


class Crossed(htl.HTLNet):
    """HTLNet on a cross layer and a projection."""

    def create_shared_layers(self) -> None:
        self.cross = tfrs.layers.feature_interaction.Cross()
        self.project = tf.keras.layers.Dense(7, "tanh")

    def shared_input(self, embedded: tf.Tensor, features: Any) -> tf.Tensor:
        return self.project(self.cross(super().shared_input(embedded, features)))


class CrossedBottom(htl.SharedBottom):
    """The same below towers that are not independent."""

    create_shared_layers = Crossed.create_shared_layers

    def shared_input(self, embedded: tf.Tensor, features: Any) -> tf.Tensor:
        return self.project(self.cross(super().shared_input(embedded, features)))


@pytest.mark.parametrize("kind", [Crossed, CrossedBottom])
def test_the_layers_learn_and_each_tasks_gradient_at_the_rows_is_its_own(
    make_model: Build, batch: Any, kind: Any
) -> None:
    """The update of table and layers from per-task dense gradients, adjusted on flattened float64 vectors."""
    arguments = {"label_embedding": "expected"} if kind is Crossed else {}
    adjustment = htl.GradientAdjustment(1.0, 0.5, 100.0)
    model = make_model(kind, embedding_l2=0.0, gradient_adjustment=adjustment, gradient_metrics=True, **arguments)
    model.embedding.table.assign(tf.random.stateless_normal(model.embedding.table.shape, [1, 2], stddev=0.3))
    features, targets = batch
    layers = [*model.cross.trainable_weights, *model.project.trainable_weights]
    assert len(layers) == 4
    assert {id(w) for w in layers} <= {id(w) for w in model.trainable_weights}
    with tf.GradientTape(persistent=True) as tape:
        shared = model.shared_input(model.embedding(features["ids"]), features)
        losses = model._task_losses(targets, model.task_outputs([shared] * 3, training=True))
        total = tf.add_n(losses)
    table = model.embedding.table
    gradients = [tf.convert_to_tensor(tape.gradient(loss, table)).numpy().astype(np.float64).ravel() for loss in losses]
    core, combined = gradients[-1], gradients[-1].copy()
    for g in gradients[:-1]:
        direction = g - min(0.0, g @ core) / (core @ core) * core
        combined += 0.5 * (1.0 + min(np.linalg.norm(core) / np.linalg.norm(direction), 100.0)) * direction
    expected = [table.numpy() - 0.1 * combined.reshape(table.shape)]
    expected += [w.numpy() - 0.1 * tape.gradient(total, w).numpy() for w in layers]
    model.compile(optimizer=tf.keras.optimizers.SGD(0.1), run_eagerly=True)
    results = model.train_on_batch(*batch, return_dict=True)
    for got, want in zip([table, *layers], expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)
    for name, gradient in zip(("click", "buy", "spend"), gradients, strict=True):
        assert results[f"{name}_gradient_norm"] == pytest.approx(np.linalg.norm(gradient), rel=1e-4)


def test_the_layers_are_trained_by_fit_and_saved_with_the_rest(
    make_model: Build, schema: htl.Schema, frame: Any, encoder: Any, tmp_path: Any
) -> None:
    model = make_model(Crossed)
    dataset = htl.data.make_dataset(frame, schema, encoder, batch_size=100)
    before = model.project.kernel.numpy()
    model.fit(dataset, verbose=0)
    assert not np.allclose(model.project.kernel, before)
    model.save_weights(tmp_path / "w")
    restored = make_model(Crossed)
    restored.load_weights(tmp_path / "w").expect_partial()
    np.testing.assert_array_equal(htl.predict(restored, frame), htl.predict(model, frame))


def test_a_single_task_model_has_no_shared_layers(schema: htl.Schema, encoder: Any) -> None:
    class Wrong(htl.SingleTask):
        def shared_input(self, embedded: tf.Tensor, features: Any) -> tf.Tensor:
            return embedded

    with pytest.raises(TypeError, match="shares nothing"):
        Wrong(schema, encoder)
