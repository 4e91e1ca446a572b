"""What an objective is: how one target is learned, as pure functions of labels and outputs."""

from __future__ import annotations

import abc
import copy
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from pydantic import ConfigDict
from typing_extensions import Self

from htlnet_tf.objectives.label_statistics import LabelStatistics
from htlnet_tf.objectives.lazy_tensorflow import tf

STRICT = ConfigDict(extra="forbid")


class Units(NamedTuple):
    """How a label y becomes the number z that is trained on, z = (y - shift) / scale.

    Attributes:
      shift: In the target's unit.
      scale: In the target's unit, > 0.
    """

    shift: float = 0.0
    scale: float = 1.0


class Objective(abc.ABC):
    """How a target is learned: outputs of its tower -> a loss per row, and -> what leaves the model.

    Objectives are small frozen dataclasses; their fields are what a schema may say of them. `fitted` gives one that
    knows the training rows. Everything else is a pure function of z, the labels in `units`, and the outputs, float32
    [B], or [B, num_outputs] if there are several. Gradients are finite for every finite output and label.

    Attributes:
      name: What a schema calls it.
      non_negative: No prediction is negative, and no label may be.
      needs_level: The prediction is no expectation before its level is brought to that of the training rows.
      gaussian: The loss is a squared error, as of a Gaussian with a fixed variance; uncertainty weights want to know.
      scales_distribution: What corrects the expectation's level corrects the distribution with it. Not where the
        quantiles themselves are learned: there a level mends how the expectation is made of them.
      units: z of the labels; filled in by `fitted`.
    """

    name: ClassVar[str]
    non_negative: ClassVar[bool] = False
    needs_level: ClassVar[bool] = False
    gaussian: ClassVar[bool] = False
    scales_distribution: ClassVar[bool] = True
    units: ClassVar[Units] = Units()

    @property
    def num_outputs(self) -> int:
        """Outputs of the target's tower."""
        return 1

    def fitted(self, statistics: LabelStatistics, *, non_negative: bool, standardise: bool = True) -> Self:
        """The objective with its `units` and whatever else it takes from the training rows.

        Args:
          statistics: Of the training rows' labels, in the target's unit.
          non_negative: The target promises it of its labels, so predictions have to keep it.
          standardise: False: labels are trained on as they are.
        """
        units = self._units(statistics, non_negative=non_negative) if standardise else Units()
        inside = statistics.in_units(*units)
        return self._with(units=units, **self._constants(inside, non_negative=non_negative))

    def _units(self, statistics: LabelStatistics, *, non_negative: bool) -> Units:
        """How labels are brought to the scale that the loss is for."""
        return Units()

    def _constants(self, statistics: LabelStatistics, *, non_negative: bool) -> dict[str, Any]:
        """What the functions need of the training rows beside, by attribute; `statistics` are in `units`."""
        return {}

    @abc.abstractmethod
    def loss(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """The loss of each row, float32 [B], never negative.

        Args:
          labels: z, float32 [B], or int32 [B] for classes.
          outputs: float32 [B] or [B, num_outputs].
        """

    @abc.abstractmethod
    def predict(self, outputs: tf.Tensor) -> tf.Tensor:
        """What the target is expected to be: E[z] as float32 [B], or class probabilities [B] or [B, K].

        Args:
          outputs: float32 [B] or [B, num_outputs].
        """

    @abc.abstractmethod
    def mixture(self, weights: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Outputs whose prediction is the weighted mean of the predictions of several.

        By the law of total expectation: E[z] = sum_s P(s) E[z | s].

        Args:
          weights: P(s), float32 [B, S], of sum 1.
          outputs: Given s, float32 [B, S] or [B, S, num_outputs].

        Returns:
          float32 [B] or [B, num_outputs].
        """

    @property
    def can_be_given(self) -> bool:
        """Whether there is a form `given`."""
        return type(self).given is not Objective.given

    def given(self, logit: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Outputs whose prediction is P times that of `outputs`: z is what it is with probability P, else 0.

        Args:
          logit: Of P, float32 [B].
          outputs: float32 [B] or [B, num_outputs].

        Returns:
          As `outputs`.

        Raises:
          NotImplementedError: The objective has no such form.
        """
        raise NotImplementedError(f"the objective '{self.name}' has no form for an amount given a step")

    @property
    def has_distribution(self) -> bool:
        """Whether the outputs say how z is distributed, and not its expectation alone."""
        return type(self)._exceedance is not Objective._exceedance

    def quantile(self, outputs: tf.Tensor, q: tf.Tensor | float) -> tf.Tensor:
        """The quantiles of z given the outputs, the least z with P(z' <= z) >= q: 0 where P(z = 0) is q or more.

        Args:
          outputs: float32 [B] or [B, num_outputs].
          q: Levels in (0, 1): a scalar, [K] for all rows, or [B, K].

        Returns:
          float32 [B] for a scalar, else [B, K]; not decreasing in q.

        Raises:
          NotImplementedError: The objective has no distribution.
        """
        levels, is_scalar = _per_row(q, outputs)
        values = self._quantile(outputs, 1.0 - levels)
        return values[:, 0] if is_scalar else values

    def exceedance(self, outputs: tf.Tensor, t: tf.Tensor | float) -> tf.Tensor:
        """P(z > t) given the outputs.

        Args:
          outputs: float32 [B] or [B, num_outputs].
          t: Thresholds: a scalar, [K] for all rows, or [B, K].

        Returns:
          float32 [B] for a scalar, else [B, K]; not increasing in t.

        Raises:
          NotImplementedError: The objective has no distribution.
        """
        thresholds, is_scalar = _per_row(t, outputs)
        values = self._exceedance(outputs, thresholds)
        return values[:, 0] if is_scalar else values

    def _quantile(self, outputs: tf.Tensor, tails: tf.Tensor) -> tf.Tensor:
        """See `quantile`; `tails` are 1 - q, float32 [B, K]."""
        raise NotImplementedError(f"the objective '{self.name}' has no distribution")

    def _exceedance(self, outputs: tf.Tensor, t: tf.Tensor) -> tf.Tensor:
        """See `exceedance`; t is float32 [B, K]."""
        raise NotImplementedError(f"the objective '{self.name}' has no distribution")

    @property
    def has_dispersion(self) -> bool:
        """Whether the distribution needs a dispersion that no output says, see `dispersed`."""
        return type(self).dispersed is not Objective.dispersed

    def dispersed(self, dispersion: tf.Tensor | float) -> Self:
        """The same with a dispersion, which is estimated on the training rows once the outputs are trained.

        Args:
          dispersion: A float32 scalar > 0, such as a variable.

        Raises:
          NotImplementedError: The objective has none.
        """
        raise NotImplementedError(f"the objective '{self.name}' has no dispersion")

    @property
    def num_dispersion_terms(self) -> int:
        """N of `dispersion_terms`."""
        return 0

    def dispersion_terms(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """What `dispersion` wants the sums of over rows, float32 [B, n].

        Args:
          labels: z, float32 [B].
          outputs: float32 [B, num_outputs].
        """
        raise NotImplementedError(f"the objective '{self.name}' has no dispersion")

    def dispersion(self, sums: Sequence[float], level: float) -> float:
        """The dispersion about the predictions times their level.

        Args:
          sums: Over rows, of `dispersion_terms`.
          level: The factor that predictions are multiplied by.
        """
        raise NotImplementedError(f"the objective '{self.name}' has no dispersion")

    def _with(self, **constants: Any) -> Self:
        """A copy with constants that are no part of the declaration."""
        clone = copy.copy(self)
        for key, value in constants.items():
            object.__setattr__(clone, key, value)
        return clone


def _per_row(values: tf.Tensor | float, outputs: tf.Tensor) -> tuple[tf.Tensor, bool]:
    """A scalar, [K] or [B, K] as [B, K]; and whether it was a scalar."""
    given = tf.convert_to_tensor(values, tf.float32)
    if given.shape.rank == 2:
        return given, False
    wide = tf.reshape(given, [1, -1])
    return tf.broadcast_to(wide, [tf.shape(outputs)[0], tf.shape(wide)[1]]), given.shape.rank == 0
