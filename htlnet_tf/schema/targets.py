"""The kinds of targets that a schema declares."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Annotated, Any, Literal, Union

from pydantic import ConfigDict, Field, SkipValidation, field_validator, model_validator
from pydantic.dataclasses import dataclass

from htlnet_tf.objectives import (
    WITH_DISTRIBUTION,
    BinaryCrossEntropy,
    Objective,
    Poisson,
    SoftmaxCrossEntropy,
    Squared,
    objective_of,
)
from htlnet_tf.schema.names import ColumnName, DecimalMark, Named, SourceName, quantile_name

_STRICT = ConfigDict(extra="forbid", arbitrary_types_allowed=False)

Label = Union[str, int, bool]
_OPPOSITES = (
    ("y", "n"),
    ("yes", "no"),
    ("true", "false"),
    ("t", "f"),
    ("on", "off"),
    ("1", "0"),
    ("j", "n"),
    ("ja", "nein"),
)
# YAML reads these words as true and false where nobody puts them in quotes.
_YAML = {True: ("true", "yes", "on", "1"), False: ("false", "no", "off", "0")}


class _OneScore(Named):
    """A target that one number is predicted of."""

    @property
    def score_names(self) -> tuple[str, ...]:
        """Columns of a table of scores."""
        return (self.name,)


@dataclass(frozen=True, config=_STRICT)
class Binary(_OneScore):
    """A target that happened (1) or did not (0); the model predicts its probability.

    A row whose label is missing (NaN, None) takes no part in the target's loss and metrics; so for every kind.

    Args:
      name: Output key of the exported model, and the column's name in the table if `column` does not say otherwise.
      observed_if: The name of an earlier `Binary` target: the label counts only in rows where that happened, and the
        model predicts given that it happened.
      sample_weight: A column of weights >= 0 for this target's loss, times the schema's `sample_weight`.
      after: Names of the earlier targets that this one is learned from, in models that hand something on along the
        funnel (HTLNet). None: all of them.
      column: What the table calls the column. None: as the target is called. For every kind.
      positive: What the table has where it happened, `"Y"`; None: 1, or true.
      negative: What it has where it did not. None: the opposite of `positive`, as `"N"` of `"Y"` (yes and no, true and
        false, t and f, on and off, j and n, 1 and 0, as they are or in capitals); if `positive` has none, every other
        value means that it did not. With an opposite, any third value is an error.
    """

    name: ColumnName
    _: KW_ONLY
    observed_if: str | None = None
    sample_weight: str | None = None
    after: tuple[str, ...] | None = None
    column: SourceName | None = None
    positive: Label | None = None
    negative: Label | None = None
    kind: Literal["binary"] = "binary"

    @model_validator(mode="after")
    def _labels_differ(self) -> Binary:
        if self.negative is not None and self.positive is None:
            raise ValueError(f"target '{self.name}' has a negative label, so it needs a positive one")
        if self.positive is not None and self.negative is not None and _means(self.positive, str(self.negative)):
            raise ValueError(f"target '{self.name}': the positive label {self.positive!r} is also the negative one")
        return self

    @property
    def learned_by(self) -> Objective:
        """Cross entropy."""
        return BinaryCrossEntropy()

    def happened(self, value: str) -> bool | None:
        """What a value of a table says where `positive` is declared; None if it is neither label.

        Args:
          value: As text; a boolean is `"true"` or `"false"`, a whole number its digits.
        """
        assert self.positive is not None
        if _means(self.positive, value):
            return True
        negative = self.negative if self.negative is not None else opposite(self.positive)
        return False if negative is None or _means(negative, value) else None


@dataclass(frozen=True, config=_STRICT)
class Multiclass(Named):
    """A target with one of K classes, coded 0 .. K-1; the model predicts the K probabilities.

    Args:
      name: As for `Binary`.
      num_classes: K, at least 2.
      observed_if: As for `Binary`.
      sample_weight: As for `Binary`.
      after: As for `Binary`.
      column: As for `Binary`.
    """

    name: ColumnName
    _: KW_ONLY
    num_classes: int = Field(ge=2)
    observed_if: str | None = None
    sample_weight: str | None = None
    after: tuple[str, ...] | None = None
    column: SourceName | None = None
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
      name: As for `Binary`.
      unit: What one unit of the column is, e.g. `"ms"` or `"EUR"`; used in tables, plots and the run's summary.
      standardise: Train on amounts as multiples of the training rows' mean (or standard deviation, as the objective
        says). False trains on the raw amounts.
      non_negative: Refuse rows with a negative amount, and never predict one.
      objective: How it is learned: an objective of `htlnet_tf.objectives`, its name, or a mapping of its name and
        arguments. None: `poisson` for an amount that is not negative, `squared` for others.
      quantiles: Levels in (0, 1), increasing: the model gives these quantiles of the amount too, `{name}_p10` at 0.1,
        and the exported one has the signature `exceedance`. The objective must have a distribution: `ziln`,
        `gamma_hurdle`, `ordinal` or `quantile`.
      conformal: Correct the levels of the quantiles on the validation part, so that as many labels lie below a quantile
        as its level says; see `htlnet_tf.scoring.conformal`.
      level: Multiply the predictions by one factor, so that their total over the training rows is the actual one.
        None: where the amount is not negative.
      observed_if: As for `Binary`; what is counted of the training rows is then of the observed ones.
      sample_weight: As for `Binary`.
      after: As for `Binary`.
      column: As for `Binary`.
      decimal: The decimal mark of amounts that are text, `"."` or `","`. None: the schema's.
    """

    name: ColumnName
    _: KW_ONLY
    unit: str | None = None
    standardise: bool = True
    non_negative: bool = True
    objective: Annotated[Any, SkipValidation] = None
    level: bool | None = None
    quantiles: tuple[float, ...] = ()
    conformal: bool = False
    observed_if: str | None = None
    sample_weight: str | None = None
    after: tuple[str, ...] | None = None
    column: SourceName | None = None
    decimal: DecimalMark | None = None
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
        self._check_quantiles()
        return self

    def _check_quantiles(self) -> None:
        levels = self.quantiles
        if not all(0.0 < q < 1.0 for q in levels) or list(levels) != sorted(set(levels)):
            raise ValueError(
                f"target '{self.name}': quantiles must be increasing levels between 0 and 1, received {list(levels)}"
            )
        if levels and not self.learned_by.has_distribution:
            raise ValueError(
                f"target '{self.name}': the objective '{self.learned_by.name}' says the expectation alone and has no "
                f"distribution to take quantiles of; {', '.join(WITH_DISTRIBUTION)} have one"
            )
        if self.conformal and not levels:
            raise ValueError(f"target '{self.name}': conformal corrects the levels of quantiles, and none are declared")

    @property
    def quantile_names(self) -> tuple[str, ...]:
        """What the quantiles are called, in the order of their levels."""
        return tuple(quantile_name(self.name, q) for q in self.quantiles)

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


def opposite(label: Label) -> Label | None:
    """What stands for the contrary of a label, written alike; None if nothing is known to."""
    if isinstance(label, bool):
        return not label
    text = str(label)
    for pair in _OPPOSITES:
        for word, other in (pair, pair[::-1]):
            if text.lower() == word:
                return other.upper() if text.isupper() else other.capitalize() if text.istitle() else other
    return None


def _means(label: Label, value: str) -> bool:
    """Whether a value of a table, as text, is a label."""
    if isinstance(label, bool):
        return value.lower() in _YAML[label]
    text = str(label)
    return value.lower() == text.lower() if text.lower() in ("true", "false") else value == text
