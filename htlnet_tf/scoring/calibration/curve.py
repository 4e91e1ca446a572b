"""An increasing function by straight lines, in the graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from htlnet_tf.objectives.lazy_tensorflow import tf

_SMALLEST = 1e-30
_LOGITS = 1e-7  # the least probability, and the least distance of one from 1, that has a logit in float32


@dataclasses.dataclass(frozen=True)
class Curve:
    """A function that does not fall: straight lines between points, and beyond the first and the last.

    Attributes:
      x: Where the points are, rising; at least one.
      y: Their values, not falling.
      below: Slope before the first, at least 0.
      above: Slope behind the last, at least 0.
      of_logits: The function is of the logit of a probability and gives a logit; what goes in and comes out are
        probabilities.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]
    below: float = 1.0
    above: float = 1.0
    of_logits: bool = False

    def __post_init__(self) -> None:
        x, y = np.asarray(self.x, np.float32), np.asarray(self.y, np.float32)
        if not len(x) or len(x) != len(y) or (np.diff(x) <= 0).any() or (np.diff(y) < 0).any():
            raise ValueError("a curve has points, whose x rise in float32 and whose y do not fall")
        if not (np.isfinite([*x, *y, self.below, self.above]).all() and min(self.below, self.above) >= 0):
            raise ValueError("the points and slopes of a curve are finite, the slopes not negative")

    @classmethod
    def through(cls, x: np.ndarray, y: np.ndarray, **rest: Any) -> Curve:
        """Through points [M] in order of x; of those that float32 cannot tell apart the first, with the mean y."""
        values = np.asarray(x, np.float64).astype(np.float32)
        # Of what lies closer to 0 the distances would be no normal numbers, which processors take for 0.
        keys, group = np.unique(np.where(np.abs(values) < _SMALLEST, 0.0, values), return_inverse=True)
        means = np.bincount(group, np.asarray(y, np.float64)) / np.bincount(group)
        return cls(tuple(keys.tolist()), tuple(np.maximum.accumulate(means).tolist()), **rest)

    @classmethod
    def line(cls, slope: float, start: float = 0.0, *, of_logits: bool = False) -> Curve:
        """Start + slope * x."""
        return cls((0.0,), (start,), slope, slope, of_logits)

    def __call__(self, values: tf.Tensor) -> tf.Tensor:
        """The function of each value, float32, in the shape of the values."""
        shape = tf.shape(values)
        flat = tf.reshape(tf.cast(values, tf.float32), [-1])
        if self.of_logits:
            flat = logit(flat)
        x, y = np.asarray(self.x, np.float32), np.asarray(self.y, np.float32)
        if len(x) == 1 and self.below == self.above:
            found = y[0] + (flat - x[0]) * np.float32(self.below)
        else:
            # Beyond the ends a step of 1 is worth the slope. Between points a ratio of steps never overflows, as the
            # slope of points that lie close together does.
            widths = np.concatenate([[1.0], np.diff(x), [1.0]]).astype(np.float32)
            heights = np.concatenate([[self.below], np.diff(y), [self.above]]).astype(np.float32)
            segment = tf.searchsorted(x, flat, side="right")
            start = tf.maximum(segment - 1, 0)
            ratio = (flat - tf.gather(x, start)) / tf.gather(widths, segment)
            lines = tf.gather(y, start) + ratio * tf.gather(heights, segment)
            # What rounding makes of the end of a line must not lie above the beginning of the next one.
            found = tf.minimum(lines, tf.gather(np.append(y, np.float32(np.inf)), segment))
        return tf.reshape(tf.sigmoid(found) if self.of_logits else found, shape)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Curve:
        """What `to_dict` gave.

        Raises:
          TypeError: A field is not known or missing.
          ValueError: It is no such curve.
        """
        return cls(**{**document, "x": tuple(document["x"]), "y": tuple(document["y"])})


def logit(probabilities: tf.Tensor) -> tf.Tensor:
    """The logits of probabilities, float32; finite, so that 0 and 1 are 1e-7 and 1 - 1e-7."""
    p = tf.clip_by_value(probabilities, _LOGITS, 1.0 - _LOGITS)
    return tf.math.log(p) - tf.math.log1p(-p)
