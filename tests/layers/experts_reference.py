"""Experts and gates in float64 NumPy, written from their formulas."""

from __future__ import annotations

import numpy as np

from htlnet_tf.layers.experts import Experts
from htlnet_tf.layers.gates import Gate


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def run_experts(layer: Experts, x: np.ndarray) -> np.ndarray:
    """[B, n, u] in float64, expert by expert."""
    outputs = []
    for i in range(layer.num_experts):
        hidden = x
        for kernel, bias in zip(layer.kernels, layer.biases, strict=True):
            hidden = np.maximum(hidden @ kernel.numpy()[i].astype(np.float64) + bias.numpy()[i], 0.0)
        outputs.append(hidden)
    return np.stack(outputs, axis=1)


def run_gate(layer: Gate, x: np.ndarray, experts: np.ndarray) -> np.ndarray:
    weights = softmax(x @ layer.logits.kernel.numpy().astype(np.float64))
    return (weights[:, :, np.newaxis] * experts).sum(axis=1)
