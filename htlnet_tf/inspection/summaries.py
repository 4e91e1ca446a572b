"""What the labels of each target say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from htlnet_tf.inspection.funnel import Funnel
from htlnet_tf.inspection.labels import LabelCounter
from htlnet_tf.inspection.profile import ColumnProfile
from htlnet_tf.inspection.sample import Sample
from htlnet_tf.schema import Binary, Continuous, Multiclass

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


@dataclass(frozen=True)
class TargetSummary:
    """The labels of one target.

    Args:
      name: The target.
      kind: `"binary"`, `"multiclass"` or `"continuous"`.
      unit: Of the core target.
      known: Rows with a label.
      missing: Rows without one; they take no part in the target's loss.
      invalid: Rows whose label the target's kind does not allow.
      invalid_first: The first such row, counted from 0, where it is known.
      invalid_value: Its label.
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
    kind: str
    unit: str | None
    known: int
    missing: int
    invalid: int = 0
    invalid_first: int | None = None
    invalid_value: Any = None
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
    funnel: Funnel, profiles: Mapping[str, ColumnProfile], labels: LabelCounter, sample: Sample
) -> tuple[TargetSummary, ...]:
    """A summary per target, in the order of the funnel."""
    summaries = []
    previous: str | None = None
    for target in funnel.targets:
        profile = profiles[target.name]
        if isinstance(target, Continuous):
            summaries.append(_amount(target, profile, sample))
        elif isinstance(target, Multiclass):
            summaries.append(_classes(target, profile))
        else:
            summaries.append(_binary(target, profile, labels, previous))
        previous = target.name if isinstance(target, Binary) else None
    return tuple(summaries)


def _binary(target: Binary, profile: ColumnProfile, labels: LabelCounter, previous: str | None) -> TargetSummary:
    count, first, value = labels.not_binary(target.name) or (profile.unreadable, None, None)
    given = labels.rate_given(previous, target.name) if previous is not None else None
    mean = profile.mean if not count else None
    missing = profile.missing - profile.unreadable
    return TargetSummary(
        target.name,
        target.kind,
        None,
        profile.present,
        missing,
        count,
        first,
        value,
        mean,
        given if not count else None,
    )


def _classes(target: Multiclass, profile: ColumnProfile) -> TargetSummary:
    allowed = range(target.num_classes)
    classes = {k: profile.counts.get(k, 0) / profile.present for k in allowed} if profile.present else {}
    invalid = profile.present - sum(profile.counts.get(k, 0) for k in allowed) + profile.unreadable
    value = next((v for v in profile.counts if v not in allowed), None)
    return TargetSummary(
        target.name,
        target.kind,
        None,
        profile.present,
        profile.missing - profile.unreadable,
        invalid,
        None,
        value,
        classes=classes,
    )


def _amount(target: Continuous, profile: ColumnProfile, sample: Sample) -> TargetSummary:
    invalid = profile.infinite + profile.unreadable + (profile.negatives if target.non_negative else 0)
    value = profile.minimum if target.non_negative and profile.negatives else None
    if not profile.present or profile.minimum is None:
        return TargetSummary(target.name, target.kind, target.unit, 0, profile.missing, invalid)
    known = sample.numbers(target.name)
    known = known[np.isfinite(known)]
    return TargetSummary(
        target.name,
        target.kind,
        target.unit,
        profile.present,
        profile.missing - profile.unreadable,
        invalid,
        None,
        value,
        mean=profile.mean,
        std=profile.std,
        minimum=profile.minimum,
        maximum=profile.maximum,
        quantiles=dict(zip(QUANTILES, np.quantile(known, QUANTILES).tolist(), strict=True)) if len(known) else None,
        zero_share=profile.zeros / profile.present,
        negative_share=profile.negatives / profile.present,
    )
