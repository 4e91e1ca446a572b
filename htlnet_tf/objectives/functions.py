"""Functions that objectives share, finite with finite gradients for every finite argument."""

from __future__ import annotations

import math

from htlnet_tf.objectives.lazy_tensorflow import tf

HIGHEST_LOG = 35.0
"""exp is taken up to here, where it is 1e15 times the mean of the training rows."""

HIGHEST_LABEL = 1e15
"""Labels beyond so many means or standard deviations are taken for this: their squares summed are still a float32."""


def bounded_exp(x: tf.Tensor) -> tf.Tensor:
    """exp(x), continued by its tangent beyond `HIGHEST_LOG`, so that a loss stays finite and still pulls back."""
    bounded = tf.minimum(x, HIGHEST_LOG)
    return tf.exp(bounded) * (1.0 + (x - bounded))


def predicted_exp(x: tf.Tensor) -> tf.Tensor:
    """exp(x) as a prediction: not beyond exp(`HIGHEST_LOG`)."""
    return tf.exp(tf.clip_by_value(x, -HIGHEST_LOG, HIGHEST_LOG))


def softplus_inverse(x: float) -> float:
    """The number whose softplus is x > 0."""
    return x + math.log(-math.expm1(-x)) if x < HIGHEST_LOG else x


def inverse_softplus(x: tf.Tensor) -> tf.Tensor:
    """Of a tensor, as `softplus_inverse`; x as small as 1e-13 at least."""
    x = tf.maximum(x, 1e-13)
    return x + tf.math.log(-tf.math.expm1(-x))


def logit_of_both(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """The logit of p * q from the logits a of p and b of q, without forming the product.

    1 / (p q) - 1 = (1 + exp(-a)) (1 + exp(-b)) - 1 = exp(-a) + exp(-b) + exp(-a - b), whose logarithm is minus the
    logit: finite, with finite gradients, for every finite a and b whose sum is finite.

    Args:
      first: a, float32 [B].
      second: b, float32 [B].
    """
    return -tf.reduce_logsumexp(tf.stack([-first, -second, -first - second]), axis=0)


def log_weights(weights: tf.Tensor) -> tf.Tensor:
    """The logarithm of weights of a mixture; of a weight of 0 it is finite, and small enough to say the same."""
    return tf.math.log(tf.maximum(weights, 1e-30))


def mixed_logit(weights: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """The logit of sum_s w_s sigmoid(o_s), without forming the probabilities.

    Args:
      weights: w, float32 [B, S], of sum 1.
      logits: o, float32 [B, S].
    """
    logs = log_weights(weights)
    happened = tf.reduce_logsumexp(logs + tf.math.log_sigmoid(logits), axis=1)
    return happened - tf.reduce_logsumexp(logs + tf.math.log_sigmoid(-logits), axis=1)


def logit(share: float) -> float:
    """The logit of a share, kept within what float32 can tell from 0 and 1."""
    share = min(max(share, 1e-7), 1.0 - 1e-7)
    return math.log(share / (1.0 - share))
