"""Objectives in two parts: whether there is an amount at all, and how large it is if so."""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from typing import Any

from pydantic.dataclasses import dataclass
from typing_extensions import Self

from htlnet_tf.objectives.functions import (
    HIGHEST_LOG,
    bounded_exp,
    log_weights,
    logit,
    logit_of_both,
    mixed_logit,
    predicted_exp,
)
from htlnet_tf.objectives.gamma import gamma_quantile
from htlnet_tf.objectives.label_statistics import LabelStatistics
from htlnet_tf.objectives.lazy_tensorflow import tf
from htlnet_tf.objectives.log_link import positive, positive_units
from htlnet_tf.objectives.objective import STRICT, Objective, Units

SIGMA = (0.05, 3.0)
"""The least and the largest standard deviation of the logarithm: exp(sigma^2 / 2) is a factor of 90 at the latter."""

_SMALLEST = 1e-30  # of a label that is positive, in means
_TAILS = (1e-7, 1.0 - 1e-7)  # of the levels of an amount's quantiles
_DISPERSIONS = (1e-3, 20.0)


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

    def _exceedance(self, outputs: tf.Tensor, t: tf.Tensor) -> tf.Tensor:
        """P(z > 0) times that of the amount, and 1 below 0."""
        positive_share = tf.sigmoid(self.positive_logit(outputs))[:, tf.newaxis]
        amount = tf.where(t > 0.0, self._amount_exceedance(outputs, tf.maximum(t, _SMALLEST)), 1.0)
        return tf.where(t < 0.0, 1.0, positive_share * amount)

    def _quantile(self, outputs: tf.Tensor, tails: tf.Tensor) -> tf.Tensor:
        """0 below the level 1 - P(z > 0), from there on the amount's at what is left of the tail."""
        positive_share = tf.sigmoid(self.positive_logit(outputs))[:, tf.newaxis]
        left = tails / tf.maximum(positive_share, _SMALLEST)
        amount = self._amount_quantile(outputs, tf.clip_by_value(left, *_TAILS))
        return tf.where(left < 1.0, amount, 0.0)

    @abc.abstractmethod
    def _amount_exceedance(self, outputs: tf.Tensor, t: tf.Tensor) -> tf.Tensor:
        """P(z > t given z > 0), of t > 0, float32 [B, K]."""

    @abc.abstractmethod
    def _amount_quantile(self, outputs: tf.Tensor, tails: tf.Tensor) -> tf.Tensor:
        """The z that is exceeded with these probabilities given z > 0, float32 [B, K]."""

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

    def _amount_exceedance(self, outputs: tf.Tensor, t: tf.Tensor) -> tf.Tensor:
        """1 - Phi((log t - mu) / sigma)."""
        location = tf.clip_by_value(self.location(outputs), -HIGHEST_LOG, HIGHEST_LOG)[:, tf.newaxis]
        distance = (tf.math.log(t) - location) / self.spread(outputs)[:, tf.newaxis]
        return 0.5 * tf.math.erfc(distance * math.sqrt(0.5))

    def _amount_quantile(self, outputs: tf.Tensor, tails: tf.Tensor) -> tf.Tensor:
        """exp(mu - sigma Phi^-1(tail))."""
        location = tf.clip_by_value(self.location(outputs), -HIGHEST_LOG, HIGHEST_LOG)[:, tf.newaxis]
        return tf.exp(location - self.spread(outputs)[:, tf.newaxis] * tf.math.ndtri(tails))


@dataclass(frozen=True, config=STRICT)
class GammaHurdle(Hurdle):
    """A lump at 0 and a gamma-distributed amount beside it.

    z = y / mean, outputs o_1, o_2. With c the logit of the training rows' share of y > 0 and a their mean z there,
    p = sigmoid(o_1 + c) and m = a exp(o_2), the loss is the cross entropy of y > 0 and for y > 0 also half the gamma
    deviance, z / m - 1 - log(z / m). The prediction is p m.

    As a distribution, z given z > 0 is gamma with the mean m and the shape k, one for all rows. It is estimated after
    training, with the level f that the predictions are brought to, by maximum likelihood: log k - digamma(k) is half
    the mean deviance D of the training rows' positive amounts, mean(z / (f m) - 1 - log(z / (f m))). The dispersion is
    1 / k, within 0.001 .. 20, and 1 before it is estimated. Unlike Pearson's estimate, the mean of (z / (f m) - 1)^2,
    it does not follow a few very large amounts, which the quantiles in the middle would pay for.

    References:
      Mills: "Adjusting for covariates in zero-inflated gamma and zero-inflated log-normal models for semicontinuous
      data", University of Iowa, 2013, chapter 2 (the two-part model); McCullagh, Nelder: "Generalized Linear Models",
      1989, section 8.3 (8.3.6 for the dispersion).
    """

    name = "gamma_hurdle"
    _dispersion = 1.0

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

    def dispersed(self, dispersion: tf.Tensor | float) -> Self:
        """See `Objective.dispersed`: 1 / k."""
        return self._with(_dispersion=dispersion)

    @property
    def num_dispersion_terms(self) -> int:
        """Number, ratios, logarithms."""
        return 3

    def dispersion_terms(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Of rows with z > 0: 1, z / m and log(z / m); of others 0."""
        z = positive(labels)
        ratio = tf.math.log(tf.maximum(z, _SMALLEST)) - self.location(outputs)
        ratio = tf.clip_by_value(ratio, -HIGHEST_LOG, HIGHEST_LOG)
        terms = tf.stack([tf.ones_like(ratio), tf.exp(ratio), ratio], axis=1)
        return tf.where(z[:, tf.newaxis] > 0.0, terms, 0.0)

    def dispersion(self, sums: Sequence[float], level: float) -> float:
        """See `Objective.dispersion`; 1 if no row has an amount."""
        from scipy.optimize import brentq  # a schema declares the objective, and needs neither

        count, ratios, logs = sums
        if count <= 0.0:
            return 1.0
        half_deviance = ratios / count / level - 1.0 - logs / count + math.log(level)
        lowest, highest = (1.0 / bound for bound in reversed(_DISPERSIONS))
        if _half_deviance(lowest) <= half_deviance:
            return 1.0 / lowest
        if _half_deviance(highest) >= half_deviance:
            return 1.0 / highest
        return 1.0 / float(brentq(lambda k: _half_deviance(k) - half_deviance, lowest, highest))

    def _amount_exceedance(self, outputs: tf.Tensor, t: tf.Tensor) -> tf.Tensor:
        """The upper incomplete gamma function of k and k t / m."""
        shape = self._shape(t)
        size = tf.math.log(t) - tf.clip_by_value(self.location(outputs), -HIGHEST_LOG, HIGHEST_LOG)[:, tf.newaxis]
        return tf.math.igammac(shape, shape * tf.exp(tf.clip_by_value(size, -HIGHEST_LOG, HIGHEST_LOG)))

    def _amount_quantile(self, outputs: tf.Tensor, tails: tf.Tensor) -> tf.Tensor:
        """M / k times the quantile of a gamma variable of shape k."""
        mean = predicted_exp(self.location(outputs))[:, tf.newaxis]
        shape = self._shape(tails)
        return mean * (gamma_quantile(shape, tails) / shape)

    def _shape(self, like: tf.Tensor) -> tf.Tensor:
        return tf.ones_like(like) / tf.cast(self._dispersion, like.dtype)


def _half_deviance(shape: float) -> float:
    """Of a gamma variable about its mean, log k - digamma(k): decreasing in the shape k."""
    from scipy.special import digamma

    return math.log(shape) - float(digamma(shape))
