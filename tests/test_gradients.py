"""The adjustments' coefficients against their papers' steps on explicit gradient vectors in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import htlnet_tf as htl
from htlnet_tf.gradients import GradientAdjustment, GradientSum, MetaBalance, PCGrad
from htlnet_tf.layers.shared_embedding import SharedEmbedding
from tests import reference

FEW = settings(max_examples=100)
seeds = st.integers(0, 2**32 - 1)


def draw(seed: int, tasks: int, size: int = 12) -> np.ndarray:
    """Gradients [T, n] whose norms span four orders of magnitude, often in conflict."""
    random = np.random.default_rng(seed)
    return random.normal(size=(tasks, size)) * 10.0 ** random.uniform(-2, 2, (tasks, 1))


def combine(gradients: np.ndarray, adjustment: Callable[[tf.Tensor], tf.Tensor]) -> np.ndarray:
    coefficients = adjustment(tf.constant(gradients @ gradients.T, tf.float32)).numpy()
    return coefficients.astype(np.float64) @ gradients


def assert_close(actual: np.ndarray, expected: np.ndarray, scale: float, tolerance: float = 1e-5) -> None:
    assert np.linalg.norm(actual - expected) <= tolerance * scale


@FEW
@given(
    seeds,
    st.integers(2, 6),
    st.floats(0, 1),
    st.floats(0, 1),
    st.sampled_from([0.5, 2.0, 100.0, 1e6]),
    st.booleans(),
)
def test_the_papers_steps(seed: int, tasks: int, alpha: float, gamma: float, clip: float, relative: bool) -> None:
    gradients = draw(seed, tasks)
    adjusted = reference.adjust(gradients, alpha, gamma, clip, relative_clip=relative)
    actual = combine(gradients, GradientAdjustment(alpha, gamma, clip, relative))
    assert_close(actual, adjusted.sum(axis=0), np.linalg.norm(adjusted, axis=1).sum())


@pytest.mark.parametrize("tasks", [2, 3, 6])
@pytest.mark.parametrize(
    ("batch", "features", "rows"), [(1, 1, 5), (1, 7, 50), (64, 1, 3), (64, 7, 9), (64, 7, 5000), (300, 3, 40)]
)
def test_the_whole_step_on_the_shared_rows(tasks: int, batch: int, features: int, rows: int) -> None:
    """Duplicate-heavy and duplicate-free batches: dedup, Gram, coefficients, sum, against dense float64 vectors."""
    random = np.random.default_rng(tasks * batch + features)
    ids = random.integers(0, rows, (batch, features)).astype(np.int32)
    upstream = random.normal(size=(tasks, batch, features, 4)) * 10.0 ** random.uniform(-2, 2, (tasks, 1, 1, 1))
    dense = np.asarray([reference.table_gradient(ids, g, rows).ravel() for g in upstream])
    adjusted = reference.adjust(dense, 1.0, 0.5, 100.0)

    layer = SharedEmbedding(rows, [1] * features, 4)
    layer(tf.constant(ids))
    touched = layer.touched(tf.constant(ids))
    per_task = layer.row_gradients(touched, [tf.constant(g.reshape(batch, -1), tf.float32) for g in upstream])
    coefficients = GradientAdjustment()(layer.gram(per_task))
    result = np.zeros((rows, 4))
    result[touched.unique.numpy()] = layer.combine(touched, per_task, coefficients)[0].values.numpy()
    assert_close(result.ravel(), adjusted.sum(axis=0), np.linalg.norm(adjusted, axis=1).sum())


SPECIAL = {
    "a task's gradient is zero": [[0.0, 0.0, 0.0], [1.0, 2.0, -1.0], [3.0, -1.0, 0.5]],
    "the core's gradient is zero": [[1.0, 0.5, 0.0], [1.0, 2.0, -1.0], [0.0, 0.0, 0.0]],
    "all are zero": [[0.0, 0.0], [0.0, 0.0]],
    "opposite": [[-2.0, -4.0], [1.0, 2.0]],
    "parallel": [[2.0, 4.0], [1.0, 2.0]],
    "nearly opposite": [[-1.0, -2.0 + 1e-3], [1.0, 2.0]],
    "tiny": [[1e-12, 2e-12], [-1e-12, 1e-12]],
    "huge": [[1e12, 2e12], [-1e12, 1e12]],
}


@pytest.mark.parametrize("name", SPECIAL)
@pytest.mark.parametrize("adjustment", [GradientAdjustment(), GradientAdjustment(0.5, 1.0, 10.0)])
def test_special_gradients(name: str, adjustment: GradientAdjustment) -> None:
    gradients = np.asarray(SPECIAL[name])
    with np.errstate(divide="ignore", invalid="ignore"):
        adjusted = reference.adjust(gradients, adjustment.alpha, adjustment.gamma, adjustment.clip)
    actual = combine(gradients, adjustment)
    assert np.isfinite(actual).all()
    # What is left of a projection is as exact as the float32 Gram matrix, and then stretched up to C times.
    tolerance = 1e-5 if name != "nearly opposite" else 1e-6 * adjustment.clip
    assert_close(actual, adjusted.sum(axis=0), np.linalg.norm(gradients, axis=1).sum(), tolerance)


def test_by_hand() -> None:
    # G_1 = (1, 0) and G_T = (-1, 1): <G_1, G_T> = -1, so G_1' = (1, 0) + 1/2 (-1, 1) = (1/2, 1/2), of norm sqrt(1/2);
    # w = sqrt(2) / sqrt(1/2) = 2; gamma = 1/2: 3/2 G_1' = 3/2 G_1 + 3/4 G_T.
    coefficients = GradientAdjustment(alpha=1.0, gamma=0.5)(tf.constant([[1.0, -1.0], [-1.0, 2.0]]))
    np.testing.assert_allclose(coefficients, [1.5, 1.75], rtol=1e-6)


def test_the_unit_of_the_core_does_not_matter_unless_the_papers_guard_is_asked_for() -> None:
    gradients = np.asarray([[1.0, 0.2, 0.0], [-0.5, 1.0, 0.3], [0.4, -1.0, 2.0]])
    shares = {}
    for unit in (1.0, 1e6):
        scaled = gradients * [[1.0], [1.0], [unit]]
        for relative in (True, False):
            of_steps = combine(scaled, GradientAdjustment(1.0, 1.0, 100.0, relative)) / unit
            shares[unit, relative] = np.linalg.norm(of_steps - gradients[2])
    assert shares[1e6, True] == pytest.approx(shares[1.0, True], rel=1e-5)
    # By hand: what C = 100 lets through of two gradients of norm 1, beside a core of 10^6, is below 2 * 100 / 10^6.
    assert shares[1e6, False] < 4e-4 < shares[1.0, False]


@pytest.mark.parametrize("relative", [True, False])
def test_a_core_without_a_gradient_allows_no_stretch(relative: bool) -> None:
    """By hand: gamma = 0.5 leaves half of the other gradient, whatever C."""
    for clip in (100.0, float("inf")):
        coefficients = GradientAdjustment(clip=clip, relative_clip=relative)(tf.constant([[1.0, 0.0], [0.0, 0.0]]))
        np.testing.assert_allclose(coefficients, [0.5, 1.0])


def test_a_task_that_all_but_vanishes_stays_finite() -> None:
    gram = tf.constant([[1e-38, 0.0], [0.0, 3e38]])
    for relative in (True, False):
        assert np.isfinite(GradientAdjustment(1.0, 1.0, 100.0, relative)(gram)).all()


class TestProperties:
    @FEW
    @given(seeds, st.integers(2, 6))
    def test_off_is_the_plain_sum(self, seed: int, tasks: int) -> None:
        gradients = draw(seed, tasks)
        gram = tf.constant(gradients @ gradients.T, tf.float32)
        np.testing.assert_array_equal(GradientAdjustment(0.0, 0.0)(gram), np.ones(tasks))
        np.testing.assert_array_equal(GradientSum()(gram), np.ones(tasks))
        np.testing.assert_allclose(MetaBalance(relax=0.0)(gram), np.ones(tasks))

    @FEW
    @given(seeds, st.floats(0, 1))
    def test_after_full_projection_none_opposes_the_core(self, seed: int, gamma: float) -> None:
        gradients = draw(seed, 2)
        coefficients = GradientAdjustment(1.0, gamma, 1e6)(tf.constant(gradients @ gradients.T, tf.float32)).numpy()
        # Of two tasks, the adjusted first one is the whole less the core itself.
        first = coefficients.astype(np.float64) @ gradients - gradients[1]
        assert first @ gradients[1] >= -1e-5 * (np.linalg.norm(gradients, axis=1) @ [1, 1]) * np.linalg.norm(
            gradients[1]
        )

    @FEW
    @given(seeds)
    def test_gamma_1_without_clip_makes_all_norms_the_cores(self, seed: int) -> None:
        gradients = draw(seed, 2)
        # A remainder of a projection that is lost in float32's rounding has no norm to speak of.
        projected = reference.adjust(gradients, 1.0, 0.0, 1.0)[0]
        assume(np.linalg.norm(projected) > 1e-2 * np.linalg.norm(gradients[0]))
        first = combine(gradients, GradientAdjustment(1.0, 1.0, 1e9)) - gradients[1]
        assert np.linalg.norm(first) == pytest.approx(np.linalg.norm(gradients[1]), rel=1e-3)

    @FEW
    @given(
        seeds, st.permutations(range(4)), st.sampled_from([GradientAdjustment(), MetaBalance(beta=0.0), GradientSum()])
    )
    def test_the_order_of_the_preceding_tasks_does_not_matter(
        self, seed: int, order: list[int], adjustment: Callable[[tf.Tensor], tf.Tensor]
    ) -> None:
        gradients = draw(seed, 5)
        shuffled = gradients[[*order, 4]]
        one = adjustment(tf.constant(gradients @ gradients.T, tf.float32)).numpy()
        two = adjustment(tf.constant(shuffled @ shuffled.T, tf.float32)).numpy()
        np.testing.assert_allclose(two, one[[*order, 4]], rtol=1e-3, atol=1e-3)

    @FEW
    @given(
        st.lists(st.lists(st.floats(-1e8, 1e8, width=32), min_size=3, max_size=3), min_size=2, max_size=5),
        st.sampled_from([GradientAdjustment, lambda: GradientAdjustment(1.0, 1.0, 1e9), PCGrad, MetaBalance]),
    )
    def test_finite_whenever_the_gradients_are(
        self, gradients: list[list[float]], adjustment: Callable[[], Callable[[tf.Tensor], tf.Tensor]]
    ) -> None:
        g = np.asarray(gradients)
        assert np.isfinite(adjustment()(tf.constant(g @ g.T, tf.float32)).numpy()).all()


class TestPCGrad:
    @FEW
    @given(seeds, st.integers(2, 6))
    def test_algorithm_1(self, seed: int, tasks: int) -> None:
        gradients = draw(seed, tasks)
        actual = combine(gradients, PCGrad(shuffle=False))
        assert_close(actual, reference.pcgrad(gradients), np.linalg.norm(gradients, axis=1).sum(), 1e-4)

    def test_two_tasks_by_hand(self) -> None:
        # G_1 = (1, 0), G_2 = (-1, 1): G_1' = (1/2, 1/2) = G_1 + 1/2 G_2, G_2' = (0, 1) = G_2 + G_1.
        np.testing.assert_allclose(PCGrad()(tf.constant([[1.0, -1.0], [-1.0, 2.0]])), [2.0, 1.5], rtol=1e-6)

    def test_the_order_is_random_and_every_task_keeps_its_own_gradient(self) -> None:
        gradients = np.asarray([[1.0, 0.0], [-0.6, 0.8], [-0.6, -0.8]])
        results = {tuple(np.round(combine(gradients, PCGrad()), 4)) for _ in range(50)}
        assert len(results) > 1
        apart = np.eye(3)
        np.testing.assert_array_equal(combine(apart, PCGrad()), apart.sum(axis=0))


class TestMetaBalance:
    @pytest.mark.parametrize("strategy", ["reduce", "enlarge", "both"])
    @pytest.mark.parametrize(("relax", "beta"), [(0.7, 0.9), (1.0, 0.0), (0.2, 0.5)])
    def test_algorithm_1_over_several_steps(self, strategy: Any, relax: float, beta: float) -> None:
        adjustment = MetaBalance(relax, beta, strategy)
        steps = [draw(seed, 4) for seed in range(5)]
        for count in range(1, 6):
            actual = combine(steps[count - 1], adjustment)
            expected = reference.metabalance(steps[:count], relax, beta, strategy)
            scale = np.linalg.norm(steps[count - 1], axis=1).sum() + np.linalg.norm(expected)
            assert_close(actual, expected, scale)

    def test_by_hand(self) -> None:
        # Norms 4 and 2, beta 0: c_1 = 0.5 * 2/4 + 0.5.
        np.testing.assert_allclose(MetaBalance(0.5, 0.0)(tf.constant([[16.0, 0.0], [0.0, 4.0]])), [0.75, 1.0])


class TestConfiguration:
    @pytest.mark.parametrize(
        "adjustment",
        [
            GradientAdjustment(0.5, 0.25, 3.0),
            GradientSum(),
            PCGrad(shuffle=False),
            MetaBalance(0.1, 0.2, "enlarge"),
        ],
    )
    def test_round_trip(self, adjustment: Any) -> None:
        again = type(adjustment).from_config(adjustment.get_config())
        assert again.get_config() == adjustment.get_config()

    def test_schedules_survive_the_round_trip(self) -> None:
        schedule = tf.keras.optimizers.schedules.ExponentialDecay(0.5, 10, 0.9)
        again = GradientAdjustment.from_config(GradientAdjustment(gamma=schedule).get_config())
        assert again.gamma.get_config() == schedule.get_config()

    @pytest.mark.parametrize("name", ["alpha", "gamma", "clip"])
    def test_schedules_follow_the_calls(self, name: str) -> None:
        schedule = tf.keras.optimizers.schedules.PiecewiseConstantDecay([1], [0.0, 1.0])
        gram = tf.constant([[4.0, -1.0], [-1.0, 1.0]])
        settings_ = {"alpha": 1.0, "gamma": 0.5, "clip": 1.0}
        scheduled = GradientAdjustment(**(settings_ | {name: schedule}))
        for value in (0.0, 0.0, 1.0):
            np.testing.assert_allclose(scheduled(gram), GradientAdjustment(**(settings_ | {name: value}))(gram))

    @pytest.mark.parametrize("arguments", [{"alpha": -0.1}, {"alpha": 1.1}, {"gamma": 2.0}, {"clip": -1.0}])
    def test_values_out_of_range(self, arguments: dict[str, float]) -> None:
        with pytest.raises(ValueError, match=next(iter(arguments))):
            htl.GradientAdjustment(**arguments)

    @pytest.mark.parametrize("arguments", [{"relax": 1.5}, {"beta": 1.0}, {"strategy": "all"}])
    def test_metabalance_values_out_of_range(self, arguments: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=next(iter(arguments))):
            MetaBalance(**arguments)
