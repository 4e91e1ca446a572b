"""The plain sum."""

from __future__ import annotations

import tensorflow as tf

from htlnet_tf.gradients.adjustment import Adjustment


class GradientSum(Adjustment):
    """The plain sum of the tasks' gradients: every coefficient is 1.

    Args:
      core: Has no effect on the sum; names the target that cosines are measured against.
    """

    def __init__(self, *, core: str | None = None) -> None:
        super().__init__(core=core, name="gradient_sum")

    def __call__(self, gram: tf.Tensor) -> tf.Tensor:
        """Returns ones, float32 [T]."""
        return tf.ones_like(gram[0])
