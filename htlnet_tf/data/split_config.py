"""The rules by which rows are split into training, validation and test rows, as a configuration declares them."""

from __future__ import annotations

import decimal
import itertools
import math
from collections.abc import Sequence
from dataclasses import KW_ONLY
from datetime import date, datetime
from typing import Annotated, Any, Literal, Union

import numpy as np
from pydantic import ConfigDict, Field, field_validator, model_validator
from pydantic.dataclasses import dataclass

from htlnet_tf.data import timestamps
from htlnet_tf.data.values import text
from htlnet_tf.errors import InputError
from htlnet_tf.schema.features import TimeUnit

PARTS = ("train", "valid", "test")

Seed = Annotated[int, Field(ge=0, lt=2**64)]
Value = Union[str, int, float, bool]

_STRICT = ConfigDict(extra="forbid")
_SUM_TOLERANCE = 1e-9
_COUNTS = {2: "two", 3: "three"}


@dataclass(frozen=True, config=_STRICT)
class TimeSplit:
    """Training rows are the oldest and test rows the newest, by the schema's timestamp.

    Give either `fractions` or `dates`.

    Args:
      fractions: The shares of the training, validation and test rows. Rows of one timestamp stay together, in the
        earlier part.
      dates: Where validation and test begin: training rows are before the first, validation rows before the second,
        test rows from the second on. Dates, datetimes or ISO 8601 strings (UTC unless they have an offset); for a
        timestamp of numbers such dates together with `unit`, or numbers in the column's own unit. Kept as strings.
      unit: What a timestamp of numbers counts since 1970-01-01 UTC; only for `dates` that are no numbers.
    """

    _: KW_ONLY
    by: Literal["time"] = "time"
    fractions: tuple[float, ...] | None = None
    dates: tuple[str | date | datetime | float | int, ...] | None = None
    unit: TimeUnit | None = None

    @field_validator("fractions")
    @classmethod
    def _are_shares(cls, fractions: tuple[float, ...] | None) -> tuple[float, ...] | None:
        return None if fractions is None else checked_fractions(fractions, exactly=3)

    @field_validator("dates", mode="before")
    @classmethod
    def _as_written(cls, dates: Any) -> Any:
        # As text a date comes back from YAML and JSON alike as it was, nanoseconds included.
        return tuple(_written(value) for value in dates) if isinstance(dates, (list, tuple)) else dates

    @model_validator(mode="after")
    def _is_consistent(self) -> TimeSplit:
        if (self.fractions is None) == (self.dates is None):
            raise ValueError(
                "a split by time needs either 'fractions' or 'dates'; "
                f"received {'neither' if self.dates is None else 'both'}"
            )
        kinds = set()
        if self.dates is not None:
            if len(self.dates) != 2:
                raise ValueError(
                    "'dates' must be two: where validation and where test begins; "
                    f"received {len(self.dates)}: {list(self.dates)}"
                )
            kinds = require_increasing(self.points, what="'dates'")
            if "timedelta" in kinds:
                raise ValueError(f"'dates' must be dates or numbers, not durations; received {list(self.dates)}")
        if self.unit is not None and "datetime" not in kinds:
            raise ValueError("'unit' is for a timestamp of numbers that is cut at dates; leave it out here")
        return self

    @property
    def points(self) -> tuple[timestamps.Point, ...]:
        """The dates as they are kept: ISO 8601 strings or numbers."""
        return tuple(d.isoformat() if isinstance(d, date) else d for d in self.dates or ())


