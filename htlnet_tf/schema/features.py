"""The kinds of features that a schema declares."""

from __future__ import annotations

import datetime
from dataclasses import KW_ONLY
from typing import Annotated, Literal, Union

from pydantic import AfterValidator, Field, model_validator
from pydantic.dataclasses import dataclass

from htlnet_tf.schema.history import CountEncoding, TargetEncoding
from htlnet_tf.schema.names import STRICT, ColumnName, DecimalMark, EmbeddingDim, Named, QuantileBuckets, SourceName

Group = Literal["user", "item", "context"]
CategoricalDtype = Literal["string", "int64"]
Encoding = Literal["vocabulary", "hash"]
Pooling = Literal["mean", "sum", "max"]
TimePart = Literal["hour", "weekday"]
TimeUnit = Literal["s", "ms", "us", "ns"]
UNITS_PER_SECOND: dict[TimeUnit, int] = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}

Buckets = Annotated[int, Field(ge=2, le=2**30)]


def checked_format(text: str) -> str:
    """A format of dates, as `datetime.strptime` takes it.

    Raises:
      ValueError: It is none, or leaves open which day is meant.
    """
    day = datetime.datetime(2001, 2, 3, 4, 5, 6, tzinfo=datetime.timezone.utc)
    try:
        read = datetime.datetime.strptime(day.strftime(text), text)
    except ValueError as error:
        raise ValueError(f"a format is written like '%d.%m.%Y %H:%M:%S'; received {text!r}: {error}") from error
    if read.date() != day.date():
        raise ValueError(f"a format must have year, month and day, as '%d.%m.%Y' has; received {text!r}")
    return text


TimeFormat = Annotated[str, AfterValidator(checked_format)]


@dataclass(frozen=True, config=STRICT)
class Categorical(Named):
    """A column of discrete values, each with its own embedding row.

    Args:
      name: In the exported signature, and in the table if `column` does not say otherwise.
      group: Whom the column belongs to. It decides what a request for many candidates of one user sends once.
      dtype: Type of the raw column, `"string"` or `"int64"`. None: taken from the training rows.
      separator: If given, the column is multi-valued: a string such as `"a,b"` holds several values, whose embeddings
        are pooled. A column of lists is read as such strings. Requires `dtype` `"string"`.
      max_length: The number of values kept of a multi-valued column, the first ones; further ones are dropped.
      pooling: How the embeddings of a multi-valued column become one: their `"mean"`, their `"sum"`, or (per component)
        their `"max"`.
      min_count: Values seen fewer times than this in the training rows share the out-of-vocabulary row.
      encoding: `"vocabulary"`: each value of the training rows has a row. `"hash"`: values share `num_buckets` rows by
        their hash, unseen values too. None: a vocabulary up to a million values, hashing beyond.
      num_buckets: Rows for hashing. None: the power of two at or above the number of values in the training rows.
      shares: The name of another categorical feature whose values and embedding rows this one uses as well: `tag` of
        the item and of the user's history. `min_count`, `encoding` and `embedding_dim` are those of the other.
      embedding_dim: Width of the feature's embedding rows. None: the model's.
      missing_values: Raw values that stand for "missing", beside NaN, None and the empty string.
      column: What the table calls the column. None: as the feature is called. For every kind; several features may
        read one column.
    """

    name: ColumnName
    _: KW_ONLY
    group: Group = "item"
    dtype: CategoricalDtype | None = None
    separator: str | None = None
    max_length: int = Field(default=8, ge=1, le=1024)
    pooling: Pooling = "mean"
    min_count: int = Field(default=2, ge=1)
    encoding: Encoding | None = None
    num_buckets: Buckets | None = None
    shares: str | None = None
    embedding_dim: EmbeddingDim | None = None
    missing_values: tuple[int | str, ...] = ()
    column: SourceName | None = None
    kind: Literal["categorical"] = "categorical"

    @model_validator(mode="after")
    def _is_consistent(self) -> Categorical:
        if self.separator == "":
            raise ValueError(f"'separator' of feature '{self.name}' must not be the empty string")
        if self.separator is not None and self.dtype == "int64":
            raise ValueError(f"feature '{self.name}' has a separator, so its dtype must be 'string', not 'int64'")
        for code in self.missing_values if self.dtype == "int64" else ():
            if not isinstance(code, int) or not -(2**63) <= code < 2**63:
                raise ValueError(
                    f"feature '{self.name}' has dtype int64, so its missing value {code!r} must be one too"
                )
        if self.num_buckets is not None and self.encoding != "hash":
            raise ValueError(f"feature '{self.name}' has num_buckets, so its encoding must be 'hash'")
        own = self.encoding is not None or self.embedding_dim is not None or self.min_count != 2
        if self.shares is not None and own:
            raise ValueError(
                f"feature '{self.name}' shares '{self.shares}': min_count, encoding, embedding_dim are declared there"
            )
        return self

    @property
    def keeps_last(self) -> bool:
        """Whether the last values of a long list are kept, not the first."""
        return False


