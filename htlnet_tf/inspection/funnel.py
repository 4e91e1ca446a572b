"""Which columns are the targets, in which order: declared, named, or guessed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from htlnet_tf.errors import InputError
from htlnet_tf.inspection import names
from htlnet_tf.inspection.labels import LabelCounter
from htlnet_tf.inspection.profile import ColumnProfile, missing_code
from htlnet_tf.inspection.readings import Reading
from htlnet_tf.schema import Binary, Continuous, Multiclass, Schema

# A step belongs to the guessed funnel if the steps before it happened in this share of the rows where it did. Parallel
# actions (a like, a visit of the profile) follow a click too, but mostly not the step after it.
NESTED_SHARE = 0.9
# Columns that are kept in view as labels until the last row; pairs of them are counted, so their number is bounded.
MAX_LABEL_COLUMNS = 32
# A whole number that takes more values than this is an amount, not a class.
MAX_CLASSES = 1000

# The rank of a column of times whose name says nothing of it.
_UNNAMED = 9

AnyTarget = Binary | Multiclass | Continuous


@dataclass(frozen=True)
class Funnel:
    """The targets.

    Args:
      origin: Where they come from: the schema, the caller, or the guess from names and values; or nothing was found.
      targets: In order; the last one is the core target. Empty if nothing was found.
    """

    origin: Literal["schema", "named", "guessed", "none"]
    targets: tuple[AnyTarget, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The columns, as the table calls them."""
        return tuple(target.source for target in self.targets)

    @property
    def core(self) -> str | None:
        """The column of the core target."""
        return self.targets[-1].source if self.targets else None


def may_be_label(name: str) -> bool:
    """Whether a column is kept in view as a label when no targets are named."""
    return names.is_outcome_like(name) or names.core_rank(name) is not None or names.is_earlier_step(name)


def settle_funnel(
    profiles: Mapping[str, ColumnProfile],
    labels: LabelCounter,
    *,
    schema: Schema | None,
    named: Sequence[str] | None,
    readings: Mapping[str, Reading],
    aliases: Mapping[str, str],
) -> Funnel:
    """The targets of the schema, else those that are named, else a guess.

    Args:
      profiles: Of all columns.
      labels: What happened together.
      schema: Declares the targets.
      named: Their columns in order.
      readings: How columns of text are read.
      aliases: What a model may call each column.

    Raises:
      InputError: A named column cannot be such a target.
    """
    if schema is not None:
        return Funnel("schema", schema.targets)
    steps, core = named[:-1] if named else (), named[-1] if named else None
    if named is None:
        steps, core = guess_funnel(profiles, labels)
    if core is None:
        return Funnel("none", ())
    targets = (
        *(_step(profiles[name], aliases[name], readings.get(name)) for name in steps),
        _core(profiles[core], aliases[core], readings.get(core)),
    )
    return Funnel("guessed" if named is None else "named", targets)


def guess_timestamp(profiles: Mapping[str, ColumnProfile]) -> str | None:
    """A column of times whose name fits best, among equals the one with the fewest gaps, then the first; days only
    where there is nothing finer.
    """
    fitting = []
    for place, (name, profile) in enumerate(profiles.items()):
        rank = names.timestamp_rank(name)
        is_time = profile.dtype == "datetime" or profile.epoch_unit is not None
        if rank is None and profile.dtype == "datetime":
            rank = _UNNAMED
        if is_time and rank is not None and not names.is_outcome_like(name):
            fitting.append((rank, profile.missing, place, name))
    return min(fitting)[-1] if fitting else None


