"""Loss weights that are learned along: each target's uncertainty."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from htlnet_tf.distribution import num_replicas
from htlnet_tf.schema import Schema

#: `weighting(losses, observed) -> losses`: the targets' losses, float32 scalars in target order, and whether any row of
#: the batch takes part in them, boolean scalars; what is trained instead. Weighted loss t may depend on loss t alone.
LossWeighting = Callable[[Sequence[tf.Tensor], Sequence[tf.Tensor]], Sequence[tf.Tensor]]

# No step needs sigma^2 outside of 1e-13 .. 1e26. Without a lowest value a loss that is exactly 0 would drive s to where
# exp(-s) overflows, and a single SGD step on a loss of 1e9 goes further than float32 can say.
_LOWEST, _HIGHEST = -30.0, 60.0


class UncertaintyWeights(tf.keras.layers.Layer):
    """Weighs the targets' losses by uncertainties sigma_t that are trained along with the model.

    With s_t = log sigma_t^2, the weighted loss of a binary or multiclass target is exp(-s_t) * L_t + s_t / 2, that of a
    squared error exp(-s_t) * L_t / 2 + s_t / 2: what the paper derives for a softmax with temperature sigma^2 (with
    its approximation) and for a Gaussian with variance sigma^2. For a constant loss the minimum is at s_t = log(2 L_t)
    and s_t = log(L_t): a weight of 1 / (2 L_t) either way, so that targets count alike whatever the size of their
    losses. L_t is the mean over the rows that take part, with the terms that a model adds to it.

    s_t starts at 0 (a binary target's weight at 1, a continuous one's at 1 / 2) and moves as fast as the optimizer lets
    it: with Adam about the learning rate per step, so that for losses of very different sizes, as with a core that is
    not standardised, it takes thousands of steps. It stays within [-30, 60].

    A target without a row in a batch has the weighted loss 0, and its s_t no gradient: s_t / 2 alone would push it down
    forever. Under a `tf.distribute` strategy each replica adds 1 / replicas of s_t / 2.

    It belongs to one model, and is no part of a servable.

    Args:
      schema: Says which targets there are, in which order, and which are continuous.
      name: Of the layer.

    Example:
      >>> model = MMoE(schema, encoder, loss_weighting=UncertaintyWeights(schema))

    References:
      Kendall, Gal, Cipolla: "Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry and Semantics",
      CVPR 2018, arXiv:1705.07115, section 3.2, equations 5 to 10.
    """

    def __init__(self, schema: Schema, *, name: str = "uncertainty_weights") -> None:
        super().__init__(name=name)
        self._factors = [0.5 if target.learned_by.gaussian else 1.0 for target in schema.targets]
        self.log_variances = self.add_weight(
            name="log_variances",
            shape=[len(self._factors)],
            initializer="zeros",
            constraint=lambda s: tf.clip_by_value(s, _LOWEST, _HIGHEST),
            # The constraint is applied within each replica, to one and the same value.
            aggregation=tf.VariableAggregation.MEAN,
        )
        self.built = True

    def call(self, losses: Sequence[tf.Tensor], observed: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Weighs the losses.

        Args:
          losses: L_t, or a replica's share of it; float32 scalars, in target order.
          observed: Whether any row of the global batch takes part; boolean scalars.

        Returns:
          The weighted losses, float32 scalars. Each depends on its own loss alone.

        Raises:
          ValueError: There are not as many losses as targets in the schema.
        """
        if len(losses) != len(self._factors):
            raise ValueError(f"the weights are for {len(self._factors)} targets, received {len(losses)} losses")
        logs = tf.unstack(tf.convert_to_tensor(self.log_variances))
        return [
            factor * tf.exp(-s) * loss + tf.where(seen, s, 0.0) / (2.0 * num_replicas())
            for factor, s, loss, seen in zip(self._factors, logs, losses, observed, strict=True)
        ]
