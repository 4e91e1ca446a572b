"""Convex problems over the weights of a few tasks, solved exactly by going through the faces of the simplex."""

from __future__ import annotations

import itertools

import numpy as np
import tensorflow as tf

from htlnet_tf.gradients.gram import inverse

MAX_TASKS = 10


def faces(tasks: int) -> np.ndarray:
    """The nonempty sets of tasks as float64 [2^T - 1, T] of zeros and ones.

    Raises:
      ValueError: More than 10 tasks; the number of sets doubles with each.
    """
    if tasks > MAX_TASKS:
        raise ValueError(f"the exact solution is for at most {MAX_TASKS} tasks, received {tasks}")
    return np.asarray([face for face in itertools.product((0.0, 1.0), repeat=tasks) if any(face)])


def inverses_on(members: tf.Tensor, cosines: tf.Tensor) -> tf.Tensor:
    """The inverse of the cosines within each face, [faces, T, T], zero outside of `members` [faces, T]."""
    pairs = members[:, :, tf.newaxis] * members[:, tf.newaxis, :]
    return pairs * inverse(tf.linalg.set_diag(pairs * cosines, tf.ones_like(members)))


def best_weights(candidates: tf.Tensor, objectives: tf.Tensor) -> tf.Tensor:
    """The candidate [T] of the smallest objective, from candidates [faces, T]; one that is all zero is none."""
    is_one = tf.reduce_any(candidates > 0.0, axis=1)
    infinity = tf.constant(np.inf, objectives.dtype)
    return tf.gather(candidates, tf.argmin(tf.where(is_one, objectives, infinity)))
