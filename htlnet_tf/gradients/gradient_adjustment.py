"""The adjustment of HTLNet."""

from __future__ import annotations

import tensorflow as tf

from htlnet_tf.gradients.adjustment import Adjustment, Number, local_variable
from htlnet_tf.gradients.gram import norms_and_cosines, num_tasks

_TINY = 1.2e-38  # the smallest normal float32
_HUGE = 1e19  # the ratio of the norms of any two gradients whose squares are normal float32 numbers but extreme


class GradientAdjustment(Adjustment):
    """The adjustment of HTLNet: no target may pull against the core, nor drown it.

    With G_t the gradient of task t on the shared embedding rows and G_T the core's:

    1. Direction. For t < T with <G_t, G_T> < 0: G_t <- G_t - alpha * <G_t, G_T> / ||G_T||^2 * G_T.
    2. Magnitude. w_t = min(||G_T|| / ||G_t||, C r_t), G_t <- gamma * w_t * G_t + (1 - gamma) * G_t, with ||G_t|| taken
       after step 1 and r_t = ||G_T|| / ||G_t|| before it. In the paper r_t = 1.

    In terms of the Gram matrix, with k_t = alpha * min(0, M[t, T]) / M[T, T]: ||G_t||^2 after step 1 is
    M[t, t] - 2 k_t M[t, T] + k_t^2 M[T, T], c_t = gamma * w_t + 1 - gamma, c_T = 1 - sum_t c_t k_t.

    Where the core has no gradient, as in a batch in which its label was not observed in any row, there is nothing to
    pull against, and w_t = 0: every other task keeps 1 - gamma of its gradient, with gamma = 1 nothing. A task without
    a gradient has the coefficient 1.

    Args:
      alpha: Share of the opposing component that is removed, in [0, 1]. 0 turns step 1 off.
      gamma: How far the norms are moved to the core's, in [0, 1]. 0 turns step 2 off.
      clip: C, a guard against explosion: what little a projection leaves of a gradient is stretched up to C times more
        than the gradient would have been without it.

        Each of the three is a number or a `tf.keras.optimizers.schedules.LearningRateSchedule` over the calls so far.
      relative_clip: False is the paper's form, r_t = 1. There C bounds the whole stretch, and below the ratio of the
        losses, which is a million for a core in cents that is not standardised, it disables the balancing. No gradient
        is ever stretched beyond the core's norm, with or without it.

    Example:
      >>> adjustment = GradientAdjustment(alpha=1.0, gamma=0.0)
      >>> adjustment(tf.constant([[1.0, -1.0], [-1.0, 2.0]]))  # c_T = 1 + 1/2: the opposing half of G_T is given back
      <tf.Tensor: shape=(2,), dtype=float32, numpy=array([1. , 1.5], dtype=float32)>

    References:
      HTLNet (arXiv:2403.17442), section 3.5.
    """

    arguments = ("alpha", "gamma", "clip", "relative_clip")

    def __init__(
        self, alpha: Number = 1.0, gamma: Number = 0.5, clip: Number = 100.0, relative_clip: bool = True
    ) -> None:
        super().__init__(name="gradient_adjustment")
        for name, value, highest in (("alpha", alpha, 1.0), ("gamma", gamma, 1.0), ("clip", clip, None)):
            if isinstance(value, tf.keras.optimizers.schedules.LearningRateSchedule):
                continue
            if not value >= 0 or (highest is not None and value > highest):
                allowed = "must not be negative" if highest is None else f"must be in [0, {highest:g}]"
                raise ValueError(f"{name} {allowed}, received {value!r}")
        self.alpha, self.gamma, self.clip, self.relative_clip = alpha, gamma, clip, relative_clip
        self._scheduled = any(callable(value) for value in (alpha, gamma, clip))
        self._calls: tf.Variable | None = None

    def build(self, tasks: int) -> None:
        """Makes the step that schedules are asked for, if there are any, unless it is there."""
        if self._scheduled and self._calls is None:
            with tf.init_scope():
                self._calls = local_variable(tf.constant(0, tf.int64))

    def __call__(self, gram: tf.Tensor) -> tf.Tensor:
        """Returns the coefficients, float32 [T], for a Gram matrix, float32 [T, T]; finite whenever `gram` is."""
        if self._scheduled:
            self.build(num_tasks(gram))
        alpha, gamma, clip = self._now(self.alpha), self._now(self.gamma), self._now(self.clip)
        if self._calls is not None:
            self._calls.assign_add(1)
        norms, cosines = norms_and_cosines(gram)
        opposing = tf.minimum(cosines[:-1, -1], 0.0)
        # With c the cosine where it is negative: k = alpha c ||G_t|| / ||G_T||, and ||G_t'||^2 = ||G_t||^2
        # (1 - alpha (2 - alpha) c^2), which neither overflows nor falls below zero by rounding.
        k = alpha * opposing * tf.math.divide_no_nan(norms[:-1], norms[-1])
        remaining = norms[:-1] * tf.sqrt(tf.maximum(1.0 - alpha * (2.0 - alpha) * opposing * opposing, 0.0))
        # Where rounding has left nothing of a gradient it is stretched as far as C allows, as any tiny remainder; one
        # that is 0 is left alone.
        ratios = norms[-1] / tf.maximum(remaining, _TINY)
        # A core without a gradient allows nothing, and be C infinite.
        scale = tf.minimum(norms[-1] / tf.maximum(norms[:-1], _TINY), _HUGE) if self.relative_clip else 1.0
        allowed = tf.math.multiply_no_nan(tf.cast(clip, tf.float32), scale)
        weights = tf.where(norms[:-1] > 0.0, tf.minimum(ratios, allowed), 1.0)
        preceding = gamma * weights + (1.0 - gamma)
        return tf.concat([preceding, [1.0 - tf.reduce_sum(preceding * k)]], axis=0)

    def _now(self, value: Number) -> tf.Tensor | float:
        return tf.cast(value(self._calls), tf.float32) if callable(value) else value
