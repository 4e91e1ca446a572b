"""MGDA and CAGrad against solvers of SciPy on the gradients themselves, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from scipy.optimize import minimize, nnls

from htlnet_tf.gradients import MGDA, CAGrad
from tests.gradients.draws import HARD, assert_same_vector, coefficients, draw, seeds, tasks

FEW = settings(max_examples=60)


def smallest_in_the_hull(gradients: np.ndarray) -> np.ndarray:
    """The point of smallest norm in the hull of the rows.

    The solution x >= 0 of the least squares problem [G'; 1'] x = [0; 1] is proportional to its weights: for a fixed sum
    of x the first part is smallest there, whatever the sum.
    """
    scale = np.linalg.norm(gradients, axis=1).min()
    system = np.vstack([gradients.T / scale, np.ones(len(gradients))])
    x, _ = nnls(system, np.append(np.zeros(gradients.shape[1]), 1.0))
    return x @ gradients / x.sum()


class TestMGDA:
    @FEW
    @given(seeds, tasks)
    def test_the_smallest_point_of_the_hull(self, seed: int, num_tasks: int) -> None:
        gradients = draw(seed, num_tasks)
        assert_same_vector(coefficients(gradients, MGDA()) @ gradients / num_tasks, smallest_in_the_hull(gradients))

    @pytest.mark.parametrize("name", HARD)
    def test_hard_cases(self, name: str) -> None:
        gradients = np.asarray(HARD[name])
        d = coefficients(gradients, MGDA()) @ gradients / len(gradients)
        assert_same_vector(d, smallest_in_the_hull(gradients), 1e-2)

    @FEW
    @given(seeds, tasks)
    def test_descends_for_every_task(self, seed: int, num_tasks: int) -> None:
        """Also in two dimensions, where the hull often has 0 on its border or in it."""
        for size, tolerance in ((12, 1e-5), (2, 5e-4)):
            self.assert_descends(draw(seed, num_tasks, size=size), tolerance)

    def assert_descends(self, gradients: np.ndarray, tolerance: float) -> None:
        num_tasks = len(gradients)
        weights = coefficients(gradients, MGDA()) / num_tasks
        assert (weights >= 0).all()
        assert weights.sum() == pytest.approx(1.0, abs=1e-5)
        d = weights @ gradients
        # A float32 Gram matrix knows squared norms of combinations to 1e-7 of their terms, norms near 0 to 3e-4.
        norms = np.linalg.norm(gradients, axis=1)
        assert (gradients @ d >= d @ d - tolerance * norms * (weights @ norms)).all()

    def test_by_hand(self) -> None:
        # The closed form for two tasks: w_1 = <G_2 - G_1, G_2> / ||G_1 - G_2||^2, within [0, 1].
        np.testing.assert_allclose(MGDA()(tf.constant([[4.0, 0.0], [0.0, 1.0]])), [0.4, 1.6], rtol=1e-6)
        np.testing.assert_allclose(MGDA()(tf.constant([[4.0, 2.0], [2.0, 1.0]])), [0.0, 2.0], atol=1e-6)
        # Opposite gradients cancel: 1/3 of (2, 0), 2/3 of (-1, 0).
        np.testing.assert_allclose(MGDA()(tf.constant([[4.0, -2.0], [-2.0, 1.0]])), [2 / 3, 4 / 3], rtol=1e-5)

    def test_too_many_tasks(self) -> None:
        with pytest.raises(ValueError, match="at most 10 tasks, received 11"):
            MGDA()(tf.eye(11))


def conflict_averse(gradients: np.ndarray, c: float) -> tuple[np.ndarray, float]:
    """Algorithm 1: (d, the dual's value), by SLSQP from near every corner and the centre."""
    scale = np.linalg.norm(gradients, axis=1).max()
    scaled = gradients / scale
    mean = scaled.mean(axis=0)
    radius = c * np.linalg.norm(mean)

    def dual(w: np.ndarray) -> float:
        return float(w @ scaled @ mean + radius * np.linalg.norm(w @ scaled))

    size = len(gradients)
    simplex = {"bounds": [(0, 1)] * size, "constraints": {"type": "eq", "fun": lambda w: w.sum() - 1}}
    starts = [*(0.9 * np.eye(size) + 0.1 / size), np.full(size, 1 / size)]
    options = {"ftol": 1e-14, "maxiter": 500}
    best = min((minimize(dual, w, method="SLSQP", options=options, **simplex).x for w in starts), key=dual)
    combined = best @ scaled
    return (mean + radius / np.linalg.norm(combined) * combined) * scale, dual(best) * scale**2


class TestCAGrad:
    @FEW
    @given(seeds, tasks)
    def test_algorithm_1(self, seed: int, num_tasks: int) -> None:
        gradients = draw(seed, num_tasks, decades=0.5)
        expected, _ = conflict_averse(gradients, 0.4)
        assert_same_vector(coefficients(gradients, CAGrad(0.4)) @ gradients / num_tasks, expected, 2e-3)

    @FEW
    @given(seeds, tasks)
    def test_primal_equals_dual(self, seed: int, num_tasks: int) -> None:
        """No d in the ball has a larger min_t <G_t, d> than any w's dual value: where both agree, both are optimal."""
        gradients = draw(seed, num_tasks)
        self.assert_optimal(gradients, 0.5)

    @pytest.mark.parametrize("name", HARD)
    @pytest.mark.parametrize("c", [0.1, 0.4, 0.9])
    def test_hard_cases(self, name: str, c: float) -> None:
        self.assert_optimal(np.asarray(HARD[name]), c)

    def assert_optimal(self, gradients: np.ndarray, c: float) -> None:
        mean = gradients.mean(axis=0)
        d = coefficients(gradients, CAGrad(c)) @ gradients / len(gradients)
        assert np.linalg.norm(d - mean) == pytest.approx(c * np.linalg.norm(mean), rel=2e-3)
        _, value = conflict_averse(gradients, c)
        smallest = np.linalg.norm(gradients, axis=1).min() * np.linalg.norm(mean)
        assert (gradients @ d).min() >= value - 2e-3 * smallest

    @FEW
    @given(seeds, tasks)
    def test_c_0_is_the_plain_sum(self, seed: int, num_tasks: int) -> None:
        np.testing.assert_array_equal(coefficients(draw(seed, num_tasks), CAGrad(0.0)), np.ones(num_tasks))

    def test_by_hand(self) -> None:
        # Orthogonal unit vectors: w = 1/2 each, G_w = G_0, so d = (1 + c) G_0 and every coefficient is 1 + c.
        np.testing.assert_allclose(CAGrad(0.25)(tf.eye(2)), [1.25, 1.25], rtol=1e-6)

    @pytest.mark.parametrize("c", [-0.1, 1.0])
    def test_c_out_of_range(self, c: float) -> None:
        with pytest.raises(ValueError, match=r"c must be in \[0, 1\), received"):
            CAGrad(c)
