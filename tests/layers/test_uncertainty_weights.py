"""The weighted losses and their gradients by hand, and where the weights end up."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import htlnet_tf as htl

SCHEMA = htl.Schema(
    features=[htl.Categorical("user_id")],
    targets=[htl.Binary("click"), htl.Multiclass("stars", num_classes=3), htl.Continuous("spend", objective="squared")],
)


def weighted(
    layer: htl.UncertaintyWeights, losses: list[float], observed: tuple[bool, ...] = (True, True, True)
) -> tuple[list[float], np.ndarray]:
    """The weighted losses, and the gradient of their sum at s."""
    with tf.GradientTape() as tape:
        result = layer([tf.constant(value) for value in losses], [tf.constant(value) for value in observed])
        total = tf.add_n(result)
    return [float(value) for value in result], tape.gradient(total, layer.log_variances).numpy()


def trained(
    layer: htl.UncertaintyWeights, optimizer: tf.keras.optimizers.Optimizer, losses: list[float], steps: int
) -> np.ndarray:
    variable = layer.log_variances
    optimizer.build([variable])

    @tf.function
    def run() -> None:
        for _ in tf.range(steps):
            with tf.GradientTape() as tape:
                total = tf.add_n(layer([tf.constant(value) for value in losses], [tf.constant(True)] * len(losses)))
            optimizer.apply_gradients([(tape.gradient(total, variable), variable)])

    run()
    return variable.numpy()


def test_losses_and_gradients_by_hand() -> None:
    """s = (0, log 2, log 4), so exp(-s) = (1, 1/2, 1/4); d/ds = -exp(-s) L + 1/2, for the core -exp(-s) L / 2 + 1/2."""
    layer = htl.UncertaintyWeights(SCHEMA)
    assert weighted(layer, [3.0, 5.0, 8.0])[0] == pytest.approx([3.0, 5.0, 4.0])
    layer.log_variances.assign(np.log([1.0, 2.0, 4.0]))
    losses, gradient = weighted(layer, [3.0, 5.0, 8.0])
    assert losses == pytest.approx([3.0, 2.5 + np.log(2) / 2, 1.0 + np.log(4) / 2], rel=1e-6)
    np.testing.assert_allclose(gradient, [-2.5, -2.0, -0.5], rtol=1e-6)


def test_the_weights_converge_to_the_losses_scale() -> None:
    """On a fixed loss s -> log(2 L), for the core log(L): both weights are 1 / (2 L)."""
    losses = [0.02, 1.3, 40.0]
    found = trained(htl.UncertaintyWeights(SCHEMA), tf.keras.optimizers.Adam(0.05), losses, 1500)
    np.testing.assert_allclose(found, np.log([0.04, 2.6, 40.0]), atol=1e-3)


def test_a_target_without_rows_is_left_alone() -> None:
    layer = htl.UncertaintyWeights(SCHEMA)
    layer.log_variances.assign([-1.0, 0.5, 2.0])
    losses, gradient = weighted(layer, [3.0, 0.0, 0.0], (True, False, False))
    assert losses[1:] == [0.0, 0.0]
    np.testing.assert_allclose(gradient, [-3.0 * np.exp(1.0) + 0.5, 0.0, 0.0], rtol=1e-6)


def test_each_weighted_loss_depends_on_its_own_loss_alone() -> None:
    layer = htl.UncertaintyWeights(SCHEMA)
    losses = [tf.constant(1.0), tf.constant(2.0), tf.constant(3.0)]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(losses)
        results = layer(losses, [tf.constant(True)] * 3)
    for t, result in enumerate(results):
        assert [gradient is not None for gradient in tape.gradient(result, losses)] == [s == t for s in range(3)]


@pytest.mark.parametrize("optimizer", [tf.keras.optimizers.SGD(0.1), htl.LazyAdam(5.0)], ids=["sgd", "adam"])
def test_extreme_losses_do_not_overflow(optimizer: tf.keras.optimizers.Optimizer) -> None:
    """A loss of 1e9, after which SGD's s would be 1e8, and losses of exactly 0, which have no minimum."""
    layer = htl.UncertaintyWeights(SCHEMA)
    found = trained(layer, optimizer, [0.0, 1e9, 1e9], 1000)
    assert np.isfinite(found).all()
    assert found[0] == -30.0
    assert (found[1:] > 20.0).all()
    layer.log_variances.assign([-30.0, -30.0, 60.0])
    losses, gradient = weighted(layer, [0.0, 1e9, 1e9])
    assert np.isfinite(losses).all()
    assert np.isfinite(gradient).all()


def test_other_losses_than_targets_are_refused() -> None:
    with pytest.raises(ValueError, match="for 3 targets, received 2 losses"):
        weighted(htl.UncertaintyWeights(SCHEMA), [1.0, 1.0], (True, True))
