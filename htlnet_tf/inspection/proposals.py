"""A first schema: which columns become features, and why the others do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import yaml
from pydantic import TypeAdapter

from htlnet_tf.documents import validate
from htlnet_tf.errors import InputError
from htlnet_tf.inspection import names
from htlnet_tf.inspection.funnel import Funnel
from htlnet_tf.inspection.kinds import Proposal, as_timestamp, has_history, propose_feature
from htlnet_tf.inspection.leakage import MIN_ROWS, Suspect
from htlnet_tf.inspection.profile import ColumnProfile
from htlnet_tf.inspection.readings import Reading
from htlnet_tf.inspection.sample import Sample
from htlnet_tf.inspection.ties import Tie
from htlnet_tf.inspection.values import MISSING_CODE
from htlnet_tf.schema import Categorical, Schema
from htlnet_tf.text_tables import aligned

RANDOM_SPLIT = "{by: random, fractions: [0.8, 0.1, 0.1]}"
# A number that is above 0 so many times as often after a step belongs to the row, not to the past.
OUTCOME_LIFT = 3.0
CONSTANT_SHARE = 0.95
_GROUPS = ("user", "item", "context")  # the order in which a schema reads best
_SCHEMA: TypeAdapter[Schema] = TypeAdapter(Schema)


def propose_columns(
    profiles: Mapping[str, ColumnProfile],
    sample: Sample,
    *,
    funnel: Funnel,
    timestamp: str | None,
    weights: Sequence[str],
    suspects: Sequence[Suspect],
    ties: Mapping[str, Tie],
    readings: Mapping[str, Reading],
    remedies: Mapping[str, str],
    aliases: Mapping[str, str],
) -> dict[str, Proposal]:
    """What to do with every column, in the table's order.

    Args:
      profiles: Of all columns.
      sample: Rows of the stream.
      funnel: The targets.
      timestamp: The column of times.
      weights: The columns of sample weights.
      suspects: Columns that predict a target too well.
      ties: Columns that decide a target in part of the rows.
      readings: How columns of text are read.
      remedies: Columns that can be used only after something is done, and what that is.
      aliases: What a model may call each column.
    """
    strongest: dict[str, Suspect] = {}
    for suspect in suspects:
        if suspect.column not in strongest or suspect.value > strongest[suspect.column].value:
            strongest[suspect.column] = suspect
    proposals: dict[str, Proposal] = {}
    for name, profile in profiles.items():
        alias = aliases[name]
        column = None if alias == name else name
        called = replace(profile, name=alias)
        if name in funnel.names:
            core = name == funnel.core
            reason = "the core target" if core else "a step of the funnel"
            proposals[name] = Proposal("target", None, remedies.get(name, reason))
            continue
        if name in weights:
            proposals[name] = Proposal("weight", None, "declared as a sample weight")
            continue
        if name == timestamp:
            feature = None if name in remedies else as_timestamp(called, readings.get(name))
            feature = feature and replace(feature, column=column)
            proposals[name] = Proposal("timestamp", feature, remedies.get(name, "when the row was logged"))
            continue
        if name in remedies:
            proposals[name] = Proposal("left out", None, remedies[name])
            continue
        numbers = sample.numbers(name) if profile.is_number else np.zeros(0)
        unique = is_unique(profile, sample)
        proposal = propose_feature(called, numbers, is_unique=unique, reading=readings.get(name))
        if proposal.feature is not None:
            against = _reason_against(profile, sample, funnel, profiles, strongest, ties)
            if against is None:
                notes = [proposal.reason, _zones(readings.get(name))]
                if names.is_outcome_like(name):
                    notes.append("named like an outcome: is it known before the impression?")
                declared = replace(proposal.feature, column=column)
                proposal = Proposal("feature", declared, "; ".join(filter(None, notes)), has_history(profile, declared))
            else:
                proposal = Proposal("left out", None, against)
        proposals[name] = proposal
    return proposals


def _zones(reading: Reading | None) -> str:
    if reading is None or reading.offsets < 2:
        return ""
    return f"{reading.offsets} offsets from UTC: hour and weekday by {reading.offset_hours:+g} h, the most frequent one"


def is_unique(profile: ColumnProfile, sample: Sample) -> bool:
    """Whether no value occurs twice; beyond the bound of exact counting, none in the sample."""
    if profile.distinct_is_exact:
        return profile.distinct == profile.present
    codes = sample.codes(profile.name)[~sample.missing(profile.name)]
    return len(np.unique(codes)) == len(codes)


def build_schema(
    proposals: Mapping[str, Proposal],
    funnel: Funnel,
    timestamp: str | None,
    *,
    delimiter: str = ",",
    readings: Mapping[str, Reading] | None = None,
) -> Schema:
    """The schema of the proposals: user, item, context, each in the table's order.

    Args:
      proposals: By column.
      funnel: The targets.
      timestamp: The column of times.
      delimiter: Of CSV files.
      readings: How columns of text are read.

    Raises:
      InputError: No targets were found or no categorical feature is left.
    """
    if not funnel.targets:
        raise InputError(
            "a schema needs targets, and no columns here look like a funnel; name them in order, the amount last: "
            "--targets click,buy,spend"
        )
    features = [p.feature for p in proposals.values() if p.feature is not None]
    ordered = sorted(features, key=lambda feature: _GROUPS.index(feature.group))
    document: dict[str, Any] = {"features": ordered, "targets": funnel.targets, "user": _user(proposals)}
    document["delimiter"] = delimiter
    of = _with_statistics(proposals)
    document["statistics"] = {"of": of} if of else None
    if timestamp is not None:
        moment, reading = proposals[timestamp].feature, (readings or {}).get(timestamp)
        document["timestamp"] = timestamp if moment is None else moment.name
        document["timestamp_format"] = None if moment is not None or reading is None else reading.format
    return validate(_SCHEMA, document, source="the proposed schema")


def schema_text(schema: Schema, profiles: Mapping[str, ColumnProfile], proposals: Mapping[str, Proposal]) -> str:
    """The schema as YAML with a comment behind every feature and target; `Schema.from_yaml` reads it."""
    document = schema.without_history().to_dict()  # which is written in short
    lines = [
        "# A first schema, proposed from the values and the names of the columns. Check the groups and the funnel."
    ]
    if schema.timestamp is None:
        lines += [
            "#",
            "# No column says when a row was logged, so split at random: in the configuration",
            f"#   split: {RANDOM_SPLIT}",
        ]
    dropped = {name: p.reason for name, p in proposals.items() if p.role == "left out"}
    if dropped:
        lines += ["#", "# Left out:", aligned(list(dropped.items()), left=(0, 1), indent="#   ", rule=False)]
    for key in ("features", "targets"):
        lines.append(f"{key}:")
        for item in document.pop(key):
            text = yaml.safe_dump(
                item, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**9
            ).strip()
            source = item.get("column", item["name"])
            lines.append(f"- {text}  # {_comment(profiles[source], proposals[source])}")
    of = _with_statistics(proposals)
    if of:
        short = yaml.safe_dump({"of": of}, default_flow_style=True, allow_unicode=True, width=10**9).strip()
        lines.append(
            f"statistics: {short}  # how often a value is in the training rows, and the means of the targets there"
        )
    rest = yaml.safe_dump(document, sort_keys=False, allow_unicode=True).strip() if document else ""
    return "\n".join([*lines, rest]).rstrip() + "\n"


def config_text(data: str, schema: str, *, by_time: bool) -> str:
    """A configuration for `htlnet train`: the data, the schema file, and how the rows are split.

    Args:
      data: The path of the rows, relative to the configuration.
      schema: The path of the schema file, likewise.
      by_time: Whether every row has a time to split by.
    """
    document = {"data": {"loader": "generic", "path": data}, "schema": schema}
    split = "{by: time, fractions: [0.8, 0.1, 0.1]}" if by_time else RANDOM_SPLIT
    return f"{yaml.safe_dump(document, sort_keys=False, allow_unicode=True)}split: {split}\n"


def _with_statistics(proposals: Mapping[str, Proposal]) -> list[str]:
    """The features that get history statistics, as the schema orders them."""
    features = [p.feature for p in proposals.values() if p.feature is not None and p.statistics]
    return [feature.name for feature in sorted(features, key=lambda feature: _GROUPS.index(feature.group))]


def _user(proposals: Mapping[str, Proposal]) -> str | None:
    """The column that tells users apart by its name; None if there is none, or several, or it is no such feature."""
    found = [name for name in proposals if names.is_user_id(name)]
    feature = proposals[found[0]].feature if len(found) == 1 else None
    return feature.name if isinstance(feature, Categorical) and feature.separator is None else None


def _comment(profile: ColumnProfile, proposal: Proposal) -> str:
    count = f"{'' if profile.distinct_is_exact else 'at least '}{profile.distinct:,} distinct"
    missing = f", {profile.missing / profile.rows:.1%} missing" if profile.missing else ""
    if proposal.role == "target" and profile.is_binary:
        return f"rate {profile.mean:.2%}{missing}"
    notes = [note for note in proposal.reason.split("; ") if " values" not in note]  # their number is said already
    return "; ".join([f"{count}{missing}", *(notes if proposal.role == "feature" else ())])


def _reason_against(
    profile: ColumnProfile,
    sample: Sample,
    funnel: Funnel,
    profiles: Mapping[str, ColumnProfile],
    strongest: Mapping[str, Suspect],
    ties: Mapping[str, Tie],
) -> str | None:
    """Why a column holds what is not known before the impression; a name alone is no reason against numbers."""
    name = profile.name
    if name in strongest:
        suspect = strongest[name]
        return f"leakage suspect: alone it predicts {suspect.target} with {suspect.measure} {suspect.value:.3f}"
    if name in ties:
        return ties[name].reason
    if not names.is_outcome_like(name):
        return None
    if profile.distinct == 2 or (profile.distinct == 1 and profile.missing):
        users = [other for other in profiles if names.is_user_id(other)]
        if len(users) == 1 and is_constant_within(sample.codes(name), sample.codes(users[0])):
            return None
        return "an outcome by its name, of two values that change from row to row"
    happened = profile.is_number and _odds(sample.numbers(name), funnel, sample)
    if happened and happened >= OUTCOME_LIFT:
        return f"an outcome: named so, and above 0 {happened:.0f} times as often where a target happened"
    return None


def is_constant_within(codes: np.ndarray, users: np.ndarray) -> bool:
    """Whether a column has, for nearly every user with several rows, one value: a state, as a subscription is."""
    pairs = pd.DataFrame({"user": users, "value": codes})
    pairs = pairs[pairs["user"] != MISSING_CODE]
    by_user = pairs.groupby("user")["value"].agg(["nunique", "size"])
    several = by_user[by_user["size"] > 1]
    return len(several) >= MIN_ROWS and bool((several["nunique"] == 1).mean() >= CONSTANT_SHARE)


def _odds(numbers: np.ndarray, funnel: Funnel, sample: Sample) -> float:
    """How much more often a number is above 0 where a target happened than where it did not, at most."""
    above, lifts = numbers > 0, [0.0]
    for name in funnel.names:
        label = sample.numbers(name)
        yes, no = (label != 0) & ~np.isnan(label), label == 0
        if min(yes.sum(), no.sum()) >= MIN_ROWS:
            lifts.append(float(above[yes].mean() / max(above[no].mean(), 1 / no.sum())))
    return max(lifts)