@dataclass(frozen=True, config=_STRICT)
class ColumnSplit:
    """A column says which part a row belongs to.

    Values are compared as text: 1, 1.0 and "1" are the same, and so are a boolean and 1 or 0 (not the text "true").

    Args:
      column: Its name; it need not be in the schema.
      train: The values of the training rows, at least one.
      valid: The values of the validation rows.
      test: The values of the test rows.
    """

    _: KW_ONLY
    by: Literal["column"] = "column"
    column: str
    train: tuple[Value, ...] = Field(min_length=1)
    valid: tuple[Value, ...] = Field(min_length=1)
    test: tuple[Value, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _parts_are_disjoint(self) -> ColumnSplit:
        part_of: dict[str, str] = {}
        for part in PARTS:
            for value in getattr(self, part):
                text = text_of(value)
                if text is None:
                    raise ValueError(f"a value of a part must be text or a finite number; '{part}' has {value!r}")
                if part_of.setdefault(text, part) != part:
                    raise ValueError(
                        f"a value belongs to one part only; {value!r} is in '{part_of[text]}' and '{part}'"
                    )
        return self

    @property
    def part_of(self) -> dict[str, int]:
        """The position in `PARTS` of each value's text."""
        return {str(text_of(value)): k for k, part in enumerate(PARTS) for value in getattr(self, part)}


@dataclass(frozen=True, config=_STRICT)
class HashSplit:
    """Rows of one value of a column, such as one user, stay together; the value's hash decides where.

    A value's part depends on its text, `fractions` and `seed` alone: it is the same in every table, of whatever dtype.

    Args:
      column: Its name; it need not be in the schema.
      fractions: The shares of the column's distinct values in training, validation and test.
      seed: Another seed, another split.
    """

    _: KW_ONLY
    by: Literal["hash"] = "hash"
    column: str
    fractions: tuple[float, ...]
    seed: Seed = 0

    @field_validator("fractions")
    @classmethod
    def _are_shares(cls, fractions: tuple[float, ...]) -> tuple[float, ...]:
        return checked_fractions(fractions, exactly=3)


@dataclass(frozen=True, config=_STRICT)
class RandomSplit:
    """Each row falls to a part at random, by its number in its file and the seed.

    The same rows in other files, joined or split up, say, fall to other parts; rows of one number fall alike.

    For rows without an order or a key; rows of one user or request then stand on both sides, which flatters a model.

    Args:
      fractions: The shares of the training, validation and test rows.
      seed: Another seed, another split.
    """

    _: KW_ONLY
    by: Literal["random"] = "random"
    fractions: tuple[float, ...]
    seed: Seed = 0

    @field_validator("fractions")
    @classmethod
    def _are_shares(cls, fractions: tuple[float, ...]) -> tuple[float, ...]:
        return checked_fractions(fractions, exactly=3)


SplitConfig = Annotated[Union[TimeSplit, ColumnSplit, HashSplit, RandomSplit], Field(discriminator="by")]


def checked_fractions(fractions: Sequence[float], *, exactly: int | None = None) -> tuple[float, ...]:
    """Shares as floats.

    Args:
      fractions: At least two numbers above 0 that sum to 1.
      exactly: How many there must be, if that is fixed.

    Raises:
      InputError: They are not; names the position.
    """
    rule = f"fractions must be {_COUNTS[exactly] if exactly else 'at least two'} numbers above 0 that sum to 1"
    try:
        shares = tuple(float(f) for f in fractions)
    except (TypeError, ValueError) as error:
        raise InputError(f"{rule}; received {fractions!r}") from error
    if len(shares) < 2 or len(shares) != (exactly or len(shares)):
        raise InputError(f"{rule}; received {len(shares)} of them: {fractions!r}")
    for k, share in enumerate(shares):
        if not 0.0 < share < 1.0:  # also catches NaN
            raise InputError(f"{rule}; received {share} at position {k} of {shares}")
    if abs(math.fsum(shares) - 1.0) > _SUM_TOLERANCE:
        raise InputError(f"{rule}; received {shares}, which sum to {math.fsum(shares)}")
    return shares


def require_increasing(points: Sequence[timestamps.Point], *, what: str) -> set[timestamps.Kind]:
    """Checks that points are of one kind and increase; returns that kind.

    Raises:
      InputError: They do not.
    """
    kinds, amounts = zip(*(timestamps.exact(point) for point in points), strict=True)
    if len(set(kinds)) > 1:
        raise InputError(f"{what} must all be dates or all be numbers; received {list(points)}")
    if any(a >= b for a, b in itertools.pairwise(amounts)):
        raise InputError(f"{what} must increase; received {list(points)}")
    return set(kinds)


def text_of(value: Any) -> str | None:
    """The text by which a discrete value is compared and hashed; None if it has none.

    Whole numbers and booleans become their decimal text, so that 7, 7.0 and "7" are one value; further kinds are as
    `htlnet_tf.data.values.text` has them.
    """
    discrete = text(value)
    if discrete is not None:
        return discrete
    if isinstance(value, (float, np.floating, decimal.Decimal)) and math.isfinite(value):
        return str(int(value)) if float(value).is_integer() else repr(float(value))
    return None


def _written(value: Any) -> Any:
    if isinstance(value, np.datetime64):
        return str(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        raise ValueError(f"'dates' must be dates or numbers; received {value!r}")
    return value.isoformat() if isinstance(value, date) else value
