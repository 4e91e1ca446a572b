"""What rows have in each of several states, of which equal vectors are kept and multiplied once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class StateRows:
    """A vector per state and row, [S, N, u].

    The marginal label embedding runs a tower once per state of the labels. Much of what the tower reads differs between
    few of the states: a label's embedding is one vector for all rows, an earlier tower's representation depends on the
    labels before that tower alone.

    Attributes:
      distinct: float32 [D, N, u], or [D, 1, u] where the one vector stands for all rows.
      of_state: For each of the S states, which of the D it has.
    """

    distinct: tf.Tensor
    of_state: tuple[int, ...]

    @property
    def shape(self) -> tf.TensorShape:
        """Of the distinct ones."""
        return self.distinct.shape

    def map(self, function: Callable[[tf.Tensor], tf.Tensor]) -> StateRows:
        """Applies a function that keeps the first two axes."""
        return StateRows(function(self.distinct), self.of_state)

    def project(self, kernel: tf.Tensor) -> StateRows:
        """Each vector times a kernel, float32 [u, w]."""
        width = int(kernel.shape[1])

        def product(vectors: tf.Tensor) -> tf.Tensor:
            rows = tf.matmul(tf.reshape(vectors, [-1, vectors.shape[2]]), kernel)
            return tf.reshape(rows, [vectors.shape[0], -1, width])

        return self.map(product)

    def in_states(self) -> tf.Tensor:
        """Of each state: float32 [S, N, u], or [S, 1, u]."""
        return _chosen(self.distinct, self.of_state)


def combined(rows: Sequence[StateRows], function: Callable[[list[tf.Tensor]], tf.Tensor]) -> StateRows:
    """A function of several vectors, computed once for each combination of them that occurs.

    Args:
      rows: With the same S; in each N rows or one that stands for all.
      function: From [C, N or 1, u_i] of each to [C, N or 1, w].
    """
    of_states = list(zip(*(r.of_state for r in rows), strict=True))
    combinations = list(dict.fromkeys(of_states))
    of_each = [_chosen(r.distinct, places) for r, places in zip(rows, zip(*combinations, strict=True), strict=True)]
    return StateRows(function(of_each), tuple(combinations.index(places) for places in of_states))


def alike(vectors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Tensors [C, N or 1, ...] with the same number of rows: one row stands for N where another tensor has N."""
    if len({vector.shape[1] for vector in vectors}) == 1:
        return list(vectors)
    count = next(tf.shape(vector)[1] for vector in vectors if vector.shape[1] != 1)
    return [
        tf.broadcast_to(v, tf.concat([tf.shape(v)[:1], [count], tf.shape(v)[2:]], axis=0)) if v.shape[1] == 1 else v
        for v in vectors
    ]


def _chosen(distinct: tf.Tensor, places: tuple[int, ...]) -> tf.Tensor:
    return distinct if places == tuple(range(int(distinct.shape[0]))) else tf.gather(distinct, places)
