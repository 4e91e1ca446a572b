"""One factor for the level."""

from __future__ import annotations

from typing import TYPE_CHECKING

from htlnet_tf.objectives.level import level_factor
from htlnet_tf.scoring.calibration.curve import Curve

if TYPE_CHECKING:
    from htlnet_tf.scoring.calibration.sample import Sample


class LevelFactor:
    """sum(y) / sum(prediction), so that the total of these rows is met; within 1e-3 .. 1e3."""

    least_rows = 100
    least_of_each = 20
    for_steps = False
    for_amounts = True

    def fit(self, sample: Sample, *, probability: bool, non_negative: bool) -> Curve:
        """See `Method.fit`."""
        weights = sample.weights
        factor = level_factor(float(weights @ sample.labels), float(weights @ sample.predictions))
        return Curve.line(factor)
