"""What the labels of each target say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from htlnet_tf.inspection.funnel import Funnel
from htlnet_tf.inspection.labels import LabelCounter
from htlnet_tf.inspection.profile import ColumnProfile
from htlnet_tf.inspection.sample import Sample
from htlnet_tf.inspection.schema_check import BrokenRule
from htlnet_tf.schema import Binary, Continuous, Multiclass

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


@dataclass(frozen=True)
class TargetSummary:
    """The labels of one target.

    Args:
      name: The target.
      column: What the table calls it.
      kind: `"binary"`, `"multiclass"` or `"continuous"`.
      unit: Of the core target.
      known: Rows with a label.
      missing: Rows without one; they take no part in the target's loss.
      invalid: Rows whose label the target's kind does not allow.
      invalid_first: The number of the first such row, as in `BrokenRule`; None without a schema.
      invalid_value: Its label, as Python writes it.
      mean: Of the known labels; the rate of a binary target.
      rate_given_previous: The rate where the step before happened; None for the first step and for others than binary.
      classes: Share of the known labels by class, of a multiclass target.
      std: Standard deviation (population) of the core; so below.
      minimum: The smallest amount.
      maximum: The greatest.
      quantiles: By level, over the sample.
      zero_share: Of the known labels.
      negative_share: Of the known labels.
    """

    name: str
    column: str
    kind: str
    unit: str | None
    known: int
    missing: int
    invalid: int = 0
    invalid_first: int | None = None
    invalid_value: str | None = None
    mean: float | None = None
    rate_given_previous: float | None = None
    classes: dict[int, float] | None = None
    std: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    quantiles: dict[float, float] | None = None
    zero_share: float | None = None
    negative_share: float | None = None


def summarise_targets(
    funnel: Funnel,
    profiles: Mapping[str, ColumnProfile],
    labels: LabelCounter,
    sample: Sample,
    broken_rules: Sequence[BrokenRule] = (),
) -> tuple[TargetSummary, ...]:
    """A summary per target, in the order of the funnel."""
    summaries = []
    previous: str | None = None
    for target in funnel.targets:
        profile = profiles[target.source]
        broken = [found for found in broken_rules if found.column == target.source]
        if isinstance(target, Continuous):
            summary = _amount(target, profile, sample)
        elif isinstance(target, Multiclass):
            summary = _classes(target, profile)
        else:
            # A rate of labels that are not 0 and 1 is none.
            summary = _summary(target, profile) if broken else _binary(target, profile, labels, previous)
        if broken:
            invalid = sum(found.rows for found in broken)
            summary = replace(summary, invalid=invalid, invalid_first=broken[0].row, invalid_value=broken[0].value)
        summaries.append(summary)
        previous = target.source if isinstance(target, Binary) else None
    return tuple(summaries)


def _summary(target: Binary | Multiclass | Continuous, profile: ColumnProfile) -> TargetSummary:
    unit = target.unit if isinstance(target, Continuous) else None
    return TargetSummary(
        target.name, target.source, target.kind, unit, profile.present, profile.missing - profile.unreadable
    )


def _binary(target: Binary, profile: ColumnProfile, labels: LabelCounter, previous: str | None) -> TargetSummary:
    given = labels.rate_given(previous, target.source) if previous is not None else None
    return replace(_summary(target, profile), mean=profile.mean, rate_given_previous=given)


def _classes(target: Multiclass, profile: ColumnProfile) -> TargetSummary:
    allowed = range(target.num_classes)
    classes = {k: profile.counts.get(k, 0) / profile.present for k in allowed} if profile.present else {}
    return replace(_summary(target, profile), classes=classes)


def _amount(target: Continuous, profile: ColumnProfile, sample: Sample) -> TargetSummary:
    # Without a schema an amount may be anything but infinite.
    summary = replace(_summary(target, profile), invalid=profile.infinite)
    if profile.minimum is None:
        return replace(summary, known=0)
    known = sample.numbers(target.source)
    known = known[np.isfinite(known)]
    return replace(
        summary,
        mean=profile.mean,
        std=profile.std,
        minimum=profile.minimum,
        maximum=profile.maximum,
        quantiles=dict(zip(QUANTILES, np.quantile(known, QUANTILES).tolist(), strict=True)) if len(known) else None,
        zero_share=profile.zeros / profile.present,
        negative_share=profile.negatives / profile.present,
    )
