"""What a column is best declared as, judged by its values and a little by its name."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.stats import skew

from htlnet_tf.inspection import names
from htlnet_tf.inspection.lists import find_separator, measure_lists
from htlnet_tf.inspection.profile import MAX_COUNTED, ColumnProfile, missing_code
from htlnet_tf.inspection.readings import Reading
from htlnet_tf.inspection.values import LIST_SEPARATOR
from htlnet_tf.schema.features import Categorical, Group, Input, Numeric, Sequence, TimePart, Timestamp

# Whole numbers with at most so many values are codes unless the name says otherwise: an embedding row each costs
# nothing, and needs no order among them.
MAX_CODES = 50
# A vocabulary beyond this is mostly values with a handful of rows, which are too few to learn an embedding row from.
LARGE_VOCABULARY, LARGE_MIN_COUNT = 100_000, 5
# Lists of this mean length are histories rather than sets of tags.
SEQUENCE_MEAN_LENGTH = 10.0
# The skewness of an exponential distribution is 2; beyond it, a few rows would dominate a standardised number.
HEAVY_SKEW = 2.0
# Below so many rows any column may look unique.
MIN_ROWS_FOR_IDS = 20
# With fewer values an embedding row knows what their statistics would say; with fewer rows a value they say nothing.
STATISTICS_VALUES, STATISTICS_ROWS = 32, 3

Role = Literal["feature", "target", "timestamp", "weight", "left out"]


@dataclass(frozen=True)
class Proposal:
    """What to do with a column.

    Args:
      role: Feature, target, timestamp (which may be a feature too), sample weight, or left out.
      feature: The declaration, if it is a feature.
      reason: Why so, for people.
      statistics: Whether history statistics of it are worth having.
    """

    role: Role
    feature: Input | None
    reason: str
    statistics: bool = False

    @property
    def kind(self) -> str:
        """A few words: `"categorical hash"`, `"numeric log1p"`, `"timestamp ms"`, `"left out"`."""
        if self.feature is None:
            return self.role
        return describe(self.feature)


def describe(feature: Input) -> str:
    """A feature's kind in a few words."""
    if isinstance(feature, Numeric):
        words = ["numeric", "log1p" if feature.log1p else ""]
    elif isinstance(feature, Timestamp):
        words = ["timestamp", feature.unit]
    elif feature.separator is not None:
        # Not `repr` in general: a blank is shown as one.
        words = [feature.kind if feature.keeps_last else "multi-valued", f"'{feature.separator}'"]
    else:
        words = ["categorical", "hash" if feature.encoding == "hash" else ""]
    return " ".join(filter(None, words))


def propose_feature(
    profile: ColumnProfile, numbers: np.ndarray, *, is_unique: bool, reading: Reading | None = None
) -> Proposal:
    """What a column that is neither a target nor the timestamp is best declared as.

    Args:
      profile: The column, under the name that a model may have for it.
      numbers: float64 [rows of the sample], if the column holds numbers alone; else empty.
      is_unique: Whether no value was seen twice.
      reading: How its text is read.
    """
    if not profile.present:
        return _left_out("it has no values")
    if profile.distinct == 1 and not profile.missing:
        return _left_out(f"constant: {_shown(next(iter(profile.counts)))} in every row")
    if profile.dtype == "mixed":
        return _left_out(f"it mixes {' and '.join(sorted(profile.kinds))}: clean it first")
    if reading is not None and reading.format == "%Y%m%d":
        return _left_out("dates as YYYYMMDD; for their weekday: kind timestamp, format '%Y%m%d', parts [weekday]")
    is_unique = is_unique and profile.rows >= MIN_ROWS_FOR_IDS
    group = names.group_of(profile.name)
    propose: dict[str, Callable[[], Proposal]] = {
        "duration": lambda: _left_out("a duration: convert it to a number"),
        "datetime": lambda: _feature(moment(profile.name, group, reading), "hour and weekday of a date"),
        "string": lambda: _text(profile, is_unique),
        "list": lambda: _multi_valued(profile, LIST_SEPARATOR),
        "float64": lambda: _numeric(profile, numbers),
        "bool": lambda: _categorical(profile),
        "int64": lambda: _whole_number(profile, numbers, is_unique),
    }
    if reading is not None and reading.kind == "decimal":
        proposal = _numeric(profile, numbers)
        if not isinstance(proposal.feature, Numeric):
            return proposal
        return _feature(replace(proposal.feature, decimal=","), proposal.reason)
    proposal = propose[profile.dtype]()
    if reading is not None and reading.kind == "flag" and isinstance(proposal.feature, Categorical):
        return _feature(replace(proposal.feature, dtype="string"), proposal.reason)
    return proposal


def has_history(profile: ColumnProfile, feature: Input) -> bool:
    """Whether a column has so many values, with enough rows each, that history statistics are worth having."""
    return (
        isinstance(feature, Categorical)
        and not feature.keeps_last
        and profile.distinct_is_exact
        and profile.distinct >= STATISTICS_VALUES
        and profile.present >= STATISTICS_ROWS * profile.distinct
    )


def moment(name: str, group: Group, reading: Reading | None) -> Timestamp:
    """The feature that reads hour and weekday of a column of times, in the zone that they are written in."""
    if reading is None:
        return Timestamp(name, group=group)
    hours = reading.offset_hours or 0.0
    parts: tuple[TimePart, ...] = ("hour", "weekday")
    if reading.format is not None and not any(part in reading.format for part in ("%H", "%I")):
        parts = ("weekday",)
    return Timestamp(name, group=group, format=reading.format, utc_offset_hours=hours, parts=parts)


