"""The kinds of targets that a schema declares."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Annotated, Any, Literal, Union

from pydantic import ConfigDict, Field, SkipValidation, field_validator, model_validator
from pydantic.dataclasses import dataclass

from htlnet_tf.features import ColumnName
from htlnet_tf.objectives import BinaryCrossEntropy, Objective, Poisson, SoftmaxCrossEntropy, Squared, objective_of

_STRICT = ConfigDict(extra="forbid", arbitrary_types_allowed=False)


class _OneScore:
    """A target that one number is predicted of."""

    name: str

    @property
    def score_names(self) -> tuple[str, ...]:
        """Columns of a table of scores."""
        return (self.name,)


@dataclass(frozen=True, config=_STRICT)
class Binary(_OneScore):
    """A target that happened (1) or did not (0); the model predicts its probability.

    A row whose label is missing (NaN, None) takes no part in the target's loss and metrics; so for every kind.

    Args:
      name: Column name in the frame and output key of the exported model.
      observed_if: The name of an earlier `Binary` target: the label counts only in rows where that happened, and the
        model predicts given that it happened.
      sample_weight: A column of weights >= 0 for this target's loss, times the schema's `sample_weight`.
      after: Names of the earlier targets that this one is learned from, in models that hand something on along the
        funnel (HTLNet). None: all of them.
    """

    name: ColumnName
    _: KW_ONLY
    observed_if: str | None = None
    sample_weight: str | None = None
    after: tuple[str, ...] | None = None
    kind: Literal["binary"] = "binary"

    @property
    def learned_by(self) -> Objective:
        """Cross entropy."""
        return BinaryCrossEntropy()


@dataclass(frozen=True, config=_STRICT)
class Multiclass:
    """A target with one of K classes, coded 0 .. K-1; the model predicts the K probabilities.

    Args:
      name: Column name in the frame and output key of the exported model.
      num_classes: K, at least 2.
      observed_if: As for `Binary`.
      sample_weight: As for `Binary`.
      after: As for `Binary`.
    """

    name: ColumnName
    _: KW_ONLY
    num_classes: int = Field(ge=2)
    observed_if: str | None = None
    sample_weight: str | None = None
    after: tuple[str, ...] | None = None
    kind: Literal["multiclass"] = "multiclass"

    @property
    def learned_by(self) -> Objective:
        """Cross entropy."""
        return SoftmaxCrossEntropy(self.num_classes)

    @property
    def score_names(self) -> tuple[str, ...]:
        """Columns of a table of scores, one per class."""
        return tuple(f"{self.name}_{k}" for k in range(self.num_classes))


@dataclass(frozen=True, config=_STRICT)
class Continuous(_OneScore):
    """An amount, such as watch time or spend; the model predicts its expectation in its own unit.

    The last target is the core, and it is one; there may be others before it.

    Args:
      name: Column name in the frame and output key of the exported model.
      unit: What one unit of the column is, e.g. `"ms"` or `"EUR"`; used in tables, plots and the run's summary.
      standardise: Train on amounts as multiples of the training rows' mean (or standard deviation, as the objective
        says). False trains on the raw amounts.
      non_negative: Refuse rows with a negative amount, and never predict one.
      objective: How it is learned: an objective of `htlnet_tf.objectives`, its name, or a mapping of its name and
        arguments. None: `poisson` for an amount that is not negative, `squared` for others.
      level: Multiply the predictions by one factor, so that their total over the training rows is the actual one.
        None: where the amount is not negative.
      observed_if: As for `Binary`; what is counted of the training rows is then of the observed ones.
      sample_weight: As for `Binary`.
      after: As for `Binary`.
    """

    name: ColumnName
    _: KW_ONLY
    unit: str | None = None
    standardise: bool = True
    non_negative: bool = True
    objective: Annotated[Any, SkipValidation] = None
    level: bool | None = None
    observed_if: str | None = None
    sample_weight: str | None = None
    after: tuple[str, ...] | None = None
    kind: Literal["continuous"] = "continuous"

    @field_validator("objective", mode="before")
    @classmethod
    def _is_an_objective(cls, declaration: Any) -> Objective | None:
        return None if declaration is None else objective_of(declaration)

    @model_validator(mode="after")
    def _is_consistent(self) -> Continuous:
        if self.learned_by.non_negative and not self.non_negative:
            raise ValueError(
                f"target '{self.name}' may be negative, and the objective '{self.learned_by.name}' is for amounts that "
                "are not: take 'squared' or 'quantile', or declare it non_negative"
            )
        if self.level and not self.non_negative:
            raise ValueError(f"target '{self.name}' may be negative, so that its total has no level; leave `level` out")
        if self.level is False and self.learned_by.needs_level:
            raise ValueError(f"target '{self.name}': the objective '{self.learned_by.name}' needs its level")
        return self

    @property
    def learned_by(self) -> Objective:
        """The objective, or what stands for None."""
        if self.objective is not None:
            return self.objective
        return Poisson() if self.non_negative else Squared()

    @property
    def has_level(self) -> bool:
        """Whether predictions are brought to the level of the training rows."""
        return self.non_negative if self.level is None else self.level


Target = Annotated[Union[Binary, Multiclass, Continuous], Field(discriminator="kind")]
