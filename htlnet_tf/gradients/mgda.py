"""MGDA, the multiple-gradient descent algorithm."""

from __future__ import annotations

import tensorflow as tf

from htlnet_tf.gradients.adjustment import Adjustment
from htlnet_tf.gradients.gram import as_coefficients, normalised, num_tasks
from htlnet_tf.gradients.simplex import best_weights, faces, inverses_on


class MGDA(Adjustment):
    """The point of smallest norm in the convex hull of the gradients: a direction that descends for every task.

    With w = argmin ||sum_t w_t G_t||^2 over w >= 0, sum_t w_t = 1, and d = sum_t w_t G_t, every task has
    <d, G_t> >= ||d||^2. The coefficients are n * w for n tasks with a gradient: d times n, on the scale of the sum.

    The paper iterates (Frank-Wolfe); for the few tasks of a funnel the exact solution is as cheap. The minimum lies
    inside one face of the simplex, where w is proportional to M^-1 1 on that face's tasks; all 2^T - 1 faces are solved
    at once and the best admissible point is taken. At most 10 targets.

    References:
      Désidéri: "Multiple-gradient descent algorithm (MGDA) for multiobjective optimization", Comptes Rendus
      Mathématique 350, 2012; Sener, Koltun: "Multi-Task Learning as Multi-Objective Optimization", NeurIPS 2018,
      section 3, equation 3.
    """

    def __init__(self) -> None:
        super().__init__(name="mgda")

    def __call__(self, gram: tf.Tensor) -> tf.Tensor:
        """Returns the coefficients, float32 [T], for a Gram matrix, float32 [T, T]."""
        norms, cosines = normalised(gram)
        present = tf.cast(norms > 0.0, tf.float64)
        # With w_t ||G_t|| = v_t, in units of the smallest norm: minimise v' C v with <v, smallest / ||G_t||> = 1.
        smallest = tf.reduce_min(tf.where(norms > 0.0, norms, tf.reduce_max(norms)))
        shares = tf.math.divide_no_nan(smallest, norms)
        members = faces(num_tasks(gram)) * present
        points = tf.maximum(tf.linalg.matvec(inverses_on(members, cosines), members * shares), 0.0)
        points = tf.math.divide_no_nan(points, tf.reduce_sum(points * shares, axis=1, keepdims=True))
        point = best_weights(points, tf.reduce_sum(points * tf.matmul(points, cosines), axis=1))
        return as_coefficients(tf.reduce_sum(present) * point * shares, norms)
