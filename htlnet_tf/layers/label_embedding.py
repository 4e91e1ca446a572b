"""Label Embedding Unit (LEU): what an earlier target predicts, as an input of the later towers."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


class LabelEmbedding(tf.keras.layers.Layer):
    """Embeds a predicted class distribution pi as w E, with a table E of shape `[K, L]`.

    Training draws w from the Gumbel-softmax distribution, w = softmax((log pi + g) / tau) with g ~ Gumbel(0, 1), whose
    temperature tau falls exponentially with every optimizer step from `tau_start` to `tau_min`. Inference uses w = pi,
    the expected label embedding, so a servable is deterministic. The true label is never fed forward: that would differ
    between training and serving.

    Args:
      num_classes: K; 2 for a binary target.
      dim: L.
      tau_start: Temperature at the first step.
      tau_min: Temperature that the annealing ends at.
      tau_decay: Rate r of tau = max(tau_min, tau_start * exp(-r * step)).
      gumbel: False uses w = pi in training too (ablation).

    References:
      HTLNet (arXiv:2403.17442), section 3.3; Jang, Gu, Poole: "Categorical Reparameterization with Gumbel-Softmax",
      ICLR 2017.
    """

    def __init__(
        self,
        num_classes: int,
        dim: int = 10,
        *,
        tau_start: float = 1.0,
        tau_min: float = 0.1,
        tau_decay: float = 1e-3,
        gumbel: bool = True,
        name: str,
    ) -> None:
        super().__init__(name=name)
        if not 0 < tau_min <= tau_start:
            raise ValueError(f"0 < tau_min <= tau_start is needed, received tau_min={tau_min}, tau_start={tau_start}")
        if tau_decay < 0:
            raise ValueError(f"tau_decay must not be negative, received {tau_decay}")
        self.num_classes, self.dim, self.gumbel = num_classes, dim, gumbel
        self.tau_start, self.tau_min, self.tau_decay = tau_start, tau_min, tau_decay

    def build(self, input_shape: Any) -> None:
        """Creates the table, float32 [K, L], and the temperature, a float32 scalar that a checkpoint keeps."""
        self.table = self.add_weight(name="table", shape=[self.num_classes, self.dim], initializer="uniform")
        self.tau = self.add_weight(
            name="tau",
            shape=[],
            initializer=tf.keras.initializers.Constant(self.tau_start),
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        super().build(input_shape)

    def call(self, log_probabilities: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Embeds a distribution.

        Args:
          log_probabilities: float32 [B, K].
          training: Draw from the Gumbel-softmax distribution.

        Returns:
          float32 [B, L].
        """
        if training and self.gumbel:
            uniform = tf.random.uniform(tf.shape(log_probabilities), minval=1e-20, maxval=1.0)
            noise = -tf.math.log(-tf.math.log(uniform))
            weights = tf.nn.softmax((log_probabilities + noise) / self.tau)
        else:
            weights = tf.exp(log_probabilities)
        return tf.matmul(weights, self.table)

    def anneal(self) -> None:
        """Lowers the temperature by one optimizer step."""
        self.tau.assign(tf.maximum(self.tau_min, self.tau * tf.exp(-self.tau_decay)))
