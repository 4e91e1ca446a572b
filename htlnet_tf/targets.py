"""The kinds of targets that a schema declares."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Annotated, Literal, Union

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from htlnet_tf.features import ColumnName, DecimalMark, Named, SourceName

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


class _OneOutput(Named):
    """A target whose tower has one output."""

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
      name: Output key of the exported model, and the column's name in the table if `column` does not say otherwise.
      observed_if: The name of an earlier `Binary` target: the label counts only in rows where that happened, and the
        model predicts given that it happened.
      sample_weight: A column of weights >= 0 for this target's loss, times the schema's `sample_weight`.
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
      column: As for `Binary`.
    """

    name: ColumnName
    _: KW_ONLY
    num_classes: int = Field(ge=2)
    observed_if: str | None = None
    sample_weight: str | None = None
    column: SourceName | None = None
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
      name: As for `Binary`.
      unit: What one unit of the column is, e.g. `"ms"` or `"EUR"`; used in tables, plots and the run's summary.
      standardise: Train on (y - mean) / std of the training rows. False trains on the raw amounts.
      non_negative: Refuse rows with a negative amount.
      observed_if: As for `Binary`; mean and std are then of the observed rows.
      sample_weight: As for `Binary`.
      column: As for `Binary`.
      decimal: The decimal mark of amounts that are text, `"."` or `","`. None: the schema's.
    """

    name: ColumnName
    _: KW_ONLY
    unit: str | None = None
    standardise: bool = True
    non_negative: bool = True
    observed_if: str | None = None
    sample_weight: str | None = None
    column: SourceName | None = None
    decimal: DecimalMark | None = None
    kind: Literal["continuous"] = "continuous"


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
