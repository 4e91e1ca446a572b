"""CAGrad, conflict-averse gradient descent."""

from __future__ import annotations

import tensorflow as tf

from htlnet_tf.gradients.adjustment import Adjustment
from htlnet_tf.gradients.gram import as_coefficients, normalised, num_tasks, rounding
from htlnet_tf.gradients.simplex import best_weights, faces, inverses_on


class CAGrad(Adjustment):
    """The direction near the mean gradient that serves the worst-off task best.

    With G_0 the mean of the gradients: d = argmax min_t <G_t, d> subject to ||d - G_0|| <= c ||G_0||. By the dual,
    d = G_0 + c ||G_0|| / ||G_w|| * G_w, with G_w = sum_t w_t G_t and w = argmin <G_w, G_0> + c ||G_0|| ||G_w|| over
    w >= 0, sum_t w_t = 1. The coefficients give n * d for n tasks with a gradient, so c = 0 is the plain sum:
    c_t = 1 + c ||sum_s G_s|| / ||G_w|| * w_t. The result is up to 1 + c times as long as the sum; as in the paper's
    algorithm it is not scaled back, while LibMTL's default divides it by 1 + c^2.

    The dual is solved exactly: inside a face of the simplex its stationary point is the root of a quadratic equation,
    and all 2^T - 1 faces are solved at once. At most 10 targets.

    Args:
      c: How far the direction may be from the mean, in units of the mean's norm, in [0, 1): 0 is the mean; below 1 the
        paper's method converges to a stationary point of the mean loss. The paper chose 0.4 for NYU-v2 and 0.2 for
        Cityscapes.

    References:
      Liu, Liu, Jin, Stone, Liu: "Conflict-Averse Gradient Descent for Multi-task Learning", NeurIPS 2021,
      section 3.1, equation 3 and algorithm 1.
    """

    arguments = ("c",)

    def __init__(self, c: float = 0.4) -> None:
        super().__init__(name="cagrad")
        if not 0 <= c < 1:
            raise ValueError(f"c must be in [0, 1), received {c!r}")
        self.c = c

    def __call__(self, gram: tf.Tensor) -> tf.Tensor:
        """Returns the coefficients, float32 [T], for a Gram matrix, float32 [T, T]."""
        norms, cosines = normalised(gram)
        present = tf.cast(norms > 0.0, tf.float64)
        # Vectors are combinations of the unit vectors G_t / ||G_t||, in units of the largest norm.
        lengths = tf.math.divide_no_nan(norms, tf.reduce_max(norms))
        mean = lengths / tf.maximum(tf.reduce_sum(present), 1.0)
        products = tf.linalg.matvec(cosines, mean)
        radius = self.c * _norm(mean, cosines)
        # In a face, with v_t = w_t ||G_t|| and shares r_t proportional to 1 / ||G_t||, stationarity of the dual is
        # C v = k (m r - products) for some k > 0, and ||v|| = k * radius: a quadratic equation in m, larger root.
        smallest = tf.reduce_min(tf.where(norms > 0.0, norms, tf.reduce_max(norms)))
        shares = tf.math.divide_no_nan(smallest, norms)
        members = faces(num_tasks(gram)) * present
        inverses = inverses_on(members, cosines)
        y, z = tf.linalg.matvec(inverses, members * shares), tf.linalg.matvec(inverses, members * products)
        ry, rz, pz = (tf.reduce_sum(a, axis=1) for a in (shares * y, shares * z, products * z))
        root = tf.sqrt(tf.maximum(rz * rz - ry * (pz - radius * radius), 0.0))
        directions = tf.math.divide_no_nan(rz + root, ry)[:, tf.newaxis] * y - z
        weights = tf.maximum(directions, 0.0) * shares
        weights = tf.math.divide_no_nan(weights, tf.reduce_sum(weights, axis=1, keepdims=True))
        points = weights * lengths
        objectives = tf.linalg.matvec(points, products) + radius * _norm(points, cosines)
        weight = best_weights(weights, objectives)
        # Where G_w is 0 up to rounding, at a Pareto-stationary point, its direction is noise: it fades out.
        least = rounding(num_tasks(gram)) ** 0.5 * tf.reduce_sum(weight * lengths)
        scale = tf.math.divide_no_nan(
            radius * tf.reduce_sum(present), tf.maximum(_norm(weight * lengths, cosines), least)
        )
        return as_coefficients(1.0 + scale * weight, norms)


def _norm(combination: tf.Tensor, cosines: tf.Tensor) -> tf.Tensor:
    squares = tf.reduce_sum(combination * tf.linalg.matvec(cosines, combination), axis=-1)
    return tf.sqrt(tf.maximum(squares, 0.0))
