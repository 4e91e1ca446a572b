"""Tweedie deviance."""

from __future__ import annotations

from pydantic import Field
from pydantic.dataclasses import dataclass

from htlnet_tf.objectives.functions import bounded_exp
from htlnet_tf.objectives.lazy_tensorflow import tf
from htlnet_tf.objectives.log_link import LogLink, positive
from htlnet_tf.objectives.objective import STRICT


@dataclass(frozen=True, config=STRICT)
class Tweedie(LogLink):
    """Half the Tweedie deviance with a power r in (1, 2), a compound Poisson-gamma: many zeros, then a long tail.

    z = y / mean, the prediction exp(o), the loss

        -z exp((1 - r) o) / (1 - r) + exp((2 - r) o) / (2 - r) + z^(2 - r) / ((1 - r) (2 - r)),

    whose last term has no gradient and makes the minimum 0.

    Args:
      power: r; near 1 it is Poisson's variance (proportional to the mean), near 2 gamma's (to its square).

    References:
      Zhou, Qian, Yang: "Tweedie Gradient Boosting for Extremely Unbalanced Zero-inflated Data", arXiv:1811.10192,
      equation 9.
    """

    power: float = Field(default=1.5, gt=1.0, lt=2.0)
    name = "tweedie"

    def loss(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """See `Objective.loss`."""
        z, below, above = positive(labels), 1.0 - self.power, 2.0 - self.power
        constant = tf.pow(z, above) / (below * above)
        return -z * bounded_exp(below * outputs) / below + bounded_exp(above * outputs) / above + constant
