"""IMTL-G, impartial multi-task learning by gradients."""

from __future__ import annotations

import tensorflow as tf

from htlnet_tf.gradients.adjustment import Adjustment
from htlnet_tf.gradients.gram import as_coefficients, inverse, normalised

_SMALLEST_SUM = 1e-6


class IMTLG(Adjustment):
    """The combination with equal projections on all tasks' directions.

    With u_t = G_t / ||G_t||: sum_t w_t = 1 and g = sum_t w_t G_t such that <g, u_s> is the same for all s. The paper's
    closed form, w_{2..T} = G_1 U' (D U')^-1 with rows u_1 - u_t of U and G_1 - G_t of D, is in terms of the cosines C:
    w_t proportional to (C^-1 1)_t / ||G_t||. The coefficients are n * w for n tasks with a gradient, on the scale of
    the sum.

    Two tasks get weights proportional to 1 / ||G_t||. From three on a weight can be negative, and where the gradients'
    norms differ much the common projection too: the paper does not exclude it, and nor is it here. Where the weights
    before normalisation cancel to less than 1e-6 of their absolute sum, the coefficients are bounded accordingly.

    References:
      Liu, Li, Kuang, Xue, Chen, Yang, Liao, Zhang: "Towards Impartial Multi-task Learning", ICLR 2021, section 3.1.
    """

    def __init__(self) -> None:
        super().__init__(name="imtl_g")

    def __call__(self, gram: tf.Tensor) -> tf.Tensor:
        """Returns the coefficients, float32 [T], for a Gram matrix, float32 [T, T]."""
        norms, cosines = normalised(gram)
        present = tf.cast(norms > 0.0, tf.float64)
        smallest = tf.reduce_min(tf.where(norms > 0.0, norms, tf.reduce_max(norms)))
        weights = tf.linalg.matvec(inverse(cosines), present) * tf.math.divide_no_nan(smallest, norms)
        total = tf.reduce_sum(weights)
        least = _SMALLEST_SUM * tf.reduce_sum(tf.abs(weights))
        total = tf.where(total < 0.0, tf.minimum(total, -least), tf.maximum(total, least))
        return as_coefficients(tf.reduce_sum(present) * tf.math.divide_no_nan(weights, total), norms)
