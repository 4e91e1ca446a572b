"""Gradient adjustments: functions from the Gram matrix of the per-task gradients to one coefficient per task.

An adjustment only ever forms linear combinations of the tasks' gradients G_1 .. G_T on the shared parameters, so the
result is sum_t c_t G_t with coefficients that depend on nothing but M[i, j] = <G_i, G_j>. An adjustment is any callable
`adjustment(gram)` with `gram` float32 [T, T] in target order, the core last, that returns float32 [T].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Union

import tensorflow as tf

GramFunction = Callable[[tf.Tensor], tf.Tensor]
Number = Union[float, tf.keras.optimizers.schedules.LearningRateSchedule]


class GradientSum:
    """The plain sum of the tasks' gradients: every coefficient is 1."""

    def __call__(self, gram: tf.Tensor) -> tf.Tensor:
        """Returns ones, float32 [T], for a Gram matrix [T, T]."""
        return tf.ones_like(gram[0])

    def get_config(self) -> dict[str, Any]:
        """The arguments, for `from_config`."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> GradientSum:
        """Builds the adjustment from its arguments."""
        return cls(**config)


class GradientAdjustment(tf.Module):
    """The adjustment of HTLNet: no target may pull against the core, nor drown it.

    With G_t the gradient of task t on the shared embedding rows and G_T the core's:

    1. Direction. For t < T with <G_t, G_T> < 0: G_t <- G_t - alpha * <G_t, G_T> / ||G_T||^2 * G_T.
    2. Magnitude. w_t = min(||G_T|| / ||G_t||, C), G_t <- gamma * w_t * G_t + (1 - gamma) * G_t, with ||G_t|| taken
       after step 1.

    In terms of the Gram matrix, with k_t = alpha * min(0, M[t, T]) / M[T, T]: ||G_t||^2 after step 1 is
    M[t, t] - 2 k_t M[t, T] + k_t^2 M[T, T], c_t = gamma * w_t + 1 - gamma, c_T = 1 - sum_t c_t k_t.

    Args:
      alpha: Share of the opposing component that is removed, in [0, 1]. 0 turns step 1 off.
      gamma: How far the norms are moved to the core's, in [0, 1]. 0 turns step 2 off.
      clip: C, a guard against explosion. Set low, it disables the balancing when the core's loss is 1000 times larger.

      Each is a number or a `tf.keras.optimizers.schedules.LearningRateSchedule` over the calls made so far.

    Example:
      >>> adjustment = GradientAdjustment(alpha=1.0, gamma=0.0)
      >>> adjustment(tf.constant([[1.0, -1.0], [-1.0, 2.0]]))  # c_T = 1 + 1/2: the opposing half of G_T is given back
      <tf.Tensor: shape=(2,), dtype=float32, numpy=array([1. , 1.5], dtype=float32)>

    References:
      HTLNet (arXiv:2403.17442), section 3.5.
    """

    def __init__(self, alpha: Number = 1.0, gamma: Number = 0.5, clip: Number = 100.0) -> None:
        super().__init__(name="gradient_adjustment")
        for name, value, highest in (("alpha", alpha, 1.0), ("gamma", gamma, 1.0), ("clip", clip, None)):
            if isinstance(value, tf.keras.optimizers.schedules.LearningRateSchedule):
                continue
            if not value >= 0 or (highest is not None and value > highest):
                allowed = "must not be negative" if highest is None else f"must be in [0, {highest:g}]"
                raise ValueError(f"{name} {allowed}, received {value!r}")
        self.alpha, self.gamma, self.clip = alpha, gamma, clip
        self._calls: tf.Variable | None = None
        if any(not isinstance(v, (int, float)) for v in (alpha, gamma, clip)):
            with tf.init_scope():
                self._calls = tf.Variable(
                    0, trainable=False, dtype=tf.int64, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA
                )

    def __call__(self, gram: tf.Tensor) -> tf.Tensor:
        """Returns the coefficients, float32 [T], for a Gram matrix, float32 [T, T]; finite whenever `gram` is."""
        alpha, gamma, clip = self._now(self.alpha), self._now(self.gamma), self._now(self.clip)
        if self._calls is not None:
            self._calls.assign_add(1)
        squares = tf.linalg.diag_part(gram)[:-1]
        products, core = gram[:-1, -1], gram[-1, -1]
        k = alpha * tf.math.divide_no_nan(tf.minimum(products, 0.0), core)
        # Rounding may push the square of a vanishing remainder below zero.
        squares = tf.maximum(squares - 2.0 * k * products + k * k * core, 0.0)
        # A vanished gradient has no direction to scale; whatever its weight is, the product is 0.
        weights = tf.minimum(tf.math.divide_no_nan(tf.sqrt(core), tf.sqrt(squares)), clip)
        preceding = gamma * weights + (1.0 - gamma)
        return tf.concat([preceding, [1.0 - tf.reduce_sum(preceding * k)]], axis=0)

    def get_config(self) -> dict[str, Any]:
        """The arguments, for `from_config`; schedules in Keras' serialized form."""
        return {name: _serialize(getattr(self, name)) for name in ("alpha", "gamma", "clip")}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> GradientAdjustment:
        """Builds the adjustment from its arguments."""
        return cls(**{name: _deserialize(value) for name, value in config.items()})

    def _now(self, value: Number) -> tf.Tensor | float:
        return tf.cast(value(self._calls), tf.float32) if callable(value) else value


def _serialize(value: Number) -> Any:
    return tf.keras.optimizers.schedules.serialize(value) if callable(value) else value


def _deserialize(value: Any) -> Any:
    return tf.keras.optimizers.schedules.deserialize(value) if isinstance(value, dict) else value
