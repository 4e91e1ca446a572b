"""How a model is to be calibrated."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field, field_validator
from pydantic.dataclasses import dataclass

from htlnet_tf.schema.names import STRICT
from htlnet_tf.scoring.calibration.isotonic import Isotonic
from htlnet_tf.scoring.calibration.level import LevelFactor
from htlnet_tf.scoring.calibration.method import Method
from htlnet_tf.scoring.calibration.platt import Platt

METHODS: Mapping[str, Method] = {"isotonic": Isotonic(), "platt": Platt(), "level": LevelFactor()}
"""By name; `"none"` leaves predictions as they are."""


@dataclass(frozen=True, config=STRICT)
class CalibrationSettings:
    """What `calibration:` in a configuration says, and `htlnet_tf.calibrate` takes.

    Args:
      steps: Of probabilities: `"platt"`, two parameters; `"isotonic"`, any increasing curve, for tens of thousands of
        rows; `"none"`.
      core: Of the core and other amounts: `"level"`, one factor; `"isotonic"`; `"none"`.
      by: A categorical feature of few values and without lists: each value gets a shift of the logits, or a factor of
        the amounts, of its own, behind the curve. Not for multiclass targets.
      shrinkage: With `by`: each value counts so many more rows that agree with the curve.
      kept_negatives: A step, and the share of its negatives that were kept in the rows, `{click: 0.1}`: probabilities
        leave as they are where all are. At most one step. The later targets must be 0 wherever it did not happen, for
        they are corrected by it.
    """

    steps: str = "platt"
    core: str = "level"
    by: str | None = None
    shrinkage: float = Field(default=1000.0, ge=0)
    kept_negatives: dict[str, float] = Field(default_factory=dict)

    @field_validator("steps", "core")
    @classmethod
    def _is_known(cls, name: str, info: object) -> str:
        field = getattr(info, "field_name", "")
        names = ["none", *(n for n, m in METHODS.items() if (m.for_steps if field == "steps" else m.for_amounts))]
        if name not in names:
            raise ValueError(f"{field} must be one of {names}, received '{name}'")
        return name

    @field_validator("kept_negatives")
    @classmethod
    def _is_one_share(cls, kept: dict[str, float]) -> dict[str, float]:
        if len(kept) > 1 or not all(0.0 < share <= 1.0 for share in kept.values()):
            raise ValueError(f"kept_negatives names one step and a share in (0, 1], received {kept}")
        return kept
