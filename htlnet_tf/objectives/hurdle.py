"""Objectives in two parts: whether there is an amount at all, and how large it is if so."""

from __future__ import annotations

import math
from typing import Any

from pydantic.dataclasses import dataclass

from htlnet_tf.objectives.functions import bounded_exp, log_weights, logit, logit_of_both, mixed_logit, predicted_exp
from htlnet_tf.objectives.label_statistics import LabelStatistics
from htlnet_tf.objectives.lazy_tensorflow import tf
from htlnet_tf.objectives.log_link import positive, positive_units
from htlnet_tf.objectives.objective import STRICT, Objective, Units

SIGMA = (0.05, 3.0)
"""The least and the largest standard deviation of the logarithm: exp(sigma^2 / 2) is a factor of 90 at the latter."""

_SMALLEST = 1e-30  # of a label that is positive, in means


class Hurdle(Objective):
    """What the two-part objectives share: output 1 is the logit of y > 0, less that of the training rows' share."""

    non_negative = True
    _logit = 0.0
    _log_mean = 0.0

    def _units(self, statistics: LabelStatistics, *, non_negative: bool) -> Units:
        return positive_units(statistics)

    def _constants(self, statistics: LabelStatistics, *, non_negative: bool) -> dict[str, Any]:
        return {"_logit": logit(statistics.positive_share), "_log_mean": statistics.log_mean}

    def positive_logit(self, outputs: tf.Tensor) -> tf.Tensor:
        """The logit of P(y > 0), [B]."""
        return outputs[:, 0] + self._logit

    def given(self, logit: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """See `Objective.given`: the amount, if there is one, stays as it is."""
        both = logit_of_both(logit, self.positive_logit(outputs)) - self._logit
        return tf.concat([both[:, tf.newaxis], outputs[:, 1:]], axis=1)

    def _mixed_occurrence(self, weights: tf.Tensor, outputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Of outputs [B, S, K]: the first output of the mixture [B], and the states' shares of what occurs [B, S]."""
        logits = outputs[:, :, 0] + self._logit
        shares = tf.nn.softmax(log_weights(weights) + tf.math.log_sigmoid(logits), axis=1)
        return mixed_logit(weights, logits) - self._logit, shares

    def _occurs(self, z: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """The cross entropy of y > 0, [B]."""
        happened = tf.cast(z > 0.0, outputs.dtype)
        return tf.nn.sigmoid_cross_entropy_with_logits(happened, self.positive_logit(outputs))


@dataclass(frozen=True, config=STRICT)
class ZILN(Hurdle):
    """Zero-inflated log-normal: a lump at 0 and a log-normal amount beside it.

    z = y / mean, outputs o_1, o_2, o_3. With c the logit of the training rows' share of y > 0 and m and s the mean and
    the standard deviation of their log z there, p = sigmoid(o_1 + c), mu = m + s o_2 and sigma = 0.05 + 2.95
    sigmoid(o_3 + d), d such that o_3 = 0 is s. The loss is the cross entropy of y > 0 and for y > 0 also

        (log z - mu)^2 / (2 sigma^2) + log(sigma / sigma_min),

    the prediction p exp(mu + sigma^2 / 2). sigma lies in [0.05, 3], by a sigmoid. Amounts that are not log-normal
    make the prediction's level wrong, which the level correction mends, and so do rows far out in the tail.

    References:
      Wang, Liu, Miao: "A Deep Probabilistic Model for Customer Lifetime Value Prediction", arXiv:1912.07753, section
      3.2, equations 3 to 5; there sigma is a softplus without bounds.
    """

    name = "ziln"
    _sigma_start = 0.0
    _log_std = 1.0

    @property
    def num_outputs(self) -> int:
        """Logit, mu, sigma."""
        return 3

    def _constants(self, statistics: LabelStatistics, *, non_negative: bool) -> dict[str, Any]:
        low, high = SIGMA
        spread = min(max(statistics.log_std, low * 1.1), high * 0.9)
        constants = super()._constants(statistics, non_negative=non_negative)
        return constants | {"_sigma_start": logit((spread - low) / (high - low)), "_log_std": spread}

    def location(self, outputs: tf.Tensor) -> tf.Tensor:
        """mu, [B]."""
        return outputs[..., 1] * self._log_std + self._log_mean

    def spread(self, outputs: tf.Tensor) -> tf.Tensor:
        """sigma, [B]."""
        low, high = SIGMA
        return low + (high - low) * tf.sigmoid(outputs[..., 2] + self._sigma_start)

    def mixture(self, weights: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """See `Objective.mixture`; the amount's distribution is the log-normal one of that mean and a mean sigma."""
        occurs, shares = self._mixed_occurrence(weights, outputs)
        low, high = SIGMA
        sigma = tf.reduce_sum(shares * self.spread(outputs), axis=1)
        means = self.location(outputs) + tf.square(self.spread(outputs)) / 2.0
        mu = tf.reduce_logsumexp(log_weights(shares) + means, axis=1) - tf.square(sigma) / 2.0
        part = tf.clip_by_value((sigma - low) / (high - low), 1e-6, 1.0 - 1e-6)
        spread = tf.math.log(part) - tf.math.log1p(-part) - self._sigma_start
        return tf.stack([occurs, (mu - self._log_mean) / self._log_std, spread], axis=1)

    def loss(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """See `Objective.loss`."""
        z = positive(labels)
        sigma = self.spread(outputs)
        # A distance of more than 1e12 is no amount's, and its square would be no float32's sum.
        distance = tf.math.log(tf.maximum(z, _SMALLEST)) - tf.clip_by_value(self.location(outputs), -1e12, 1e12)
        amount = tf.square(distance / sigma) / 2.0 + tf.math.log(sigma / SIGMA[0])
        return self._occurs(z, outputs) + tf.where(z > 0.0, amount, 0.0)

    def predict(self, outputs: tf.Tensor) -> tf.Tensor:
        """See `Objective.predict`."""
        amount = predicted_exp(self.location(outputs) + tf.square(self.spread(outputs)) / 2.0)
        return tf.sigmoid(self.positive_logit(outputs)) * amount


@dataclass(frozen=True, config=STRICT)
class GammaHurdle(Hurdle):
    """A lump at 0 and a gamma-distributed amount beside it.

    z = y / mean, outputs o_1, o_2. With c the logit of the training rows' share of y > 0 and a their mean z there,
    p = sigmoid(o_1 + c) and m = a exp(o_2), the loss is the cross entropy of y > 0 and for y > 0 also half the gamma
    deviance, z / m - 1 - log(z / m). The prediction is p m.

    References:
      Mills: "Adjusting for covariates in zero-inflated gamma and zero-inflated log-normal models for semicontinuous
      data", University of Iowa, 2013, chapter 2 (the two-part model); McCullagh, Nelder: "Generalized Linear Models",
      1989, section 8.3.
    """

    name = "gamma_hurdle"

    @property
    def num_outputs(self) -> int:
        """Logit, log m."""
        return 2

    def _constants(self, statistics: LabelStatistics, *, non_negative: bool) -> dict[str, Any]:
        # The mean of the positive ones in units of the mean of all is 1 / their share.
        share = max(statistics.positive_share, 1e-7)
        mean = statistics.mean / share
        constants = super()._constants(statistics, non_negative=non_negative)
        return constants | {"_log_mean": math.log(mean) if mean > 0.0 else 0.0}

    def location(self, outputs: tf.Tensor) -> tf.Tensor:
        """The logarithm of m, [B]."""
        return outputs[..., 1] + self._log_mean

    def mixture(self, weights: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """See `Objective.mixture`."""
        occurs, shares = self._mixed_occurrence(weights, outputs)
        amount = tf.reduce_logsumexp(log_weights(shares) + outputs[:, :, 1], axis=1)
        return tf.stack([occurs, amount], axis=1)

    def loss(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """See `Objective.loss`."""
        z = positive(labels)
        ratio = tf.math.log(tf.maximum(z, _SMALLEST)) - self.location(outputs)
        return self._occurs(z, outputs) + tf.where(z > 0.0, bounded_exp(ratio) - 1.0 - ratio, 0.0)

    def predict(self, outputs: tf.Tensor) -> tf.Tensor:
        """See `Objective.predict`."""
        return tf.sigmoid(self.positive_logit(outputs)) * predicted_exp(self.location(outputs))
