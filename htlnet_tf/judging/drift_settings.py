"""From where on later rows count as other rows than those of the training."""

from __future__ import annotations

from pydantic import Field
from pydantic.dataclasses import dataclass

from htlnet_tf.schema.names import STRICT


@dataclass(frozen=True, config=STRICT)
class DriftSettings:
    """What `drift:` in a configuration says: thresholds of `htlnet drift`.

    What chance alone makes of so many rows is added to each of them, rows being independent, but what belongs to a user
    being the same in all of the user's rows.

    Args:
      psi: Of a feature: the population stability index of its known values.
      unknown_share: Of a feature: so much more of its values may be unknown than of the validation rows'.
      score_psi: Of a prediction whose label is not there: the population stability index.
      rate: Of a target: the mean label may be so much more or less than that of the validation rows, as a share of it.
      level: Of a target: total predicted over total actual may be so much more or less than 1.
      calibration_error: Of a target: the mean distance of prediction and label over ten groups, as a share of the mean
        size of a label.
      rows: At most so many of the later rows are looked at, evenly from the first to the last.
    """

    psi: float = Field(default=0.25, gt=0)
    unknown_share: float = Field(default=0.1, gt=0, le=1)
    score_psi: float = Field(default=0.25, gt=0)
    rate: float = Field(default=0.3, gt=0)
    level: float = Field(default=0.2, gt=0)
    calibration_error: float = Field(default=0.3, gt=0)
    rows: int = Field(default=100_000, ge=1)
