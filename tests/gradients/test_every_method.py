"""What holds for every method that solves a problem on the Gram matrix: zeros, extremes, order, graphs, replicas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from htlnet_tf.gradients import IMTLG, MGDA, AlignedMTL, CAGrad, NashMTL
from tests.gradients.draws import coefficients, draw, seeds

METHODS = [MGDA(), CAGrad(), IMTLG(), AlignedMTL(), NashMTL()]
FEW = settings(max_examples=50)
every_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
_nash_mtl = tf.function(METHODS[-1])


def fast(method: Any) -> Any:
    """For many draws: NashMTL compiled, as `fit` runs it, for its 20 Newton steps take long one operation at a time.

    `test_the_same_in_a_graph` holds the two together.
    """
    return _nash_mtl if method is METHODS[-1] else method


@every_method
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_task_without_a_gradient_has_no_say(method: Any, place: int) -> None:
    gradients = draw(1, 2)
    expected = np.insert(coefficients(gradients, method), place, 1.0)
    np.testing.assert_allclose(coefficients(np.insert(gradients, place, 0.0, axis=0), method), expected, rtol=1e-5)


@every_method
def test_one_gradient_alone_and_none(method: Any) -> None:
    np.testing.assert_array_equal(method(tf.zeros([3, 3])), np.ones(3))
    # Norm 1: also what NashMTL scales it to. The method does not matter, but for CAGrad's factor 1 + c.
    expected = 1.4 if isinstance(method, CAGrad) else 1.0
    np.testing.assert_allclose(method(tf.linalg.diag([0.0, 0.0, 1.0])), [1.0, 1.0, expected], rtol=1e-6)


@every_method
def test_orthogonal_gradients_of_norm_1_are_summed(method: Any) -> None:
    expected = 1.4 if isinstance(method, CAGrad) else 1.0
    np.testing.assert_allclose(method(tf.eye(4)), np.full(4, expected), rtol=1e-6)


@every_method
@FEW
@given(st.lists(st.lists(st.floats(-1e8, 1e8, width=32), min_size=3, max_size=3), min_size=2, max_size=5))
def test_finite_whenever_the_gradients_are(method: Any, gradients: list[list[float]]) -> None:
    g = np.asarray(gradients)
    assert np.isfinite(coefficients(g, fast(method))).all()


@every_method
@pytest.mark.parametrize("norms", [[1e-19, 1.0, 1e19], [1e-19, 1e-19, 1e-19], [1e18, 1e18, 1e18]])
def test_finite_at_the_ends_of_float32(method: Any, norms: list[float]) -> None:
    for cosine in (0.0, 1.0, -0.5):
        gram = np.outer(norms, norms) * (np.full((3, 3), cosine) + (1 - cosine) * np.eye(3))
        assert np.isfinite(method(tf.constant(gram, tf.float32)).numpy()).all()


@every_method
@FEW
@given(seeds, st.permutations(range(4)))
def test_the_order_of_the_tasks_does_not_matter(method: Any, seed: int, order: list[int]) -> None:
    gradients = draw(seed, 4)
    one, two = (coefficients(g, fast(method)) for g in (gradients, gradients[order]))
    np.testing.assert_allclose(two, one[order], rtol=1e-3, atol=1e-3 * np.abs(one).max())


@pytest.mark.parametrize("method", METHODS[:-1], ids=lambda method: method.name)
@FEW
@given(seeds, st.sampled_from([2.0**-20, 2.0**10]))
def test_the_unit_of_the_losses_does_not_matter(method: Any, seed: int, unit: float) -> None:
    gradients = draw(seed, 3)
    one, two = coefficients(gradients, method), coefficients(gradients * unit, method)
    np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-5)


@every_method
@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_same_in_a_graph(method: Any, jit_compile: bool) -> None:
    gradients = draw(3, 3)
    compiled = tf.function(method, jit_compile=jit_compile)
    np.testing.assert_allclose(coefficients(gradients, compiled), coefficients(gradients, method), rtol=1e-4)


@every_method
def test_the_same_on_a_replica(method: Any) -> None:
    gradients = draw(4, 3)
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    gram = tf.constant(gradients @ gradients.T, tf.float32)
    on_replica = tf.function(lambda: strategy.run(method, (gram,)))()
    np.testing.assert_allclose(on_replica, coefficients(gradients, method), rtol=1e-5)


@pytest.mark.parametrize("method", [CAGrad(0.2), NashMTL(7), MGDA(), IMTLG(), AlignedMTL()])
def test_round_trip(method: Any) -> None:
    again = type(method).from_config(method.get_config())
    assert again.get_config() == method.get_config()
