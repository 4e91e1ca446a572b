"""How a run goes on with a further day."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator
from pydantic.dataclasses import dataclass

from htlnet_tf.data.split_config import checked_fractions
from htlnet_tf.schema.names import STRICT


@dataclass(frozen=True, config=STRICT)
class UpdateConfig:
    """What `update:` in a configuration says.

    Args:
      fractions: Shares of the day's rows in order of time (at random where the schema names no timestamp): to learn
        first, to fit level and calibration on, to judge the updated model on.
      learn_all: Learn the last two parts as well, once they have judged, and fit level and calibration anew on both.
      epochs: Passes over the rows to learn.
      learning_rate: Constant, of `LazyAdam`; None: `training.learning_rate`, without its schedule.
      new_rows: What the embedding rows of new values start from: `"fresh"`, small random numbers as in a new model, or
        `"unknown"`, the row that unknown values share.
      evict_after: A value gives its row back once so many days, one after the other, had no row with it; None: never.
      half_life: Days after which what history statistics have added up counts half; None: it counts for ever.
    """

    fractions: tuple[float, ...] = (0.8, 0.1, 0.1)
    learn_all: bool = True
    epochs: int = Field(default=1, ge=1)
    learning_rate: float | None = Field(default=None, gt=0)
    new_rows: Literal["fresh", "unknown"] = "fresh"
    evict_after: int | None = Field(default=30, ge=1)
    half_life: float | None = Field(default=None, gt=0)

    @field_validator("fractions")
    @classmethod
    def _are_shares(cls, fractions: tuple[float, ...]) -> tuple[float, ...]:
        return checked_fractions(fractions, exactly=3)
