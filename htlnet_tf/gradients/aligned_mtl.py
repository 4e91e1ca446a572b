"""Aligned-MTL, independent component alignment."""

from __future__ import annotations

import tensorflow as tf

from htlnet_tf.gradients.adjustment import Adjustment
from htlnet_tf.gradients.gram import as_coefficients, normalised, num_tasks, rounding


class AlignedMTL(Adjustment):
    """The gradients' principal components, all brought to the length of the shortest: a system of condition number 1.

    With the matrix of gradients G = U S V' (one column per task) the aligned gradients are sigma * U V', with sigma the
    smallest singular value that is not 0; the result is their sum. In terms of the Gram matrix M = V L V':
    c = sigma * V L^(-1/2) V' w, over the eigenvalues that are not 0, with the paper's task weights w = 1. This is the
    sum of the aligned gradients, as in the authors' code, not their mean; its norm is sqrt(n) * sigma where the n
    gradients are linearly independent, at most sqrt(n) times the shortest gradient's: nearly dependent ones make short
    steps.

    The rank, on which sigma hangs, is that of the cosines, so that a task whose loss is 1000 times larger than
    another's does not make that one's gradient count as 0.

    References:
      Senushkin, Patakin, Kuznetsov, Konushin: "Independent Component Alignment for Multi-Task Learning", CVPR 2023,
      section 5, equation 5 and algorithm 1.
    """

    def __init__(self) -> None:
        super().__init__(name="aligned_mtl")

    def __call__(self, gram: tf.Tensor) -> tf.Tensor:
        """Returns the coefficients, float32 [T], for a Gram matrix, float32 [T, T]."""
        norms, cosines = normalised(gram)
        tasks = num_tasks(gram)
        absent = tf.reduce_sum(tf.cast(norms == 0.0, tf.int32))
        # A task without a gradient has an eigenvalue 1 of the cosines and 0 of the Gram matrix.
        rank = tf.reduce_sum(tf.cast(tf.linalg.eigvalsh(cosines) > rounding(tasks), tf.int32)) - absent
        lengths = tf.math.divide_no_nan(norms, tf.reduce_max(norms))
        eigenvalues, eigenvectors = tf.linalg.eigh(lengths[:, tf.newaxis] * cosines * lengths)
        # Ascending; beyond float64's own rounding of the largest, 1 by order of magnitude, there is nothing to align.
        kept = (tf.range(tasks) >= tasks - rank) & (eigenvalues > tasks * 2.3e-16)
        singular = tf.sqrt(tf.where(kept, eigenvalues, 1.0))
        sigma = tf.reduce_min(tf.where(kept, singular, tf.reduce_max(singular)))
        components = tf.where(kept, sigma / singular, 0.0) * tf.reduce_sum(eigenvectors, axis=0)
        return as_coefficients(tf.linalg.matvec(eigenvectors, components), norms)
