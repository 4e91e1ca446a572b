"""The kinds of targets that a schema declares."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Annotated, Literal, Union

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from htlnet_tf.features import ColumnName

_STRICT = ConfigDict(extra="forbid", arbitrary_types_allowed=False)


class _OneOutput:
    """A target whose tower has one output."""

    name: str

    @property
    def num_outputs(self) -> int:
        """Outputs of the target's tower."""
        return 1

    @property
    def score_names(self) -> tuple[str, ...]:
        """Columns of a table of scores."""
        return (self.name,)


@dataclass(frozen=True, config=_STRICT)
class Binary(_OneOutput):
    """A target that happened (1) or did not (0); the model predicts its probability.

    A row whose label is missing (NaN, None) takes no part in the target's loss and metrics; so for every kind.

    Args:
      name: Column name in the frame and output key of the exported model.
      observed_if: The name of an earlier `Binary` target: the label counts only in rows where that happened, and the
        model predicts given that it happened.
      sample_weight: A column of weights >= 0 for this target's loss, times the schema's `sample_weight`.
    """

    name: ColumnName
    _: KW_ONLY
    observed_if: str | None = None
    sample_weight: str | None = None
    kind: Literal["binary"] = "binary"


@dataclass(frozen=True, config=_STRICT)
class Multiclass:
    """A target with one of K classes, coded 0 .. K-1; the model predicts the K probabilities.

    Args:
      name: Column name in the frame and output key of the exported model.
      num_classes: K, at least 2.
      observed_if: As for `Binary`.
      sample_weight: As for `Binary`.
    """

    name: ColumnName
    _: KW_ONLY
    num_classes: int = Field(ge=2)
    observed_if: str | None = None
    sample_weight: str | None = None
    kind: Literal["multiclass"] = "multiclass"

    @property
    def num_outputs(self) -> int:
        """Outputs of the target's tower: a logit per class."""
        return self.num_classes

    @property
    def score_names(self) -> tuple[str, ...]:
        """Columns of a table of scores, one per class."""
        return tuple(f"{self.name}_{k}" for k in range(self.num_classes))


@dataclass(frozen=True, config=_STRICT)
class Continuous(_OneOutput):
    """The core target: the amount at the end of the funnel; the model predicts its expectation in its own unit.

    Args:
      name: Column name in the frame and output key of the exported model.
      unit: What one unit of the column is, e.g. `"ms"` or `"EUR"`; used in tables, plots and the run's summary.
      standardise: Train on (y - mean) / std of the training rows. False trains on the raw amounts.
      non_negative: Refuse rows with a negative amount.
      observed_if: As for `Binary`; mean and std are then of the observed rows.
      sample_weight: As for `Binary`.
    """

    name: ColumnName
    _: KW_ONLY
    unit: str | None = None
    standardise: bool = True
    non_negative: bool = True
    observed_if: str | None = None
    sample_weight: str | None = None
    kind: Literal["continuous"] = "continuous"


Target = Annotated[Union[Binary, Multiclass, Continuous], Field(discriminator="kind")]
