"""Which columns are the targets, in which order: declared, named, or guessed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from htlnet_tf.errors import InputError
from htlnet_tf.inspection import names
from htlnet_tf.inspection.labels import LabelCounter
from htlnet_tf.inspection.profile import ColumnProfile
from htlnet_tf.schema import Binary, Continuous, Multiclass, Schema

# A step belongs to the guessed funnel if the steps before it happened in this share of the rows where it did. Parallel
# actions (a like, a visit of the profile) follow a click too, but mostly not the step after it.
NESTED_SHARE = 0.9
# Columns that are kept in view as labels until the last row; pairs of them are counted, so their number is bounded.
MAX_LABEL_COLUMNS = 32
# A whole number that takes more values than this is an amount, not a class.
MAX_CLASSES = 1000

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
        """The columns."""
        return tuple(target.name for target in self.targets)

    @property
    def core(self) -> str | None:
        """The core target."""
        return self.targets[-1].name if self.targets else None


def may_be_label(name: str) -> bool:
    """Whether a column is kept in view as a label when no targets are named."""
    return names.is_outcome_like(name) or names.core_rank(name) is not None


def settle_funnel(
    profiles: Mapping[str, ColumnProfile],
    labels: LabelCounter,
    *,
    schema: Schema | None,
    named: Sequence[str] | None,
) -> Funnel:
    """The targets of the schema, else those that are named, else a guess.

    Raises:
      InputError: A named column cannot be such a target.
    """
    if schema is not None:
        return Funnel("schema", schema.targets)
    if named is not None:
        *steps, core = named
        return Funnel("named", (*(_step(profiles[name]) for name in steps), _core(profiles[core])))
    guess = _guess(profiles, labels)
    return Funnel("guessed" if guess else "none", guess)


def guess_timestamp(profiles: Mapping[str, ColumnProfile]) -> str | None:
    """A column of times whose name fits best, among equals the one with the fewest gaps, then the first."""
    fitting = []
    for place, (name, profile) in enumerate(profiles.items()):
        rank = names.timestamp_rank(name)
        is_time = profile.dtype == "datetime" or profile.epoch_unit is not None
        if is_time and rank is not None and not names.is_outcome_like(name):
            fitting.append((rank, profile.missing, place, name))
    return min(fitting)[-1] if fitting else None


def _step(profile: ColumnProfile) -> Binary | Multiclass:
    low, high = profile.minimum, profile.maximum
    _require_numbers(profile)
    assert low is not None and high is not None
    if not profile.whole or low < 0 or high >= MAX_CLASSES or profile.infinite:
        raise InputError(
            f"targets: '{profile.name}' stands before the core target, so it must hold 0 and 1 or classes 0 .. K-1; "
            f"received numbers from {low:g} to {high:g}{'' if profile.whole else ', not all of them whole'}"
        )
    return Binary(profile.name) if high <= 1 else Multiclass(profile.name, num_classes=int(high) + 1)


def _core(profile: ColumnProfile) -> Continuous:
    _require_numbers(profile)
    return Continuous(profile.name, unit=names.unit_of(profile.name), non_negative=profile.negatives == 0)


def _require_numbers(profile: ColumnProfile) -> None:
    if profile.unreadable or not profile.is_number or profile.minimum is None:
        what = f"{profile.unreadable:,} values that are no numbers" if profile.unreadable else f"{profile.dtype} values"
        raise InputError(f"targets: '{profile.name}' must hold numbers; received {what}")


def _guess(profiles: Mapping[str, ColumnProfile], labels: LabelCounter) -> tuple[AnyTarget, ...]:
    """0/1 columns whose names suggest an outcome, by falling rate and nested, then an amount; empty if either lacks."""
    steps = [n for n in labels.names if profiles[n].is_binary and names.is_outcome_like(n)]
    steps.sort(key=lambda name: -(profiles[name].mean or 0.0))
    chosen: list[str] = []
    for step in steps:
        if all((labels.rate_given(step, earlier) or 0.0) >= NESTED_SHARE for earlier in chosen):
            chosen.append(step)
    amounts = [(names.core_rank(n), i, n) for i, n in enumerate(labels.names) if _may_be_core(profiles[n])]
    if not chosen or not amounts:
        return ()
    core = min((rank, i, n) for rank, i, n in amounts if rank is not None)[-1]
    return (*(Binary(name) for name in chosen), _core(profiles[core]))


def _may_be_core(profile: ColumnProfile) -> bool:
    return (
        names.core_rank(profile.name) is not None
        and profile.is_number
        and profile.distinct > 2
        and profile.negatives == 0
        and profile.epoch_unit is None
    )
