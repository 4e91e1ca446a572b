"""MetaBalance."""

from __future__ import annotations

from typing import Literal

import tensorflow as tf

from htlnet_tf.gradients.adjustment import Adjustment, local_variable
from htlnet_tf.gradients.gram import norms_and_cosines, num_tasks


class MetaBalance(Adjustment):
    """Moves the magnitude of every auxiliary gradient towards the target's, by moving averages of their norms.

    With m_i the moving average of ||G_i||, m_i <- beta * m_i + (1 - beta) * ||G_i||, from m_i = 0, and the core as the
    target task: G_i <- r * G_i * m_T / m_i + (1 - r) * G_i. So c_i = r * m_T / m_i + 1 - r and c_T = 1.

    A batch in which a task has no gradient, because its label was not observed in any row, counts as one of norm 0 in
    the task's average. Before the core's first gradient m_T is 0, and the other tasks keep 1 - r of theirs (all of it
    with `"enlarge"`).

    Args:
      relax: r, in [0, 1]; 0 is the plain sum, 1 gives every gradient the target's magnitude.
      beta: Decay of the moving averages, in [0, 1); 0 uses the current norms.
      strategy: `"reduce"` only shrinks larger gradients (the paper's A), `"enlarge"` only stretches smaller ones (B),
        `"both"` (C).

    References:
      He, Feng, Cheng, Ji, Guo, Caverlee: "MetaBalance: Improving Multi-Task Recommendations via Adapting Gradient
      Magnitudes of Auxiliary Tasks", WWW 2022, arXiv:2203.06801; there for each parameter of the network apart, here on
      all shared rows. The defaults of r and beta are those of the authors' code.
    """

    arguments = ("relax", "beta", "strategy")

    def __init__(
        self,
        relax: float = 0.7,
        beta: float = 0.9,
        strategy: Literal["reduce", "enlarge", "both"] = "both",
    ) -> None:
        super().__init__(name="metabalance")
        if not 0 <= relax <= 1:
            raise ValueError(f"relax must be in [0, 1], received {relax!r}")
        if not 0 <= beta < 1:
            raise ValueError(f"beta must be in [0, 1), received {beta!r}")
        if strategy not in ("reduce", "enlarge", "both"):
            raise ValueError(f"strategy must be 'reduce', 'enlarge' or 'both', received {strategy!r}")
        self.relax, self.beta, self.strategy = relax, beta, strategy
        self._averages: tf.Variable | None = None

    def build(self, tasks: int) -> None:
        """Makes the averages, [T], unless they are there."""
        if self._averages is None:
            with tf.init_scope():
                self._averages = local_variable(tf.zeros([tasks]))

    def __call__(self, gram: tf.Tensor) -> tf.Tensor:
        """Returns the coefficients, float32 [T], for a Gram matrix, float32 [T, T]; moves the averages."""
        self.build(num_tasks(gram))
        assert self._averages is not None
        norms, _ = norms_and_cosines(gram)
        averages = self.beta * self._averages + (1.0 - self.beta) * norms
        self._averages.assign(averages)
        ratios = tf.math.divide_no_nan(averages[-1], averages)
        applies = {
            "reduce": ratios < 1.0,
            "enlarge": ratios > 1.0,
            "both": tf.ones_like(ratios, tf.bool),
        }[self.strategy]
        coefficients = tf.where(applies, self.relax * ratios + 1.0 - self.relax, 1.0)
        return tf.concat([coefficients[:-1], [1.0]], axis=0)
