"""The table of columns in the report for people."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

from htlnet_tf.inspection.funnel import MAX_CLASSES
from htlnet_tf.inspection.kinds import Proposal, describe
from htlnet_tf.inspection.profile import MAX_COUNTED, ColumnProfile
from htlnet_tf.inspection.tables import WIDTH, aligned, number, percent, shortened
from htlnet_tf.inspection.values import EPOCH_UNITS
from htlnet_tf.schema import Schema
from htlnet_tf.schema.features import Numeric
from htlnet_tf.schema.names import Named

if TYPE_CHECKING:
    from htlnet_tf.inspection.report import Inspection


def declared_as(schema: Schema, name: str) -> str | None:
    """What a schema says of a column; None if it does not mention it."""
    for feature in schema.features:
        if isinstance(feature, Named) and feature.source == name:
            return describe(feature)
    for target in schema.targets:
        if target.source == name:
            return f"target {target.kind}"
    if name == schema.time_column:
        return "timestamp"
    if name == schema.user_source:
        return "user"
    return "sample weight" if name in schema.weights else None


def columns_table(inspection: Inspection) -> str:
    """A line per column: what it holds, what it is proposed as."""
    schema = inspection.schema
    table = [["column", "dtype", "missing", "distinct", *(["declared"] if schema else []), "proposed", "values"]]
    for name, profile in inspection.profiles.items():
        proposal = inspection.proposals[name]
        kind = proposal.role if proposal.role != "feature" else proposal.kind
        bad = inspection.bad_rows(name)
        declared = [(declared_as(schema, name) or "-") + (f", {bad:,} BAD" if bad else "")] if schema else []
        group = f", {proposal.feature.group}" if proposal.feature is not None and proposal.role == "feature" else ""
        distinct = f"{'' if profile.distinct_is_exact else '>= '}{profile.distinct:,}"
        missing = percent(profile.missing / profile.rows) if profile.missing else "0"
        table.append([shortened(name, 28), profile.dtype, missing, distinct, *declared, kind + group, ""])
    room = WIDTH - 2 - sum(2 + max(map(len, column)) for column in list(zip(*table, strict=True))[:-1])
    for row, profile in zip(table[1:], inspection.profiles.values(), strict=True):
        row[-1] = _values(profile, inspection.proposals[profile.name], max(room, 20))
    left = (0, 1, *range(4, len(table[0])))
    counted = any(p.distinct > MAX_COUNTED for p in inspection.profiles.values())
    note = f"\n  (most frequent: among the first {MAX_COUNTED:,} values that were seen)" if counted else ""
    return f"Columns\n{aligned(table, left=left)}{note}"


def _values(profile: ColumnProfile, proposal: Proposal, room: int) -> str:
    """The range of amounts and times, else the most frequent values with their shares, as many as fit."""
    if profile.minimum is not None and (profile.dtype == "datetime" or profile.epoch_unit is not None):
        unit = "ms" if profile.dtype == "datetime" else profile.epoch_unit
        assert unit is not None and profile.maximum is not None
        first, last = (_time(value / EPOCH_UNITS[unit]) for value in (profile.minimum, profile.maximum))
        return shortened(f"{first} to {last}", room)
    is_amount = isinstance(proposal.feature, Numeric) or (proposal.role == "target" and profile.distinct > MAX_CLASSES)
    if profile.minimum is not None and (is_amount or profile.dtype == "float64"):
        return shortened(f"{number(profile.minimum)} to {number(profile.maximum)}, mean {number(profile.mean)}", room)
    shown = ""
    for value, count in list(profile.counts.items())[:8]:
        piece = f"{_value(value)} {percent(count / profile.rows)}" if count > 1 else _value(value)
        extended = f"{shown}, {piece}" if shown else piece
        if len(extended) > room:
            return shown or shortened(extended, room)
        shown = extended
    return shown


def _value(value: Any) -> str:
    if isinstance(value, str):
        return shortened(f"'{value}'", 24)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _time(seconds: float) -> str:
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)
    return moment.strftime("%Y-%m-%d %H:%M")
