"""Outputs that stand for several states of the labels, or for an amount that a step may keep from happening."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from htlnet_tf.objectives import BinaryCrossEntropy, Objective, Quantile, SoftmaxCrossEntropy
from tests.objectives.references import CASES, TRAINING, fitted, sigmoid

AMOUNTS = {name: fitted(c.objective, TRAINING, non_negative=c.non_negative) for name, c in CASES.items()}
OBJECTIVES: dict[str, Objective] = AMOUNTS | {"binary": BinaryCrossEntropy(), "classes": SoftmaxCrossEntropy(3)}
seeds = st.integers(0, 2**32 - 1)
EXTREMES = [-1e6, -90.0, -20.0, 0.0, 20.0, 90.0, 1e6]


def _outputs(objective: Objective, values: np.ndarray) -> tf.Tensor:
    """Values [.., K] as an objective takes them."""
    return tf.constant(values if objective.num_outputs > 1 else values[..., 0], tf.float32)


def _predictions(objective: Objective, outputs: tf.Tensor) -> np.ndarray:
    """In the target's unit."""
    return np.asarray(objective.predict(outputs), np.float64) * objective.units.scale + objective.units.shift


@pytest.mark.parametrize("name", OBJECTIVES)
@given(seed=seeds, states=st.integers(1, 5), spread=st.floats(0.01, 8.0))
@settings(max_examples=25)
def test_a_mixture_predicts_the_weighted_mean(name: str, seed: int, states: int, spread: float) -> None:
    objective, random = OBJECTIVES[name], np.random.default_rng(seed)
    outputs = random.normal(0.0, spread, [4, states, objective.num_outputs])
    weights = random.dirichlet(np.ones(states), 4).astype(np.float32)
    mixed = objective.mixture(tf.constant(weights), _outputs(objective, outputs))
    assert mixed.shape == ([4] if objective.num_outputs == 1 else [4, objective.num_outputs])
    each = [_predictions(objective, _outputs(objective, outputs[:, s])) for s in range(states)]
    expected = sum(np.moveaxis(w * p.T, -1, 0) for w, p in zip(weights.T, each, strict=True))
    np.testing.assert_allclose(_predictions(objective, mixed), expected, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("name", [name for name, objective in AMOUNTS.items() if objective.can_be_given])
@given(seed=seeds, spread=st.floats(0.01, 8.0))
@settings(max_examples=25)
def test_an_amount_given_a_step_is_its_probability_times_the_amount(name: str, seed: int, spread: float) -> None:
    objective, random = AMOUNTS[name], np.random.default_rng(seed)
    logits = random.normal(0.0, spread, 8)
    outputs = _outputs(objective, random.normal(0.0, spread, [8, objective.num_outputs]))
    both = objective.given(tf.constant(logits, tf.float32), outputs)
    assert both.shape == outputs.shape
    expected = sigmoid(logits) * _predictions(objective, outputs)
    np.testing.assert_allclose(_predictions(objective, both), expected, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_extreme_mixtures_are_finite(name: str) -> None:
    objective, random = OBJECTIVES[name], np.random.default_rng(0)
    outputs = _outputs(objective, random.choice(EXTREMES, [200, 3, objective.num_outputs]))
    weights = tf.constant(random.dirichlet(np.full(3, 0.05), 200), tf.float32)
    mixed = objective.mixture(weights, outputs)
    assert np.isfinite(mixed).all() and np.isfinite(objective.predict(mixed)).all()


@pytest.mark.parametrize("name", [name for name, objective in AMOUNTS.items() if objective.can_be_given])
def test_extreme_amounts_given_a_step_are_finite(name: str) -> None:
    objective, random = AMOUNTS[name], np.random.default_rng(0)
    logits = tf.constant(random.choice(EXTREMES, 200), tf.float32)
    outputs = _outputs(objective, random.choice(EXTREMES, [200, objective.num_outputs]))
    z = tf.constant(random.choice([0.0, 1.0, 1e10], 200), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch([logits, outputs])
        both = objective.given(logits, outputs)
        losses = objective.loss(z, both)
    assert np.isfinite(both).all() and np.isfinite(losses).all() and np.isfinite(objective.predict(both)).all()
    for gradient in tape.gradient(losses, [logits, outputs]):
        assert np.isfinite(gradient).all()


def test_quantiles_have_no_form_for_an_amount_given_a_step() -> None:
    assert not Quantile().can_be_given
    with pytest.raises(NotImplementedError, match="'quantile' has no form for an amount given a step"):
        Quantile().given(tf.zeros([1]), tf.zeros([1, 10]))
