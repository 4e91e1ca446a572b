"""PCGrad, gradient surgery."""

from __future__ import annotations

import tensorflow as tf

from htlnet_tf import noise
from htlnet_tf.gradients.adjustment import Adjustment
from htlnet_tf.gradients.gram import norms_and_cosines, num_tasks


class PCGrad(Adjustment):
    """Gradient surgery: every task's gradient loses what opposes another task's, one after the other in random order.

    For each task i, starting from G_i and for each other task j: if <G_i', G_j> < 0, G_i' <- G_i' -
    <G_i', G_j> / ||G_j||^2 * G_j, with the original G_j. In terms of the Gram matrix: G_i' = sum_s A[i, s] G_s, so
    <G_i', G_j> = sum_s A[i, s] M[s, j], and the coefficients are the column sums of A.

    A task without a gradient, as in a batch in which its label was not observed in any row, opposes none and has the
    coefficient 1.

    Args:
      shuffle: Visit the other tasks in a new random order per task and call, as the paper does; False: in target order.

    References:
      Yu, Kumar, Gupta, Levine, Hausman, Finn: "Gradient Surgery for Multi-Task Learning", NeurIPS 2020, algorithm 1.
    """

    arguments = ("shuffle",)

    def __init__(self, *, shuffle: bool = True) -> None:
        super().__init__(name="pcgrad")
        self.shuffle = shuffle

    def __call__(self, gram: tf.Tensor) -> tf.Tensor:
        """Returns the coefficients, float32 [T], for a Gram matrix, float32 [T, T]."""
        tasks = num_tasks(gram)
        in_order = tf.tile([tf.range(tasks, dtype=tf.float32)], [tasks, 1])
        keys = noise.uniform([tasks, tasks], of_rows=False) if self.shuffle else in_order
        # A task's own place comes last, so that the first T - 1 are the others in their order.
        order = tf.argsort(keys + tf.eye(tasks) * (tasks + 1.0), axis=1)
        # In units of each task's norm everything is of order 1: rows of `combination` are G_i' / ||G_i|| in terms of
        # the unit vectors G_s / ||G_s||.
        norms, cosines = norms_and_cosines(gram)
        combination = tf.eye(tasks)
        for step in range(tasks - 1):
            other = order[:, step]
            products = tf.reduce_sum(combination * tf.gather(cosines, other), axis=1)
            combination -= tf.minimum(products, 0.0)[:, tf.newaxis] * tf.one_hot(other, tasks)
        total = tf.reduce_sum(norms[:, tf.newaxis] * combination, axis=0)
        return tf.where(norms > 0.0, tf.math.divide_no_nan(total, norms), 1.0)