@dataclass(frozen=True, config=STRICT)
class Sequence(Categorical):
    """A multi-valued column in order of time, such as the items that a user saw last; the newest value stands last.

    As `Categorical` with a separator, but of a long list the *last* `max_length` values are kept.

    Args:
      name: As for `Categorical`.
    """

    separator: str | None = ","
    max_length: int = Field(default=50, ge=1, le=1024)
    kind: Literal["sequence"] = "sequence"  # type: ignore[assignment]

    @model_validator(mode="after")
    def _has_a_separator(self) -> Sequence:
        if self.separator is None:
            raise ValueError(f"sequence '{self.name}' needs a separator")
        return self

    @property
    def keeps_last(self) -> bool:
        """A sequence keeps its newest values."""
        return True


@dataclass(frozen=True, config=STRICT)
class Numeric(Named):
    """A column of numbers, standardised with the mean and standard deviation of the training rows.

    Args:
      name: As for `Categorical`.
      group: Whom the column belongs to, as for `Categorical`.
      log1p: Replace x by log(1 + x) before standardising; the column must not be negative then.
      quantile_buckets: If given, the number is not fed as such but as one of so many buckets, each with its own
        embedding row; their bounds are quantiles of the training rows. Equal quantiles make fewer buckets.
      keep_number: Feed the number as well as its bucket.
      embedding_dim: Width of the buckets' embedding rows. None: the model's.
      missing_values: Raw values that stand for "missing", beside NaN and None.
      column: As for `Categorical`.
      decimal: The decimal mark of numbers that are text, `"."` or `","`. None: the schema's.
    """

    name: ColumnName
    _: KW_ONLY
    group: Group = "item"
    log1p: bool = False
    quantile_buckets: QuantileBuckets | None = None
    keep_number: bool = False
    embedding_dim: EmbeddingDim | None = None
    missing_values: tuple[float, ...] = ()
    column: SourceName | None = None
    decimal: DecimalMark | None = None
    kind: Literal["numeric"] = "numeric"

    @model_validator(mode="after")
    def _is_consistent(self) -> Numeric:
        if self.quantile_buckets is not None and self.log1p and not self.keep_number:
            raise ValueError(f"feature '{self.name}': quantile buckets are the same with and without log1p; drop one")
        if self.quantile_buckets is None and self.embedding_dim is not None:
            raise ValueError(f"feature '{self.name}' has an embedding_dim, so it needs quantile_buckets")
        if self.quantile_buckets is None and self.keep_number:
            raise ValueError(f"feature '{self.name}' has keep_number, which is for a number beside quantile_buckets")
        return self

    @property
    def is_number(self) -> bool:
        """Whether it is fed as a number, in buckets too or not."""
        return self.quantile_buckets is None or self.keep_number


@dataclass(frozen=True, config=STRICT)
class Timestamp(Named):
    """A column of points in time, of which the hour of the day and the day of the week have embedding rows.

    Args:
      name: As for `Categorical`; it may be the schema's timestamp.
      group: Whom the column belongs to, as for `Categorical`.
      unit: What the numbers count since 1970-01-01 UTC, in the frame and in a request. Columns of datetimes are
        converted.
      utc_offset_hours: Local time minus UTC, for the local hour and weekday. Daylight saving time is not followed.
      parts: `"hour"` (24 rows) and `"weekday"` (7 rows, Monday first).
      embedding_dim: Width of the embedding rows. None: the model's.
      column: As for `Categorical`.
      format: How the table writes the times, as `datetime.strptime` takes it: `"%d.%m.%Y %H:%M:%S"`. Without `%z` they
        are UTC. Whole numbers are read by it too, as 20240501 by `"%Y%m%d"`. None: numbers count `unit`, text is
        ISO 8601.
    """

    name: ColumnName
    _: KW_ONLY
    group: Group = "context"
    unit: TimeUnit = "ms"
    utc_offset_hours: float = Field(default=0.0, ge=-12, le=14)
    parts: tuple[TimePart, ...] = Field(default=("hour", "weekday"), min_length=1)
    embedding_dim: EmbeddingDim | None = None
    column: SourceName | None = None
    format: TimeFormat | None = None
    kind: Literal["timestamp"] = "timestamp"

    @model_validator(mode="after")
    def _parts_differ(self) -> Timestamp:
        if len(set(self.parts)) < len(self.parts):
            raise ValueError(f"feature '{self.name}' names a part twice: {list(self.parts)}")
        return self


@dataclass(frozen=True, config=STRICT)
class Cross:
    """The combination of two single-valued categorical features; it has no column of its own.

    Pairs of rows are hashed into buckets, or counted off where the buckets suffice for all pairs. Values that are out
    of vocabulary in one of the two are one value here too.

    Args:
      name: Of the feature; no column is read.
      of: The names of the two features.
      num_buckets: Embedding rows.
      embedding_dim: Width of the embedding rows. None: the model's.
    """

    name: ColumnName
    _: KW_ONLY
    of: tuple[str, str]
    num_buckets: Buckets = 100_000
    embedding_dim: EmbeddingDim | None = None
    kind: Literal["cross"] = "cross"


Input = Union[Categorical, Sequence, Numeric, Timestamp]
"""A feature that has a raw column."""

Feature = Annotated[
    Union[Categorical, Sequence, Numeric, Timestamp, Cross, TargetEncoding, CountEncoding], Field(discriminator="kind")
]
