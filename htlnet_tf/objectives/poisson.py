"""Poisson deviance."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from htlnet_tf.objectives.functions import bounded_exp
from htlnet_tf.objectives.lazy_tensorflow import tf
from htlnet_tf.objectives.log_link import LogLink, positive
from htlnet_tf.objectives.objective import STRICT


@dataclass(frozen=True, config=STRICT)
class Poisson(LogLink):
    """Half the Poisson deviance: z = y / mean, the loss exp(o) - z o + (z log z - z), the prediction exp(o).

    The term in brackets has no gradient; with it the loss is 0 at its minimum and never negative. It is a
    quasi-likelihood: amounts need not be whole numbers, and its minimiser is E[z] whatever their distribution.

    References:
      Wedderburn: "Quasi-likelihood functions, generalized linear models, and the Gauss-Newton method", Biometrika 61,
      1974.
    """

    name = "poisson"

    def loss(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """See `Objective.loss`."""
        z = positive(labels)
        return bounded_exp(outputs) - z * outputs + (tf.math.xlogy(z, z) - z)
