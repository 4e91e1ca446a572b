"""The step on the shared parameters in float64 NumPy, written from the equations and not from the package's code.

Everything is explicit: dense gradients of the whole table, flattened; one vector operation per line of the paper.
"""

from __future__ import annotations

import itertools

import numpy as np


def table_gradient(ids: np.ndarray, upstream: np.ndarray, num_rows: int) -> np.ndarray:
    """A loss's gradient at the table [num_rows, d], from that at the looked-up rows [B, F, d]; equal ids are summed."""
    gradient = np.zeros((num_rows, upstream.shape[-1]), np.float64)
    for row, feature in itertools.product(range(ids.shape[0]), range(ids.shape[1])):
        gradient[ids[row, feature]] += upstream[row, feature].astype(np.float64)
    return gradient


def adjust(gradients: np.ndarray, alpha: float, gamma: float, clip: float, *, relative_clip: bool = True) -> np.ndarray:
    """HTLNet, section 3.5: the adjusted gradients [T, n] of gradients [T, n], core last; C may be in units of the ratio
    of the norms before the projection."""
    core = gradients[-1]
    core_norm = np.linalg.norm(core)
    adjusted = []
    for gradient in gradients[:-1]:
        inner = gradient @ core
        direction = gradient - alpha * inner / core_norm**2 * core if inner < 0 else gradient
        norm = np.linalg.norm(direction)
        allowed = clip * core_norm / np.linalg.norm(gradient) if relative_clip else clip
        weight = min(core_norm / norm, allowed) if norm > 0 else 0.0
        adjusted.append(gamma * weight * direction + (1 - gamma) * direction)
    return np.asarray([*adjusted, core])


def pcgrad(gradients: np.ndarray) -> np.ndarray:
    """PCGrad, algorithm 1, visiting the other tasks in their order: the sum [n] of the projected gradients."""
    total = np.zeros_like(gradients[0])
    for i, gradient in enumerate(gradients):
        projected = gradient.copy()
        for j, other in enumerate(gradients):
            if i != j and projected @ other < 0:
                projected = projected - (projected @ other) / (other @ other) * other
        total += projected
    return total


def metabalance(steps: list[np.ndarray], relax: float, beta: float, strategy: str) -> np.ndarray:
    """MetaBalance, algorithm 1, over a sequence of gradients [T, n], target last: the last step's sum [n]."""
    averages = np.zeros(len(steps[0]))
    for gradients in steps:
        total = np.zeros_like(gradients[0])
        averages = beta * averages + (1 - beta) * np.linalg.norm(gradients, axis=1)
        for i, gradient in enumerate(gradients):
            larger = averages[i] > averages[-1]
            balanced = strategy == "both" or (larger if strategy == "reduce" else averages[i] < averages[-1])
            if i < len(gradients) - 1 and balanced:
                total += gradient * averages[-1] / averages[i] * relax + gradient * (1 - relax)
            else:
                total += gradient
    return total


def masked_loss(kind: str, labels: np.ndarray, outputs: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """A target's loss and its gradient at the outputs: sum of weight * row loss over the number of weights that are
    not 0; rows of weight 0 are left out before anything is computed."""
    gradient = np.zeros_like(outputs)
    rows = np.flatnonzero(weights)
    total = 0.0
    for row in rows:
        y, o, w = labels[row], outputs[row], weights[row] / len(rows)
        if kind == "binary":
            p = 1 / (1 + np.exp(-o))
            total -= w * (y * np.log(p) + (1 - y) * np.log(1 - p))
            gradient[row] = w * (p - y)
        elif kind == "multiclass":
            p = np.exp(o) / np.exp(o).sum()
            total -= w * np.log(p[int(y)])
            gradient[row] = w * (p - np.eye(len(o))[int(y)])
        else:
            total += w * (o - y) ** 2
            gradient[row] = w * 2 * (o - y)
    return total, gradient


def dense(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """A layer with ReLU."""
    return np.maximum(x @ kernel + bias, 0)


def dense_backward(
    upstream: np.ndarray, x: np.ndarray, output: np.ndarray, kernel: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Of `dense`, from the gradient at its output: the gradients at its input, and at kernel and bias."""
    before = upstream * (output > 0)
    return before @ kernel.T, [x.T @ before, before.sum(axis=0)]
