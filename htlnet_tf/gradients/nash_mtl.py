"""Nash-MTL, multi-task learning as a bargaining game."""

from __future__ import annotations

import tensorflow as tf

from htlnet_tf.gradients.adjustment import Adjustment
from htlnet_tf.gradients.gram import as_coefficients, normalised, num_tasks, positive_eigh

_FULL_STEP = 0.5


class NashMTL(Adjustment):
    """The Nash bargaining solution: proportional fairness between the tasks.

    The direction d that maximises sum_t log <G_t, d> in a ball; it is sum_t a_t G_t with M a = 1 / a, a > 0, and these
    a are the coefficients. It does not depend on the gradients' norms: scaling G_t by k scales a_t by 1 / k. The result
    has the norm sqrt(n) for n tasks with a gradient, however small the gradients get: a learning rate that suits the
    sum is not one for this method, unless the optimizer normalises as Adam does.

    With b_t = a_t ||G_t|| and the cosines C: C b = 1 / b, the minimum of the convex 1/2 b' C b - sum_t log b_t, found
    by a fixed number of damped Newton steps. (The paper solves a sequence of convex programs, the authors' code at most
    20 per step; that code also clips the result's norm to 1, which is left to the optimizer here.) Where two gradients
    are opposite there is no solution; b is bounded by the rounding of the float32 Gram matrix.

    Args:
      iterations: Newton steps. 20 reach float32's precision for up to 6 targets, nearly opposite ones included.

    References:
      Navon, Shamsian, Achituve, Maron, Kawaguchi, Chechik, Fetaya: "Multi-Task Learning as a Bargaining Game",
      ICML 2022, claim 3.1 and algorithm 1.
    """

    arguments = ("iterations",)

    def __init__(self, iterations: int = 20) -> None:
        super().__init__(name="nash_mtl")
        if iterations < 1:
            raise ValueError(f"iterations must be at least 1, received {iterations!r}")
        self.iterations = iterations

    def __call__(self, gram: tf.Tensor) -> tf.Tensor:
        """Returns the coefficients, float32 [T], for a Gram matrix, float32 [T, T]."""
        norms, cosines = normalised(gram)
        tasks = num_tasks(gram)
        eigenvalues, eigenvectors = positive_eigh(cosines)
        cosines = tf.matmul(eigenvectors * eigenvalues, eigenvectors, transpose_b=True)
        _, b = tf.while_loop(
            lambda step, _: step < self.iterations,
            lambda step, b: (step + 1, _newton_step(b, cosines)),
            (tf.constant(0), tf.ones([tasks], tf.float64)),
        )
        return as_coefficients(tf.math.divide_no_nan(b, norms), norms)


def _newton_step(b: tf.Tensor, cosines: tf.Tensor) -> tf.Tensor:
    """One step from b, [T], in logarithmic coordinates, after the best step along b itself."""
    scaled = b * cosines * b[:, tf.newaxis]
    size = tf.reduce_sum(scaled) / tf.cast(tf.size(b), b.dtype)
    scaled /= size
    residual = 1.0 - tf.reduce_sum(scaled, axis=1)
    hessian = scaled + tf.eye(int(b.shape[0]), dtype=b.dtype)
    change = tf.linalg.solve(hessian, residual[:, tf.newaxis])[:, 0]
    # The function is self-concordant: damped by its decrement, a step descends and keeps b positive.
    decrement = tf.sqrt(tf.maximum(tf.reduce_sum(residual * change), 0.0))
    step = tf.where(decrement < _FULL_STEP, tf.ones_like(decrement), 1.0 / (1.0 + decrement))
    return b / tf.sqrt(size) * (1.0 + step * change)
