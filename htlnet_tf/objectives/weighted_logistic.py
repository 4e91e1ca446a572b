"""Weighted logistic regression of an amount."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from htlnet_tf.objectives.lazy_tensorflow import tf
from htlnet_tf.objectives.log_link import LogLink, positive
from htlnet_tf.objectives.objective import STRICT


@dataclass(frozen=True, config=STRICT)
class WeightedLogistic(LogLink):
    """Every row as a negative and as a positive of weight z = y / mean: the loss z softplus(-o) + softplus(o).

    The prediction is exp(o), the odds, since the minimiser of the loss is exp(o) = E[z]. Its gradient is bounded by z
    and by 1, which large amounts make calmer than with `poisson`.

    References:
      Covington, Adams, Sargin: "Deep Neural Networks for YouTube Recommendations", RecSys 2016, section 4.2.
    """

    name = "weighted_logistic"

    def loss(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """See `Objective.loss`."""
        return positive(labels) * tf.nn.softplus(-outputs) + tf.nn.softplus(outputs)
