"""The adjustment's coefficients against the paper's steps, written on explicit gradient vectors in float64."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import htlnet_tf as htl
from htlnet_tf.gradients import GradientAdjustment, GradientSum


def adjusted(gradients: np.ndarray, alpha: float, gamma: float, clip: float) -> np.ndarray:
    """Steps 1 and 2 of design section 2 on vectors [T, n], one vector at a time; returns the adjusted vectors."""
    result = [g.astype(np.float64) for g in gradients]
    core = result[-1]
    for t in range(len(result) - 1):
        g = result[t]
        if g @ core < 0:
            g = g - alpha * (g @ core) / (core @ core) * core
        norm = np.linalg.norm(g)
        weight = min(np.linalg.norm(core) / norm, clip) if norm > 0 else clip
        result[t] = gamma * weight * g + (1 - gamma) * g
    return np.asarray(result)


def combine(gradients: np.ndarray, adjustment: object) -> np.ndarray:
    g = gradients.astype(np.float64)
    coefficients = adjustment(tf.constant(g @ g.T, tf.float32)).numpy()  # type: ignore[operator]
    return coefficients.astype(np.float64) @ g


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(2, 6),
    st.floats(0, 1),
    st.floats(0, 1),
    st.sampled_from([0.5, 2.0, 100.0, 1e6]),
)
def test_coefficients_equal_the_steps(seed: int, tasks: int, alpha: float, gamma: float, clip: float) -> None:
    random = np.random.default_rng(seed)
    gradients = random.normal(size=(tasks, 12)) * 10.0 ** random.uniform(-2, 2, (tasks, 1))
    expected = adjusted(gradients, alpha, gamma, clip).sum(axis=0)
    actual = combine(gradients, GradientAdjustment(alpha, gamma, clip))
    scale = np.linalg.norm(adjusted(gradients, alpha, gamma, clip), axis=1).sum()
    assert np.linalg.norm(actual - expected) < 1e-5 * scale


def test_by_hand() -> None:
    # G_1 = (1, 0) and G_T = (-1, 1): <G_1, G_T> = -1, so G_1' = (1, 0) + 1/2 (-1, 1) = (1/2, 1/2), of norm sqrt(1/2);
    # w = sqrt(2) / sqrt(1/2) = 2; gamma = 1/2: 3/2 G_1' = 3/2 G_1 + 3/4 G_T.
    coefficients = GradientAdjustment(alpha=1.0, gamma=0.5)(tf.constant([[1.0, -1.0], [-1.0, 2.0]]))
    np.testing.assert_allclose(coefficients, [1.5, 1.75], rtol=1e-6)


def test_off_is_the_plain_sum() -> None:
    gram = tf.constant([[1.0, -1.0], [-1.0, 2.0]])
    np.testing.assert_array_equal(GradientAdjustment(0.0, 0.0)(gram), GradientSum()(gram))
    assert GradientSum()(gram).numpy().tolist() == [1.0, 1.0]


@pytest.mark.parametrize("gradients", [[[0.0, 0.0], [1.0, 2.0]], [[1.0, 2.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
def test_zero_gradients_give_finite_coefficients(gradients: list[list[float]]) -> None:
    g = np.asarray(gradients)
    coefficients = GradientAdjustment()(tf.constant(g @ g.T, tf.float32)).numpy()
    assert np.isfinite(coefficients).all()


def test_schedules_follow_the_calls() -> None:
    schedule = tf.keras.optimizers.schedules.PiecewiseConstantDecay([1], [0.0, 1.0])
    adjustment = GradientAdjustment(alpha=0.0, gamma=schedule)
    gram = tf.constant([[4.0, 0.0], [0.0, 1.0]])
    assert [float(adjustment(gram)[0]) for _ in range(3)] == [1.0, 1.0, 0.5]


def test_config_round_trip() -> None:
    schedule = tf.keras.optimizers.schedules.ExponentialDecay(0.5, 10, 0.9)
    adjustment = GradientAdjustment.from_config(GradientAdjustment(alpha=0.5, gamma=schedule, clip=3.0).get_config())
    assert (adjustment.alpha, adjustment.clip) == (0.5, 3.0)
    assert adjustment.gamma.get_config() == schedule.get_config()
    assert isinstance(GradientSum.from_config(GradientSum().get_config()), GradientSum)


@pytest.mark.parametrize("arguments", [{"alpha": -0.1}, {"alpha": 1.1}, {"gamma": 2.0}, {"clip": -1.0}])
def test_values_out_of_range(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        htl.GradientAdjustment(**arguments)
