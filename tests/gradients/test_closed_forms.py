"""IMTL-G and Aligned-MTL against their papers' matrices of gradient vectors, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given, settings

from htlnet_tf.gradients import IMTLG, AlignedMTL
from tests.gradients.draws import HARD, assert_same_vector, coefficients, draw, seeds, tasks

FEW = settings(max_examples=60)


def impartial(gradients: np.ndarray) -> np.ndarray:
    """The weights of section 3.1: w_{2..T} = G_1 U' (D U')^-1, w_1 = 1 - sum of these."""
    units = gradients / np.linalg.norm(gradients, axis=1, keepdims=True)
    u, d = units[0] - units[1:], gradients[0] - gradients[1:]
    rest = gradients[0] @ u.T @ np.linalg.inv(d @ u.T)
    return np.append(1 - rest.sum(), rest)


class TestIMTLG:
    @FEW
    @given(seeds, tasks)
    def test_the_papers_formula(self, seed: int, num_tasks: int) -> None:
        gradients = draw(seed, num_tasks)
        weights = impartial(gradients)
        assume(np.abs(weights).max() < 100)  # else the Gram matrix's rounding is magnified as much
        np.testing.assert_allclose(coefficients(gradients, IMTLG()) / num_tasks, weights, rtol=1e-3, atol=1e-4)

    @FEW
    @given(seeds, tasks)
    def test_equal_projections(self, seed: int, num_tasks: int) -> None:
        gradients = draw(seed, num_tasks)
        self.assert_equal_projections(gradients, 1e-4)

    @pytest.mark.parametrize("name", HARD)
    def test_hard_cases(self, name: str) -> None:
        self.assert_equal_projections(np.asarray(HARD[name]), 1e-3)

    def assert_equal_projections(self, gradients: np.ndarray, tolerance: float) -> None:
        found = coefficients(gradients, IMTLG())
        norms = np.linalg.norm(gradients, axis=1)
        projections = gradients @ (found @ gradients) / norms
        assert np.ptp(projections) <= tolerance * (np.abs(found) @ norms)
        assert found.sum() == pytest.approx(len(gradients), abs=1e-5 * np.abs(found).sum())

    def test_two_tasks_by_hand(self) -> None:
        # Norms 4 and 1, whatever the angle: weights 1/5 and 4/5, also for parallel and opposite gradients.
        for inner in (0.0, 2.0, 4.0, -4.0):
            np.testing.assert_allclose(IMTLG()(tf.constant([[16.0, inner], [inner, 1.0]])), [0.4, 1.6], rtol=1e-5)

    def test_weights_that_cancel_are_finite(self) -> None:
        # C (2, 2, -1) = (1.4, 1.4, 1.4), so with norms (4, 4, 1) the weights are proportional to (1/2, 1/2, -1): sum 0.
        cosines = np.asarray([[1.0, 0.0, 0.6], [0.0, 1.0, 0.6], [0.6, 0.6, 1.0]])
        found = IMTLG()(tf.constant(cosines * np.outer([4, 4, 1], [4, 4, 1]), tf.float32)).numpy()
        np.testing.assert_allclose(found / found[0], [1.0, 1.0, -2.0], rtol=1e-3)
        assert 1e4 < np.abs(found).max() <= 3e6


def aligned(gradients: np.ndarray, rank: int) -> np.ndarray:
    """The sum of the columns of sigma_rank * U V', from the singular value decomposition of the columns G_t."""
    u, s, v = np.linalg.svd(gradients.T, full_matrices=False)
    return s[rank - 1] * u[:, :rank] @ v[:rank].sum(axis=1)


class TestAlignedMTL:
    @FEW
    @given(seeds, tasks)
    def test_the_papers_formula(self, seed: int, num_tasks: int) -> None:
        gradients = draw(seed, num_tasks)
        expected = aligned(gradients, num_tasks)
        assert_same_vector(coefficients(gradients, AlignedMTL()) @ gradients, expected)

    @pytest.mark.parametrize("name", HARD)
    def test_hard_cases(self, name: str) -> None:
        gradients = np.asarray(HARD[name])
        expected = aligned(gradients, len(gradients))
        assert_same_vector(coefficients(gradients, AlignedMTL()) @ gradients, expected, 2e-2)

    @FEW
    @given(seeds, tasks)
    def test_the_aligned_system_has_condition_number_1(self, seed: int, num_tasks: int) -> None:
        """c = B 1, and <result, G_t> = sum_s (M B)[t, s]: with condition number 1, B M B = sigma^2 I, so
        ||result||^2 = 1' B M B 1 = sigma^2 T."""
        gradients = draw(seed, num_tasks)
        result = coefficients(gradients, AlignedMTL()) @ gradients
        sigma = np.linalg.svd(gradients, compute_uv=False)[-1]
        assert np.linalg.norm(result) == pytest.approx(sigma * num_tasks**0.5, rel=1e-3)

    def test_dependent_gradients_by_hand(self) -> None:
        # G_1 = G_2: one component of length sqrt(2), V = (1, 1) / sqrt(2), so B = V V' and c = (1, 1).
        np.testing.assert_allclose(AlignedMTL()(tf.ones([2, 2])), [1.0, 1.0], rtol=1e-6)
        # Orthogonal of norms 3 and 1: sigma = 1, so c = (1/3, 1).
        np.testing.assert_allclose(AlignedMTL()(tf.constant([[9.0, 0.0], [0.0, 1.0]])), [1 / 3, 1.0], rtol=1e-6)
        # Opposite ones cancel: V = (1, -1) / sqrt(2), B 1 = 0.
        np.testing.assert_allclose(AlignedMTL()(tf.constant([[1.0, -1.0], [-1.0, 1.0]])), [0.0, 0.0], atol=1e-6)
