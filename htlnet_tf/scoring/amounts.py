"""How an amount is distributed, as it leaves a model: in its unit, over all members, calibrated."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import tensorflow as tf

from htlnet_tf.scoring.calibration.curve import Curve

if TYPE_CHECKING:
    from htlnet_tf.models.heads import Head
    from htlnet_tf.models.scoring_model import ScoringModel

_STEPS = 30
_FACTORS = (1e-6, 1e6)
_LEVELS = (1e-6, 1.0 - 1e-6)


@dataclasses.dataclass(frozen=True)
class AmountDistribution:
    """The distribution of one amount in each of B rows.

    The members' distributions are an equal mixture: P(y > t) is the mean of theirs. A quantile of the mixture lies
    between the least and the largest of the members' and is found there by 30 halvings on P(y > t); of one member it
    is that member's own.

    A calibration that multiplies a row's expectation by a factor f (isotonic regression too, in each row) multiplies
    the amount by f: quantiles are f times as large, and P(f y > t) = P(y > t / f). The probability of 0 stays. Where
    the objective learns the quantiles themselves they stay as they are, see `Objective.scales_distribution`.

    Attributes:
      heads: Of the members.
      outputs: Of the members' towers, [B] or [B, num_outputs].
      factor: f, float32 [B]; None: 1.
      levels: From a nominal level to the model's own, see `htlnet_tf.scoring.conformal`; None: they are the same.
    """

    heads: Sequence[Head]
    outputs: Sequence[tf.Tensor]
    factor: tf.Tensor | None = None
    levels: Curve | None = None

    def quantiles(self, levels: Sequence[float] | tf.Tensor) -> tf.Tensor:
        """The quantiles at levels, float32 [B, K], in the target's unit."""
        nominal = tf.constant(levels, tf.float32)
        own = nominal if self.levels is None else tf.clip_by_value(self.levels(nominal), *_LEVELS)
        each = [head.quantile(outputs, own) for head, outputs in zip(self.heads, self.outputs, strict=True)]
        values = each[0] if len(each) == 1 else self._halved(each, 1.0 - own)
        return values if self.factor is None else values * self.factor[:, tf.newaxis]

    def exceedance(self, thresholds: tf.Tensor) -> tf.Tensor:
        """P(y > t), float32 [B, K].

        Args:
          thresholds: In the target's unit, float32 [K] for all rows, or [B, K].
        """
        t = tf.broadcast_to(
            thresholds if thresholds.shape.rank == 2 else thresholds[tf.newaxis],
            [tf.shape(self.outputs[0])[0], tf.shape(thresholds)[-1]],
        )
        if self.factor is not None:
            t /= self.factor[:, tf.newaxis]
        shares = self._shares(t)
        if self.levels is None:
            return shares
        return tf.clip_by_value(1.0 - _inverse(self.levels)(1.0 - shares), 0.0, 1.0)

    @property
    def positive(self) -> tf.Tensor:
        """P(y > 0), float32 [B]."""
        return self.exceedance(tf.zeros([1]))[:, 0]

    def _shares(self, t: tf.Tensor) -> tf.Tensor:
        """P(y > t) before calibration, float32 [B, K]."""
        each = [head.exceedance(outputs, t) for head, outputs in zip(self.heads, self.outputs, strict=True)]
        return tf.add_n(each) / len(each)

    def _halved(self, each: Sequence[tf.Tensor], tails: tf.Tensor) -> tf.Tensor:
        """The mixture's quantiles, [B, K], from the members'."""
        stacked = tf.stack(list(each))
        lowest, highest = tf.reduce_min(stacked, axis=0), tf.reduce_max(stacked, axis=0)

        def halve(low: tf.Tensor, high: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            middle = low + (high - low) / 2.0
            is_enough = self._shares(middle) <= tails
            return tf.where(is_enough, low, middle), tf.where(is_enough, middle, high)

        _, found = tf.while_loop(
            lambda low, high: True, halve, (lowest, highest), maximum_iterations=_STEPS, parallel_iterations=1
        )
        # A point mass, such as 0, may be the answer itself, which halvings only come near to.
        return tf.where(self._shares(lowest) <= tails, lowest, found)


def amount_distributions(
    model: ScoringModel,
    outputs: Sequence[Sequence[tf.Tensor]],
    uncalibrated: Mapping[str, tf.Tensor],
    predictions: Mapping[str, tf.Tensor],
) -> dict[str, AmountDistribution]:
    """The distributions of the amounts that quantiles are declared of, by target.

    Args:
      model: A trained model.
      outputs: Per member, the towers' outputs in target order.
      uncalibrated: The members' mean predictions by target, [B].
      predictions: The calibrated ones.
    """
    found = {}
    for target in model.schema.with_quantiles:
        position = model.schema.targets.index(target)
        factor = levels = None
        if model.calibration is not None:
            levels = model.calibration.levels.get(target.name)
            before, after = uncalibrated[target.name], predictions[target.name]
            scaled = all(member.heads[target.name].objective.scales_distribution for member in model.members)
            if scaled and target.name in model.calibration.changed:
                ratio = tf.where(before > 0.0, after / tf.where(before > 0.0, before, 1.0), 1.0)
                factor = tf.clip_by_value(ratio, *_FACTORS)
        found[target.name] = AmountDistribution(
            [member.heads[target.name] for member in model.members],
            [of_member[position] for of_member in outputs],
            factor,
            levels,
        )
    return found


def _inverse(curve: Curve) -> Curve:
    """From the model's own level to the nominal one."""
    return Curve(curve.y, curve.x, 0.0, 0.0)
