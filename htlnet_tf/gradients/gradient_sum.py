"""The plain sum."""

from __future__ import annotations

import tensorflow as tf

from htlnet_tf.gradients.adjustment import Adjustment


class GradientSum(Adjustment):
    """The plain sum of the tasks' gradients: every coefficient is 1."""

    def __init__(self) -> None:
        super().__init__(name="gradient_sum")

    def __call__(self, gram: tf.Tensor) -> tf.Tensor:
        """Returns ones, float32 [T]."""
        return tf.ones_like(gram[0])
