"""What the adjustments read off the Gram matrix."""

from __future__ import annotations

import tensorflow as tf

FLOAT32_EPSILON = 1.2e-7
FLOAT32_MAX = 3.4e38


def norms_and_cosines(gram: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """||G_t||, [T], and cos(G_i, G_j), [T, T]; 0 where a gradient is 0."""
    norms = tf.sqrt(tf.maximum(tf.linalg.diag_part(gram), 0.0))
    # One division at a time: the product of two small norms may underflow.
    cosines = tf.math.divide_no_nan(tf.math.divide_no_nan(gram, norms[:, tf.newaxis]), norms)
    return norms, tf.clip_by_value(cosines, -1.0, 1.0)


def num_tasks(gram: tf.Tensor) -> int:
    """T, which must be known when the graph is built.

    Raises:
      ValueError: It is not.
    """
    tasks = gram.shape[0]
    if tasks is None:
        raise ValueError(f"the Gram matrix must have a static shape [T, T], received {gram.shape}")
    return int(tasks)


def normalised(gram: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Norms [T] and cosines [T, T] in float64, for the methods that solve equations.

    A task without a gradient gets a direction of its own, orthogonal to all others, so that the cosines' diagonal is 1.
    """
    norms, cosines = norms_and_cosines(gram)
    cosines = tf.linalg.set_diag(cosines, tf.ones_like(norms))
    return tf.cast(norms, tf.float64), tf.cast(0.5 * (cosines + tf.transpose(cosines)), tf.float64)


def rounding(tasks: int) -> float:
    """Eigenvalues of cosines [T, T] below this are the rounding of a float32 Gram matrix."""
    return tasks * FLOAT32_EPSILON


def positive_eigh(cosines: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Eigenvalues [..., T], rounded up to `rounding(T)`, and eigenvectors [..., T, T] in columns."""
    eigenvalues, eigenvectors = tf.linalg.eigh(cosines)
    return tf.maximum(eigenvalues, rounding(int(cosines.shape[-1]))), eigenvectors


def inverse(cosines: tf.Tensor) -> tf.Tensor:
    """The inverse [..., T, T] of cosines [..., T, T]; finite where gradients are linearly dependent."""
    eigenvalues, eigenvectors = positive_eigh(cosines)
    return tf.matmul(eigenvectors / eigenvalues[..., tf.newaxis, :], eigenvectors, transpose_b=True)


def as_coefficients(values: tf.Tensor, norms: tf.Tensor) -> tf.Tensor:
    """Coefficients float32 [T], finite, from float64 [T]; 1 for a task without a gradient."""
    values = tf.clip_by_value(values, -FLOAT32_MAX, FLOAT32_MAX)
    return tf.cast(tf.where(norms > 0.0, values, 1.0), tf.float32)
