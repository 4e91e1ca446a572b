"""Cross entropy: whether a step happens, and which of K classes it is."""

from __future__ import annotations

from pydantic import Field
from pydantic.dataclasses import dataclass

from htlnet_tf.objectives.functions import log_weights, mixed_logit
from htlnet_tf.objectives.lazy_tensorflow import tf
from htlnet_tf.objectives.objective import STRICT, Objective


@dataclass(frozen=True, config=STRICT)
class BinaryCrossEntropy(Objective):
    """Whether a step happens: o is a logit, p = sigmoid(o), the loss -y log p - (1 - y) log(1 - p)."""

    name = "binary_cross_entropy"

    def loss(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """See `Objective.loss`; labels 0 or 1."""
        return tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(labels, outputs.dtype), outputs)

    def predict(self, outputs: tf.Tensor) -> tf.Tensor:
        """The probability, [B]."""
        return tf.sigmoid(outputs)

    def mixture(self, weights: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """See `Objective.mixture`."""
        return mixed_logit(weights, outputs)

    def log_probabilities(self, outputs: tf.Tensor) -> tf.Tensor:
        """Logarithms of the probabilities of not happening and of happening, float32 [B, 2]."""
        return tf.nn.log_softmax(tf.stack([tf.zeros_like(outputs), outputs], axis=1))


@dataclass(frozen=True, config=STRICT)
class SoftmaxCrossEntropy(Objective):
    """Which of K classes: o are K logits, p = softmax(o), the loss -log p_y.

    Args:
      num_classes: K.
    """

    num_classes: int = Field(ge=2)
    name = "softmax_cross_entropy"

    @property
    def num_outputs(self) -> int:
        """A logit per class."""
        return self.num_classes

    def loss(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """See `Objective.loss`; labels 0 .. K - 1."""
        return tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(labels, tf.int32), outputs)

    def predict(self, outputs: tf.Tensor) -> tf.Tensor:
        """The probabilities, [B, K]."""
        return tf.nn.softmax(outputs)

    def mixture(self, weights: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """See `Objective.mixture`."""
        logs = log_weights(weights)[:, :, tf.newaxis]
        return tf.reduce_logsumexp(logs + tf.nn.log_softmax(outputs), axis=1)

    def log_probabilities(self, outputs: tf.Tensor) -> tf.Tensor:
        """Logarithms of the classes' probabilities, float32 [B, K]."""
        return tf.nn.log_softmax(outputs)