def guess_funnel(profiles: Mapping[str, ColumnProfile], labels: LabelCounter) -> tuple[tuple[str, ...], str | None]:
    """Flags whose names suggest an outcome, by falling rate and nested, then an amount.

    Returns:
      The columns of the steps, and that of the core; none if either lacks.
    """
    flags = [name for name in labels.names if profiles[name].is_binary]
    outcomes = [name for name in flags if names.is_outcome_like(name)]
    amounts = [(names.core_rank(n), i, n) for i, n in enumerate(labels.names) if _may_be_core(profiles[n])]
    if not outcomes or not amounts:
        return (), None

    # An amount that is 0 unless a step happened is one of this row; others may be totals of the past.
    tied = {n for _, _, n in amounts if any(_is_within(n, flag, profiles, labels) for flag in outcomes)}
    core = min((n not in tied, rank, i, n) for rank, i, n in amounts if rank is not None)[-1]
    # What makes the amount rarer, as a refund does, is no step towards it.
    outcomes = [n for n in outcomes if (labels.rate_given(core, n) or 0.0) >= (profiles[n].mean or 0.0)]
    outcomes.sort(key=lambda name: -(profiles[name].mean or 0.0))
    chains = [_chain(outcomes[start:], profiles, labels) for start in range(len(outcomes))]
    if not chains:
        return (), None
    chosen = max(chains, key=len)  # of equal ones the one with the most frequent first step
    for flag in sorted(flags, key=lambda name: profiles[name].mean or 0.0):
        if flag not in chosen and names.is_earlier_step(flag) and _is_within(chosen[0], flag, profiles, labels):
            chosen = [flag, *chosen]
    return tuple(chosen), core


def _chain(flags: Sequence[str], profiles: Mapping[str, ColumnProfile], labels: LabelCounter) -> list[str]:
    """The first flag, and each further one that hardly happens without those before it."""
    chosen: list[str] = []
    for flag in flags:
        if all((labels.rate_given(flag, earlier) or 0.0) >= _nested(profiles[earlier]) for earlier in chosen):
            chosen.append(flag)
    return chosen


def _nested(earlier: ColumnProfile) -> float:
    # A step that nearly always happens contains everything by chance.
    return max(NESTED_SHARE, 1 - (1 - (earlier.mean or 0.0)) / 4)


def _is_within(later: str, earlier: str, profiles: Mapping[str, ColumnProfile], labels: LabelCounter) -> bool:
    return (labels.rate_given(later, earlier) or 0.0) >= max(0.99, _nested(profiles[earlier]))


def _step(profile: ColumnProfile, name: str, reading: Reading | None) -> Binary | Multiclass:
    _require_numbers(profile)
    low, high = profile.minimum, profile.maximum
    assert low is not None and high is not None
    if not profile.whole or low < 0 or high >= MAX_CLASSES or profile.infinite:
        raise InputError(
            f"targets: '{profile.name}' stands before the core target, so it must hold 0 and 1 or classes 0 .. K-1; "
            f"received numbers from {low:g} to {high:g}{'' if profile.whole else ', not all of them whole'}"
        )
    column = None if name == profile.name else profile.name
    if high > 1:
        return Multiclass(name, num_classes=int(high) + 1, column=column)
    if reading is None or reading.kind != "flag":
        return Binary(name, column=column)
    return Binary(name, column=column, positive=reading.positive, negative=reading.negative)


def _core(profile: ColumnProfile, name: str, reading: Reading | None) -> Continuous:
    _require_numbers(profile)
    return Continuous(
        name,
        column=None if name == profile.name else profile.name,
        unit=names.unit_of(profile.name),
        non_negative=profile.negatives == 0,
        decimal="," if reading is not None and reading.kind == "decimal" else None,
    )


def _require_numbers(profile: ColumnProfile) -> None:
    if profile.unreadable or not profile.is_number or profile.minimum is None:
        what = f"{profile.unreadable:,} values that are no numbers" if profile.unreadable else f"{profile.dtype} values"
        raise InputError(f"targets: '{profile.name}' must hold numbers; received {what}")


def _may_be_core(profile: ColumnProfile) -> bool:
    """Whether a column may hold amounts; refunds below 0 may be among them, but not a code such as -1 for "missing"."""
    return (
        names.core_rank(profile.name) is not None
        and profile.is_number
        and profile.distinct > 2
        and missing_code(profile) is None
        and profile.negatives < profile.present / 2
        and profile.epoch_unit is None
    )
