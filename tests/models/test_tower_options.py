"""Options that all models share beside the step: dropout in the towers, cross layers before them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import htlnet_tf as htl
from htlnet_tf.models import MODELS

Build = Callable[..., Any]


def outputs(model: Any, features: Any, *, training: bool) -> np.ndarray:
    return np.stack([o.numpy() for o in model._outputs(features, training)])


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_model_drops_in_training_alone(make_model: Build, batch: Any, name: str) -> None:
    tf.keras.utils.set_random_seed(0)
    features, targets = batch
    model, plain = make_model(MODELS[name], dropout=0.5), make_model(MODELS[name])
    assert [w.shape for w in model.weights] == [w.shape for w in plain.weights]
    plain.set_weights(model.get_weights())
    expected = outputs(plain, features, training=False)
    np.testing.assert_array_equal(outputs(model, features, training=False), expected)
    # Every tower drops, and the step's own outputs are dropped too.
    dropped = outputs(model, features, training=True)
    shared = model.shared_input(model.embedding(features["ids"]), features)
    of_step = [o.numpy() for o in model.training_outputs([shared] * 3, targets, None)]
    again = [o.numpy() for o in model.training_outputs([shared] * 3, targets, None)]
    for t in range(3):
        assert not np.allclose(dropped[t], expected[t])
        assert not np.allclose(of_step[t], again[t])


@pytest.mark.parametrize("kind", [htl.HTLNet, htl.SharedBottom])
def test_cross_layers_by_their_formula(make_model: Build, batch: Any, kind: Any, tmp_path: Path) -> None:
    features, _ = batch
    model = make_model(kind, cross_layers=2, cross_rank=3)
    model.embedding.table.assign(tf.random.stateless_normal(model.embedding.table.shape, [1, 2], stddev=0.5))
    plain = make_model(kind)
    x0 = plain.shared_input(model.embedding(features["ids"]), features).numpy().astype(np.float64)
    weights = [w.numpy().astype(np.float64) for w in model.cross.trainable_weights]
    kernels = {w.name: v for w, v in zip(model.cross.trainable_weights, weights, strict=True)}
    assert sorted(v.shape for v in kernels.values()) == sorted([(x0.shape[1], 3), (3, x0.shape[1]), x0.shape[1:]] * 2)
    x = x0
    for u, v in zip(model.cross._dense_u_kernels, model.cross._dense_v_kernels, strict=True):
        v.bias.assign(tf.random.stateless_normal(v.bias.shape, [3, 4]))
        x = x0 * (x @ u.kernel.numpy() @ v.kernel.numpy() + v.bias.numpy()) + x
    got = model.shared_input(model.embedding(features["ids"]), features)
    np.testing.assert_allclose(got, x, rtol=1e-4, atol=1e-5)
    htl.save_run(model, tmp_path / "run")
    restored = htl.load_run(tmp_path / "run").model
    np.testing.assert_array_equal(outputs(restored, features, training=False), outputs(model, features, training=False))


def test_cross_layers_learn(make_model: Build, batch: Any) -> None:
    model = make_model(htl.HTLNet, cross_layers=1, cross_rank=2)
    before = [w.numpy() for w in model.cross.trainable_weights]
    assert len(before) == 3
    model.compile(run_eagerly=True)
    model.train_on_batch(*batch)
    for weight, old in zip(model.cross.trainable_weights, before, strict=True):
        assert not np.allclose(weight, old)


def test_what_cannot_be_crossed(make_model: Build) -> None:
    with pytest.raises(ValueError, match="cross_layers must not be negative and cross_rank at least 1, received 1, 0"):
        make_model(htl.SharedBottom, cross_layers=1, cross_rank=0)
    with pytest.raises(TypeError, match="cross_layers"):
        make_model(htl.SingleTask, cross_layers=1)
