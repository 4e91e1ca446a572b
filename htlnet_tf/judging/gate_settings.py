"""By how much a new model may be worse."""

from __future__ import annotations

from pydantic import Field, field_validator
from pydantic.dataclasses import dataclass

from htlnet_tf.schema.names import STRICT

OF_VALUE = "of the stable model's value"
OF_RATE = "of the mean label"

MARGINS: dict[str, tuple[float, str]] = {
    "auc": (0.002, ""),
    "group_auc": (0.003, ""),
    "macro_auc": (0.002, ""),
    "accuracy": (0.005, ""),
    "logloss": (0.005, OF_VALUE),
    "calibration_error": (0.05, OF_RATE),
    "level": (0.05, ""),
    "nrmse": (0.01, OF_VALUE),
    "nmae": (0.01, OF_VALUE),
    "spearman": (0.005, ""),
    "gini": (0.005, ""),
    "decile_error": (0.05, ""),
    "pinball": (0.01, OF_VALUE),
    "ndcg": (0.005, ""),
    "captured": (0.005, ""),
    "captured_by_user": (0.005, ""),
    "lift": (0.01, OF_VALUE),
}
"""By metric that the gate judges, how much worse it may be, and what that is a share of, if of anything."""


@dataclass(frozen=True, config=STRICT)
class GateSettings:
    """What `gate:` in a configuration says.

    Args:
      margins: By metric (`auc`), or target and metric (`click.auc`), in place of the usual margin.
      resamples: Of the bootstrap.
      confidence: Of the interval, in (0, 1).
      strict: Pass only if the whole interval is within the margin: the new model has to be shown to be as good, which
        takes enough rows. Else it fails if it is worse by more than the margin and the interval says that this is no
        chance, leaving 0 out.
      seed: Of the bootstrap.
    """

    margins: dict[str, float] = Field(default_factory=dict)
    resamples: int = Field(default=200, ge=20)
    confidence: float = Field(default=0.95, gt=0, lt=1)
    strict: bool = False
    seed: int = Field(default=0, ge=0)

    @field_validator("margins")
    @classmethod
    def _are_known(cls, margins: dict[str, float]) -> dict[str, float]:
        for name, margin in margins.items():
            if name.rpartition(".")[2] not in MARGINS:
                raise ValueError(f"'{name}' is no metric of the gate; there are {list(MARGINS)}")
            if not margin >= 0:
                raise ValueError(f"the margin of '{name}' must not be negative, received {margin}")
        return margins

    def margin(self, target: str, metric: str, *, value: float, rate: float) -> float:
        """How much worse a metric may be.

        Args:
          target: Of which it is.
          metric: A key of `MARGINS`.
          value: Of the stable model.
          rate: The mean size of a label.
        """
        usual, share_of = MARGINS[metric]
        size = self.margins.get(f"{target}.{metric}", self.margins.get(metric, usual))
        return size * {"": 1.0, OF_VALUE: abs(value), OF_RATE: rate}[share_of]
