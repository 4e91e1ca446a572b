"""The dispersion of a target's amounts, where no output says it."""

from __future__ import annotations

import tensorflow as tf

from htlnet_tf.objectives import Objective, metrics


class Dispersion(tf.keras.layers.Layer):
    """One number that says how far amounts lie from what is predicted of them, see `Objective.dispersed`.

    It is 1 until `MultiTaskModel.fit_level` has estimated it on the training rows; it is part of the weights, and of
    the servable. A model keeps it of a target with quantiles whose objective needs it.

    Args:
      num_terms: What `Objective.dispersion_terms` gives of a row.
    """

    def __init__(self, num_terms: int, *, name: str) -> None:
        super().__init__(name=name)
        self.value = self.add_weight(name="value", shape=[], initializer="ones", trainable=False)
        # Sums over rows and replicas, as the metrics'.
        self.sums = metrics.TermSums(num_terms, f"{name}_sums")
        self.built = True

    def settle(self, objective: Objective, level: float) -> float:
        """Takes the value from the sums over rows, and returns it; the arguments are those of the objective's.

        It stays as it is where all sums are 0, for no row had an amount.
        """
        sums = [float(value) for value in self.sums.result().numpy()]
        if not any(sums):
            return float(self.value)
        found = objective.dispersion(sums, level)
        self.value.assign(found)
        return found
