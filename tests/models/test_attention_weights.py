"""What HTLNet's fusion units attend to, and that the towers are wired as ever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import htlnet_tf as htl
from htlnet_tf.layers.information_fusion import InformationFusion

Build = Callable[..., Any]


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def shared(model: Any, features: Any) -> tf.Tensor:
    return tf.concat([model.embedding(features["ids"]), features["numeric"]], axis=1)


def attend(unit: InformationFusion, inputs: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The unit's formula: the fused vector and the weights."""
    kernel = unit.kernel.numpy().astype(np.float64)
    if len(inputs) == 1:
        return inputs[0] @ kernel, np.ones([len(inputs[0]), 1])
    w_v, w_k, w_q = np.split(kernel, 3, axis=1)
    scores = np.stack([((u @ w_k) * (u @ w_q)).sum(axis=1) for u in inputs], axis=1) / np.sqrt(unit.width)
    weights = softmax(scores)
    return sum(weights[:, [i]] * (u @ w_v) for i, u in enumerate(inputs)), weights


def forward(model: Any, x: np.ndarray) -> tuple[list[np.ndarray], list[dict[str, np.ndarray]]]:
    """Outputs and attention weights of every tower of a funnel of binary targets, in float64 from section 2's formulas.

    In inference a label's embedding is the expected one.
    """
    representations: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    outputs, weights = [], []
    for t, tower in enumerate(model.towers):
        found: dict[str, np.ndarray] = {}
        h = [x]
        if t > 0:
            fused, found["representation"] = attend(model.representation_fusions[t], representations)
            fused_label, found["label"] = attend(model.label_fusions[t], labels)
            h += [fused, fused_label]
        activation = np.concatenate(h, axis=1)
        for i, layer in enumerate(tower.hidden):
            activation = np.maximum(activation @ layer.kernel.numpy() + layer.bias.numpy(), 0.0)
            if i == 0:
                representations.append(activation)
        output = (activation @ tower.head.kernel.numpy() + tower.head.bias.numpy())[:, 0]
        outputs.append(output)
        weights.append(found)
        if t < len(model.label_embeddings):
            p = 1 / (1 + np.exp(-output))
            labels.append(np.stack([1 - p, p], axis=1) @ list(model.label_embeddings.values())[t].table.numpy())
    return outputs, weights


def trained(model: Any, batch: Any, steps: int = 5) -> Any:
    for _ in range(steps):  # away from the initial weights, where the attention is nearly uniform
        model.train_step(batch)
    return model


def test_against_float64_numpy(make_model: Build, batch: Any) -> None:
    model = trained(make_model(label_embedding="soft"), batch)
    features, _ = batch
    x = shared(model, features)
    outputs, weights = forward(model, x.numpy().astype(np.float64))
    for ours, expected in zip(model.task_outputs([x] * 3, training=False), outputs, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)
    found = model.attention_weights(features)
    assert {target: list(units) for target, units in found.items()} == {"spend": ["representation", "label"]}
    for unit in ("representation", "label"):
        np.testing.assert_allclose(found["spend"][unit], weights[2][unit], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("form", ["marginal", "soft"])
def test_weights_are_shares(make_model: Build, batch: Any, form: str) -> None:
    model = trained(make_model(label_embedding=form), batch)
    for weights in model.attention_weights(batch[0])["spend"].values():
        assert weights.shape == (64, 2)
        assert weights.dtype == tf.float32
        np.testing.assert_allclose(tf.reduce_sum(weights, axis=1), 1.0, atol=1e-6)
        assert float(tf.reduce_min(weights)) >= 0
        assert float(tf.reduce_max(weights)) <= 1


def test_inference_draws_no_noise(make_model: Build, batch: Any) -> None:
    model = trained(make_model(label_embedding="soft"), batch)
    first, second = (model.attention_weights(batch[0])["spend"]["label"] for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("arguments", "units"),
    [
        ({"use_representation": False}, ["label"]),
        ({"use_label_embedding": False}, ["representation"]),
        ({"use_representation": False, "use_label_embedding": False}, []),
        ({"fusion": "concat"}, []),
        ({"stop_gradient": False}, ["representation", "label"]),
    ],
)
def test_units_without_weights_are_left_out(
    make_model: Build, batch: Any, arguments: dict[str, Any], units: list[str]
) -> None:
    found = make_model(**arguments).attention_weights(batch[0])
    assert {target: list(each) for target, each in found.items()} == ({"spend": units} if units else {})


def test_two_targets_leave_no_choice(schema: htl.Schema, frame: Any) -> None:
    two = htl.Schema(features=schema.features, targets=(schema.targets[0], schema.targets[2]))
    encoder = htl.FeatureEncoder.fit(two, frame)
    model = htl.HTLNet(two, encoder, tower_units=(8,))
    features = {key: tf.constant(values) for key, values in encoder.encode(frame).items()}
    assert model.attention_weights(features) == {}


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"fusion": "concat"},
        {"use_representation": False},
        {"use_label_embedding": False},
        {"use_representation": False, "use_label_embedding": False},
    ],
)
def test_inputs_of_a_tower(make_model: Build, batch: Any, arguments: dict[str, Any]) -> None:
    """h_t = concat(e, fused_rep, fused_le) with the units called one after the other."""
    model = make_model(label_embedding="soft", **arguments)
    x = shared(model, batch[0])
    representations, labels, expected = [], [], []
    for t, tower in enumerate(model.towers):
        h = [x]
        if t > 0 and model.use_representation:
            h.append(model.representation_fusions[t](representations))
        if t > 0 and model.use_label_embedding:
            h.append(model.label_fusions[t](labels))
        representation, output = tower(tf.concat(h, axis=1))
        expected.append(output)
        representations.append(representation)
        if t < 2 and model.use_label_embedding:
            labels.append(
                list(model.label_embeddings.values())[t](tf.nn.log_softmax(tf.stack([0 * output, output], axis=1)))
            )
    for ours, theirs in zip(model.task_outputs([x] * 3, training=False), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
