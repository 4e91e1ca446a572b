"""Gradients to try the methods on, and what comes of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from hypothesis import strategies as st

seeds = st.integers(0, 2**32 - 1)
tasks = st.integers(2, 5)

HARD = {
    "nearly parallel": [[1.0, 0.0, 0.0], [1.0, 0.01, 0.0], [1.0, 0.0, 0.01]],
    "nearly opposite": [[1.0, 0.0, 0.0], [-1.0, 0.03, 0.0], [0.1, 0.0, 1.0]],
    "very different scales": [[1e-4, 2e-5, 0.0], [-1.0, 1.0, 0.5], [1e3, 1e3, -2e3]],
    "a loss in milliseconds": [[1e-3, 0.0, 1e-4], [-2e-3, 5e-3, 0.0], [4e2, 1e3, 3e2]],
    "two tasks": [[3.0, 1.0], [-1.0, 0.5]],
    "tiny": [[1e-12, 2e-12], [-1e-12, 1e-12]],
    "huge": [[1e12, 2e12], [-1e12, 1e12]],
}


def draw(seed: int, num_tasks: int, size: int = 12, decades: float = 1.5) -> np.ndarray:
    """Gradients [T, n] whose norms span twice that many decades, often in conflict."""
    random = np.random.default_rng(seed)
    return random.normal(size=(num_tasks, size)) * 10.0 ** random.uniform(-decades, decades, (num_tasks, 1))


def coefficients(gradients: np.ndarray, adjustment: Callable[[tf.Tensor], tf.Tensor]) -> np.ndarray:
    """Float64 [T] for gradients [T, n], by way of their float32 Gram matrix."""
    return adjustment(tf.constant(gradients @ gradients.T, tf.float32)).numpy().astype(np.float64)


def assert_same_vector(actual: np.ndarray, expected: np.ndarray, tolerance: float = 1e-3) -> None:
    assert np.linalg.norm(actual - expected) <= tolerance * np.linalg.norm(expected)
