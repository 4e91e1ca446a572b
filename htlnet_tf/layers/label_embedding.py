"""Label Embedding Unit (LEU): what an earlier target predicts, as an input of the later towers."""

from __future__ import annotations

import math
from typing import Literal

import tensorflow as tf

from htlnet_tf import noise
from htlnet_tf.distribution import OWN_STATE

LabelForm = Literal["soft", "hard", "expected"]


class LabelEmbedding(tf.keras.layers.Layer):
    """Embeds a predicted class distribution pi as w E, with a table E of shape `[K, L]`.

    In inference w = pi, the expected label embedding, so a servable is deterministic. In training it depends on the
    form:

    - `"soft"`: w is drawn from the Gumbel-softmax distribution, w = softmax((log pi + g) / tau) with g ~ Gumbel(0, 1),
      whose temperature tau falls exponentially with every optimizer step from `tau_start` to `tau_min`. The mean of w
      is pi only as tau -> 0: at tau = 0.77, pi = 0.15 gives 0.21. `plan` says after how many steps tau arrives there.
    - `"hard"`: w is the class of the largest log pi + g, whose mean is pi. Nothing has to flow through w, since pi
      comes from behind a stop-gradient.
    - `"expected"`: w = pi, as in inference.

    Where the true labels are at hand, or a state of the funnel is assumed, `of_labels` embeds those.

    Args:
      num_classes: K; 2 for a binary target.
      dim: L.
      tau_start: Temperature at the first step.
      tau_min: Temperature that the annealing ends at.
      tau_decay: Rate r of tau = max(tau_min, tau_start * exp(-r * step)), until `plan` gives another.
      form: Of w in training.
      start: Standard deviation of the table's start values. Keys and queries of an attention over label embeddings are
        linear in them: of 0.03 they are so small that the attention cannot leave its even start.

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
        form: LabelForm = "soft",
        start: float = 1.0,
        name: str,
    ) -> None:
        super().__init__(name=name)
        if not 0 < tau_min <= tau_start:
            raise ValueError(f"0 < tau_min <= tau_start is needed, received tau_min={tau_min}, tau_start={tau_start}")
        if tau_decay < 0:
            raise ValueError(f"tau_decay must not be negative, received {tau_decay}")
        self.num_classes, self.dim, self.form, self.start = num_classes, dim, form, start
        self.tau_start, self.tau_min = tau_start, tau_min
        # The table is float32 [K, L]; a checkpoint keeps the temperature and its rate, float32 scalars.
        start_values = tf.keras.initializers.RandomNormal(stddev=start)
        self.table = self.add_weight(name="table", shape=[num_classes, dim], initializer=start_values)
        self.tau = self.add_weight(
            name="tau",
            shape=[],
            initializer=tf.keras.initializers.Constant(tau_start),
            **OWN_STATE,
        )
        self._decay = self.add_weight(
            name="tau_decay",
            shape=[],
            initializer=tf.keras.initializers.Constant(tau_decay),
            trainable=False,
        )
        self.built = True

    def call(self, log_probabilities: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Embeds a distribution.

        Args:
          log_probabilities: float32 [B, K].
          training: Draw from the Gumbel-softmax distribution.

        Returns:
          float32 [B, L].
        """
        if training and self.form != "expected":
            uniform = noise.uniform(tf.shape(log_probabilities), minval=1e-20)
            noisy = log_probabilities - tf.math.log(-tf.math.log(uniform))
            if self.form == "hard":
                return tf.gather(self.table, tf.argmax(noisy, axis=1))
            weights = tf.nn.softmax(noisy / self.tau)
        else:
            weights = tf.exp(log_probabilities)
        return tf.matmul(weights, self.table)

    def of_labels(self, labels: tf.Tensor, observed: tf.Tensor | None, log_probabilities: tf.Tensor) -> tf.Tensor:
        """Embeds true labels; the expected embedding stands in for a label that was not observed.

        Args:
          labels: 0 .. K - 1, [B]; anything where it was not observed.
          observed: bool [B]; None: all were.
          log_probabilities: float32 [B, K].

        Returns:
          float32 [B, L].
        """
        weights = tf.one_hot(tf.cast(labels, tf.int32), self.num_classes)
        if observed is not None:
            weights = tf.where(observed[:, tf.newaxis], weights, tf.exp(log_probabilities))
        return tf.matmul(weights, self.table)

    def of_label(self, label: int) -> tf.Tensor:
        """Embeds one label, float32 [1, L]."""
        return self.table[label : label + 1]

    def plan(self, steps: int) -> None:
        """Lets the temperature fall to `tau_min` in so many optimizer steps from `tau_start`."""
        self._decay.assign(math.log(self.tau_start / self.tau_min) / max(steps, 1))

    def anneal(self) -> None:
        """Lowers the temperature by one optimizer step."""
        self.tau.assign(tf.maximum(self.tau_min, self.tau * tf.exp(-self._decay)))
