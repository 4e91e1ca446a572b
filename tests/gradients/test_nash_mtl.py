"""Nash-MTL against a root finder of SciPy on M a = 1 / a, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from scipy.optimize import minimize

from htlnet_tf.gradients import NashMTL
from tests.gradients.draws import HARD, coefficients, draw, seeds, tasks

FEW = settings(max_examples=60)
# 20 Newton steps take a quarter of a second one operation at a time.
nash_mtl = tf.function(NashMTL())


def bargain(gradients: np.ndarray) -> np.ndarray:
    """The minimum of 1/2 a' M a - sum_t log a_t, where M a = 1 / a, over log a."""
    gram = gradients @ gradients.T
    start = -np.log(np.linalg.norm(gradients, axis=1))

    def function(z: np.ndarray) -> tuple[float, np.ndarray]:
        a = np.exp(z)
        return float(0.5 * a @ gram @ a - z.sum()), a * (gram @ a) - 1

    found = minimize(function, start, jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 2000})
    return np.exp(found.x)


@FEW
@given(seeds, tasks)
def test_the_bargaining_solution(seed: int, num_tasks: int) -> None:
    gradients = draw(seed, num_tasks)
    np.testing.assert_allclose(coefficients(gradients, nash_mtl), bargain(gradients), rtol=1e-3)


@pytest.mark.parametrize("name", HARD)
def test_hard_cases(name: str) -> None:
    gradients = np.asarray(HARD[name])
    a = coefficients(gradients, nash_mtl)
    assert (a > 0).all()
    np.testing.assert_allclose(a * (gradients @ gradients.T @ a), np.ones(len(gradients)), rtol=1e-2)


@FEW
@given(seeds, tasks)
def test_fair(seed: int, num_tasks: int) -> None:
    gradients = draw(seed, num_tasks)
    a = coefficients(gradients, nash_mtl)
    np.testing.assert_allclose(gradients @ (a @ gradients), 1 / a, rtol=1e-3)
    assert np.linalg.norm(a @ gradients) == pytest.approx(num_tasks**0.5, rel=1e-3)


def test_20_steps_are_enough_for_the_worst_conflicts() -> None:
    few, many = tf.function(NashMTL()), tf.function(NashMTL(200))
    for size in (2, 3, 6):
        for angle in (1e-1, 1e-2, 2e-3):
            gradients = np.ones((size, 1)) * [1.0, 0.0] + 0.1 * np.arange(size)[:, np.newaxis] * [0.0, 1.0]
            gradients[0] = [-1.0, angle]
            gram = tf.constant(gradients @ gradients.T, tf.float32)
            np.testing.assert_allclose(few(gram), many(gram), rtol=1e-5)


def test_by_hand() -> None:
    # Orthogonal gradients: a_t^2 ||G_t||^2 = 1.
    np.testing.assert_allclose(NashMTL()(tf.constant([[4.0, 0.0], [0.0, 0.25]])), [0.5, 2.0], rtol=1e-6)
    # Norm 1 and cosine 1/2: a (a + a / 2) = 1.
    np.testing.assert_allclose(NashMTL()(tf.constant([[1.0, 0.5], [0.5, 1.0]])), [1.5**-0.5] * 2, rtol=1e-6)


def test_iterations_out_of_range() -> None:
    with pytest.raises(ValueError, match="iterations must be at least 1, received 0"):
        NashMTL(0)