def as_timestamp(profile: ColumnProfile, reading: Reading | None = None) -> Timestamp | None:
    """The feature that reads hour and weekday of the table's timestamp; None if it holds no times since 1970."""
    unit = profile.epoch_unit
    if profile.dtype == "datetime":
        return moment(profile.name, "context", reading)
    return None if unit is None else Timestamp(profile.name, unit=unit)


def _left_out(reason: str) -> Proposal:
    return Proposal("left out", None, reason)


def _feature(feature: Input, reason: str) -> Proposal:
    return Proposal("feature", feature, reason)


def _whole_number(profile: ColumnProfile, numbers: np.ndarray, is_unique: bool) -> Proposal:
    unit = profile.epoch_unit
    # Seconds since 1970 look like any ten-digit id, so there the name has a say.
    if (
        unit is not None
        and not names.is_id_like(profile.name)
        and (unit != "s" or names.timestamp_rank(profile.name) is not None)
    ):
        group = names.group_of(profile.name)
        return _feature(Timestamp(profile.name, group=group, unit=unit), f"times in {unit} since 1970")
    if _are_dates(profile):
        return _left_out("dates as YYYYMMDD: a later day is a value that training never saw")
    assert profile.minimum is not None and profile.maximum is not None
    if is_unique and (names.is_id_like(profile.name) or profile.maximum - profile.minimum + 1 == profile.rows):
        return _left_out("a row number or id: no value occurs twice")
    if names.is_id_like(profile.name) or profile.distinct <= MAX_CODES:
        return _categorical(profile)
    proposal = _numeric(profile, numbers)
    if proposal.feature is None or names.is_amount_like(profile.name):
        return proposal
    return _feature(proposal.feature, f"{proposal.reason}; declare it categorical if these are codes")


def _text(profile: ColumnProfile, is_unique: bool) -> Proposal:
    separator = find_separator(profile.counts)
    if separator is not None:
        return _multi_valued(profile, separator)
    if is_unique:
        return _left_out("a row id: no value occurs twice")
    return _categorical(profile)


def _multi_valued(profile: ColumnProfile, separator: str) -> Proposal:
    lists = measure_lists(profile.counts, separator)
    group = names.group_of(profile.name)
    about = f"{lists.mean_length:.1f} values per row (at most {lists.longest:,}), {lists.pieces:,} distinct"
    limit = min(lists.length, 1024)
    if lists.mean_length >= SEQUENCE_MEAN_LENGTH:
        return _feature(
            Sequence(profile.name, group=group, dtype="string", separator=separator, max_length=limit),
            f"long lists: {about}; the newest value must stand last",
        )
    kept = max(limit, Categorical(profile.name).max_length)
    return _feature(Categorical(profile.name, group=group, dtype="string", separator=separator, max_length=kept), about)


def _categorical(profile: ColumnProfile) -> Proposal:
    dtype: Literal["string", "int64"] = "int64" if profile.is_number else "string"
    group = names.group_of(profile.name)
    if not profile.distinct_is_exact:
        feature = Categorical(profile.name, group=group, dtype=dtype, encoding="hash", num_buckets=2**20)
        return _feature(feature, f"at least {profile.distinct:,} values, more than a vocabulary takes")
    if profile.distinct > LARGE_VOCABULARY:
        feature = Categorical(profile.name, group=group, dtype=dtype, min_count=LARGE_MIN_COUNT)
        return _feature(feature, f"{profile.distinct:,} values; those with under {LARGE_MIN_COUNT} rows share one")
    if profile.distinct == 1:
        reason = f"{_shown(next(iter(profile.counts)))} or missing"
    else:
        reason = f"{profile.distinct:,} values"
    return _feature(Categorical(profile.name, group=group, dtype=dtype), reason)


def _numeric(profile: ColumnProfile, numbers: np.ndarray) -> Proposal:
    if profile.infinite:
        return _left_out(f"{profile.infinite:,} rows are infinite: clean it first")
    assert profile.minimum is not None
    code = missing_code(profile)
    missing_values = () if code is None else (code,)
    finite = numbers[np.isfinite(numbers) & ~np.isin(numbers, missing_values)]
    skewness = float(skew(finite)) if len(finite) > 2 and finite.std() > 0 else 0.0
    log1p = bool((profile.minimum >= 0 or code is not None) and skewness > HEAVY_SKEW)
    feature = Numeric(profile.name, group=names.group_of(profile.name), log1p=log1p, missing_values=missing_values)
    reasons = [f"skewness {skewness:.1f}" + (", so log1p" if log1p else "")]
    if code is not None:
        reasons.append(f"{code:g} is the only negative value and is read as missing")
    return _feature(feature, "; ".join(reasons))


def _are_dates(profile: ColumnProfile) -> bool:
    low, high = profile.minimum or 0, profile.maximum or 0
    if not (low >= 20_000_101 and high <= 20_991_231) or profile.distinct > min(MAX_COUNTED, 36_525):
        return False
    try:
        for value in profile.counts:
            datetime.datetime.strptime(str(value), "%Y%m%d")
    except ValueError:
        return False  # 20221399 is a number like any other
    return True


def _shown(value: object, limit: int = 30) -> str:
    text = repr(value) if isinstance(value, str) else f"{value}"
    return text if len(text) <= limit else text[: limit - 3] + "..."
