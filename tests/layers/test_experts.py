"""Experts, gates and their levels against NumPy in float64, written from the formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import htlnet_tf  # noqa: F401
from htlnet_tf.layers.customized_gate_control import CustomizedGateControl
from htlnet_tf.layers.experts import Experts
from htlnet_tf.layers.gates import Gate
from htlnet_tf.layers.task_fusion import TaskFusion
from tests.layers.experts_reference import run_experts, run_gate

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(6, 5))


def f32(x: np.ndarray) -> tf.Tensor:
    return tf.constant(x, tf.float32)


def shaken(layer: Any, inputs: Any) -> Any:
    """The layer, built, with weights far from their start (biases start at 0)."""
    layer(inputs)
    for weight in layer.trainable_variables:
        weight.assign(RANDOM.normal(size=weight.shape))
    return layer


@pytest.mark.parametrize("units", [(4,), (4, 3)])
def test_experts_against_numpy(units: tuple[int, ...]) -> None:
    layer = shaken(Experts(3, units, name="e"), f32(X))
    np.testing.assert_allclose(layer(f32(X)), run_experts(layer, X), rtol=1e-4, atol=1e-5)


def test_experts_start_different_and_at_the_scale_of_one_matrix() -> None:
    layer = Experts(2, (400,), name="e")
    layer(tf.zeros([1, 200]))
    kernel = layer.kernels[0].numpy()
    assert not np.allclose(kernel[0], kernel[1])
    # Glorot's uniform: the variance is 2 / (in + out).
    np.testing.assert_allclose(kernel.var(axis=(1, 2)), 2 / 600, rtol=0.02)
    with pytest.raises(ValueError, match="at least one expert"):
        Experts(0, (4,), name="e")
    with pytest.raises(ValueError, match="at least one expert"):
        Experts(2, (), name="e")


def test_a_gate_s_weights_sum_to_one_and_mix() -> None:
    experts = RANDOM.normal(size=(6, 4, 3))
    gate = Gate(4, name="g")
    mixed = gate(f32(X), f32(experts))
    weights = gate.weights_of(f32(X)).numpy()
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-6)
    assert (weights > 0).all()
    np.testing.assert_allclose(mixed, run_gate(gate, X, experts), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shared_gate", [True, False])
def test_customized_gate_control_against_numpy(shared_gate: bool) -> None:
    inputs = [RANDOM.normal(size=(6, 5)) for _ in range(3)]
    tensors = [f32(x) for x in inputs]
    layer = shaken(CustomizedGateControl(2, 2, 1, (4,), shared_gate=shared_gate, name="cgc"), tensors)
    own = [run_experts(layer.task_experts[t], inputs[t]) for t in range(2)]
    shared = run_experts(layer.shared_experts, inputs[2])
    expected = [run_gate(layer.gates[t], inputs[t], np.concatenate([own[t], shared], axis=1)) for t in range(2)]
    if shared_gate:
        expected.append(run_gate(layer.shared_gate, inputs[2], np.concatenate([*own, shared], axis=1)))
    outputs = layer(tensors)
    assert len(outputs) == len(expected)
    for output, value in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(output, value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("num_experts", [1, 2])
def test_task_fusion_against_numpy(num_experts: int) -> None:
    inputs = [RANDOM.normal(size=(6, 5)) for _ in range(3)]
    tensors = [f32(x) for x in inputs]
    layer = shaken(TaskFusion(3, num_experts, (4,), name="fusion"), tensors)
    own = [run_experts(layer.experts[t], inputs[t]) for t in range(3)]
    everyone = np.concatenate(own, axis=1)
    for t, output in enumerate(layer(tensors)):
        native = layer.native.numpy()[t].astype(np.float64) if num_experts > 1 else np.ones(1)
        residual = (native[np.newaxis, :, np.newaxis] * own[t]).sum(axis=1)
        expected = run_gate(layer.gates[t], inputs[t], everyone) + residual
        np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-5)


def test_the_residual_is_of_the_native_expert_alone() -> None:
    """By hand: experts that give the constants 1, 10 and 100, gates at 0, so each takes a third of each."""
    tensors = [tf.zeros([1, 2])] * 3
    layer = TaskFusion(3, 1, (1,), name="fusion")
    layer(tensors)
    for experts, gate, constant in zip(layer.experts, layer.gates, (1.0, 10.0, 100.0), strict=True):
        experts.biases[0].assign([[constant]])
        gate.logits.kernel.assign(tf.zeros_like(gate.logits.kernel))
    assert [float(y[0, 0]) for y in layer(tensors)] == pytest.approx([37 + 1, 37 + 10, 37 + 100])
