"""A first schema: which columns become features, and why the others do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import yaml
from pydantic import TypeAdapter

from htlnet_tf.documents import validate
from htlnet_tf.errors import InputError
from htlnet_tf.inspection import names
from htlnet_tf.inspection.funnel import Funnel
from htlnet_tf.inspection.kinds import Proposal, as_timestamp, propose_feature
from htlnet_tf.inspection.leakage import Suspect
from htlnet_tf.inspection.profile import ColumnProfile
from htlnet_tf.inspection.sample import Sample
from htlnet_tf.schema import Categorical, Schema

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
) -> dict[str, Proposal]:
    """What to do with every column, in the table's order."""
    strongest: dict[str, Suspect] = {}
    for suspect in suspects:
        if suspect.column not in strongest or suspect.value > strongest[suspect.column].value:
            strongest[suspect.column] = suspect
    proposals: dict[str, Proposal] = {}
    exported: dict[str, str] = {}
    for name, profile in profiles.items():
        if name in funnel.names:
            core = name == funnel.core
            proposals[name] = Proposal("target", None, "the core target" if core else "a step of the funnel")
            continue
        if name in weights:
            proposals[name] = Proposal("weight", None, "declared as a sample weight")
            continue
        if name == timestamp:
            proposals[name] = Proposal("timestamp", as_timestamp(profile), "when the row was logged")
            continue
        numbers = sample.numbers(name) if profile.is_number else np.zeros(0)
        proposal = propose_feature(profile, numbers, is_unique=is_unique(profile, sample))
        if proposal.feature is not None:
            reason = _reason_against(name, strongest)
            other = exported.setdefault(name.lower().replace(".", "_").replace("-", "_"), name)
            if reason is None and other != name:
                reason = f"'{other}' would have the same name in the exported model: rename one"
            proposal = proposal if reason is None else Proposal("left out", None, reason)
        proposals[name] = proposal
    return proposals


def is_unique(profile: ColumnProfile, sample: Sample) -> bool:
    """Whether no value occurs twice; beyond the bound of exact counting, none in the sample."""
    if profile.distinct_is_exact:
        return profile.distinct == profile.present
    codes = sample.codes(profile.name)[~sample.missing(profile.name)]
    return len(np.unique(codes)) == len(codes)


def build_schema(proposals: Mapping[str, Proposal], funnel: Funnel, timestamp: str | None) -> Schema:
    """The schema of the proposals: user, item, context, each in the table's order.

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
    document = {"features": ordered, "targets": funnel.targets, "timestamp": timestamp, "user": _user(proposals)}
    return validate(_SCHEMA, document, source="the proposed schema")


def schema_text(schema: Schema, profiles: Mapping[str, ColumnProfile], proposals: Mapping[str, Proposal]) -> str:
    """The schema as YAML with a comment behind every feature and target; `Schema.from_yaml` reads it."""
    document = schema.to_dict()
    lines = [
        "# A first schema, proposed from the values and the names of the columns. Check the groups and the funnel."
    ]
    dropped = {name: p.reason for name, p in proposals.items() if p.role == "left out"}
    if dropped:
        width = max(map(len, dropped))
        lines += ["#", "# Left out:", *(f"#   {name.ljust(width)}  {reason}" for name, reason in dropped.items())]
    for key in ("features", "targets"):
        lines.append(f"{key}:")
        for item in document.pop(key):
            text = yaml.safe_dump(
                item, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**9
            ).strip()
            lines.append(f"- {text}  # {_comment(profiles[item['name']], proposals[item['name']])}")
    return "\n".join([*lines, yaml.safe_dump(document, sort_keys=False).strip() if document else ""]).rstrip() + "\n"


def _user(proposals: Mapping[str, Proposal]) -> str | None:
    """The column that tells users apart by its name; None if there is none, or several, or it is no such feature."""
    found = [name for name in proposals if names.is_user_id(name)]
    feature = proposals[found[0]].feature if len(found) == 1 else None
    return found[0] if isinstance(feature, Categorical) and feature.separator is None else None


def _comment(profile: ColumnProfile, proposal: Proposal) -> str:
    count = f"{'' if profile.distinct_is_exact else 'at least '}{profile.distinct:,} distinct"
    missing = f", {profile.missing / profile.rows:.1%} missing" if profile.missing else ""
    if proposal.role == "target" and profile.is_binary:
        return f"rate {profile.mean:.2%}{missing}"
    reason = "" if proposal.role != "feature" or " values" in proposal.reason else f"; {proposal.reason}"
    return f"{count}{missing}{reason}"


def _reason_against(name: str, strongest: Mapping[str, Suspect]) -> str | None:
    if name in strongest:
        suspect = strongest[name]
        return f"leakage suspect: alone it predicts {suspect.target} with {suspect.measure} {suspect.value:.3f}"
    if names.is_outcome_like(name):
        return "an outcome by its name: not known before the impression"
    return None
