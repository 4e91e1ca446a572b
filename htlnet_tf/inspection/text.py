"""The report of a table for people."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from htlnet_tf.errors import InputError
from htlnet_tf.inspection.columns_text import columns_table
from htlnet_tf.inspection.summaries import QUANTILES, TargetSummary
from htlnet_tf.inspection.tables import WIDTH, aligned, bar, number, percent, shortened

if TYPE_CHECKING:
    from htlnet_tf.inspection.report import Inspection

# More days than this are shortened in the middle, to these many at either end.
_MAX_DAYS, _DAYS_AT_AN_END = 21, 7
_ORIGINS = {
    "schema": "as the schema declares it",
    "named": "as named",
    "guessed": "A GUESS from names and values; name it in order with --targets step,...,amount",
}


def render(inspection: Inspection) -> str:
    """All sections, those without content left out."""
    sections = [
        _head(inspection),
        _broken_rules(inspection),
        _readings(inspection),
        _funnel(inspection),
        _core(inspection),
        _violations(inspection),
        _days(inspection),
        _suspects(inspection),
        columns_table(inspection),
        _left_out(inspection),
        _outlook(inspection),
    ]
    return "\n\n".join(section for section in sections if section)


def _head(inspection: Inspection) -> str:
    found = inspection.duplicates
    lines = [f"{inspection.source or 'Table'}: {inspection.rows:,} rows, {len(inspection.profiles)} columns"]
    if found.rows:
        share = percent(found.rows / found.compared)
        lines.append(
            f"Duplicates: {found.rows:,} rows ({share}) repeat an earlier row in every column, "
            f"first row {found.first:,}, which repeats row {found.first_repeats:,}"
        )
    else:
        lines.append("Duplicates: none")
    if found.compared < inspection.rows:
        lines.append(f"  (only the first {found.compared:,} rows were compared)")
    if inspection.sampled_rows < inspection.rows:
        lines.append(
            f"Quantiles, skewness and leakage are those of a uniform sample of {inspection.sampled_rows:,} rows; "
            "all else is counted over all rows."
        )
    lines.append("Rows are counted from 0, the header aside.")
    return "\n".join(lines)


def _broken_rules(inspection: Inspection) -> str:
    if inspection.schema is None:
        return ""
    if inspection.ok:
        return "Rows that break the schema: none"
    lines = ["Rows that break the schema: training stops at them, unless it is told to leave bad rows out"]
    for found in inspection.broken_rules:
        rows = "1 row" if found.rows == 1 else f"{found.rows:,} rows"
        file = "" if found.file is None else f"{found.file}, "
        value = shortened(found.value, 40)
        lines.append(f"  {found.column}: {rows}, {'' if found.rows == 1 else 'first '}{file}row {found.row:,}: {value}")
        lines.append(textwrap.fill(found.rule, WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6))
    return "\n".join(lines)


def _readings(inspection: Inspection) -> str:
    reasons = {name: proposal.reason for name, proposal in inspection.proposals.items()}
    table = [["column", "is read as"]]
    for name, reading in inspection.readings.items():
        # Where values are at fault, the reason names the first.
        table.append([name, reasons[name] if reasons[name].startswith(reading.what) else reading.what])
    lines = [f"Fields are separated by {inspection.delimiter!r}"] if inspection.delimiter != "," else []
    if len(table) > 1:
        lines += ["Text that is read as something else", aligned(table, left=(0, 1))]
    return "\n".join(lines)


def _funnel(inspection: Inspection) -> str:
    if not inspection.targets:
        hint = f" (like outcomes look: {', '.join(inspection.outcome_like)})" if inspection.outcome_like else ""
        return textwrap.fill(
            "Funnel: none found. A funnel is one or more 0/1 columns and then an amount; name its columns in order: "
            f"--targets click,buy,spend{hint}",
            WIDTH,
        )
    table = [["target", "kind", "labels", "missing", "rate", "given the step before", "invalid"]]
    for target in inspection.targets:
        rate = percent(target.mean) if target.kind == "binary" else ""
        given = percent(target.rate_given_previous) if target.rate_given_previous is not None else ""
        invalid = f"{target.invalid:,}{_first_invalid(target)}" if target.invalid else "0"
        table.append([target.name, target.kind, f"{target.known:,}", f"{target.missing:,}", rate, given, invalid])
        for k, share in list((target.classes or {}).items())[:20]:
            table.append([f"  class {k}", "", "", "", percent(share), "", ""])
    return f"Funnel, {_ORIGINS[inspection.funnel.origin]}\n{aligned(table, left=(0, 1))}"


def _first_invalid(target: TargetSummary) -> str:
    if target.invalid_value is None:
        return ""
    place = "" if target.invalid_first is None else f"row {target.invalid_first:,}: "
    return f" ({place}{shortened(target.invalid_value, 24)})"


def _core(inspection: Inspection) -> str:
    core = inspection.targets[-1] if inspection.targets else None
    if core is None or core.mean is None:
        return ""
    unit = f" ({core.unit})" if core.unit else ""
    cells = [("min", number(core.minimum))]
    cells += [(f"{level * 100:g} %", number((core.quantiles or {}).get(level))) for level in QUANTILES]
    cells += [("max", number(core.maximum)), ("mean", number(core.mean)), ("std", number(core.std))]
    cells += [("zero", percent(core.zero_share)), ("negative", percent(core.negative_share))]
    header, row = zip(*cells, strict=True)
    return f"Core target {core.name}{unit}, its distribution\n{aligned([header, row], left=())}"


def _violations(inspection: Inspection) -> str:
    if not inspection.targets:
        return ""
    if not inspection.violations:
        return "Funnel order: no step happened without those before it"
    table = [["happened", "although 0", "rows", "of the happened", "first row"]]
    for found in inspection.violations:
        share = percent(found.share_of_later)
        later = f"{found.later} > 0" if found.later == inspection.funnel.core else found.later
        table.append([later, found.earlier, f"{found.rows:,}", share, f"{found.first:,}"])
    return f"Steps that happened without an earlier one\n{aligned(table, left=(0, 1))}"


def _days(inspection: Inspection) -> str:
    days = inspection.days
    if inspection.timestamp is None:
        return "Rows per day: no column of times was found; name one with --timestamp"
    if days is None:
        return f"Rows per day: '{inspection.timestamp}' holds no times between 2000 and 2100"
    guess = ", a guess" if inspection.timestamp_is_guessed else ""
    names = [target.column for target in inspection.targets if target.kind != "multiclass"]
    core = inspection.funnel.core
    titles = [shortened(f"mean {name}" if name == core else name, 24) for name in names]
    greatest = max(day.rows for day in days.days)
    table = [["day", "rows", "", *titles]]
    rows = list(days.days)
    for i, day in enumerate(rows):
        if len(rows) > _MAX_DAYS and _DAYS_AT_AN_END <= i < len(rows) - _DAYS_AT_AN_END:
            if i == _DAYS_AT_AN_END:
                table.append(["...", f"{len(rows) - 2 * _DAYS_AT_AN_END:,} days", *[""] * (1 + len(names))])
            continue
        means = [number(day.means[name]) if name == core else percent(day.means[name]) for name in names]
        table.append([day.day, f"{day.rows:,}", bar(day.rows, greatest), *means])
    text = f"Rows per day ({days.column}{guess}; UTC), {len(rows):,} days\n{aligned(table, left=(0, 2))}"
    return text + (f"\n  {days.undated:,} rows have no time between 2000 and 2100" if days.undated else "")


def _suspects(inspection: Inspection) -> str:
    lines = []
    if inspection.suspects:
        table = [["column", "predicts", "", "", "by its"]]
        for found in inspection.suspects:
            table.append([found.column, found.target, found.measure, f"{found.value:.3f}", found.by])
        lines += ["Leakage suspects: each predicts a target on its own", aligned(table, left=(0, 1, 2, 4))]
    if inspection.ties:
        table = [["column", "because"], *([tie.column, tie.reason] for tie in inspection.ties)]
        lines += ["Columns that decide a target: earlier steps, or known only afterwards", aligned(table, left=(0, 1))]
    if inspection.outcome_like:
        lines.append(
            textwrap.fill(
                f"Outcomes by their names, unknown before the impression: {', '.join(inspection.outcome_like)}",
                WIDTH,
                subsequent_indent="  ",
            )
        )
    if not lines and inspection.targets:
        return "Leakage: no column predicts a target on its own, none has the name of an outcome"
    return "\n".join(lines)


def _left_out(inspection: Inspection) -> str:
    lines = []
    if inspection.schema is not None:
        undeclared = [name for name in inspection.profiles if name not in inspection.schema.columns]
        if undeclared:
            lines.append(textwrap.fill(f"Not in the schema: {', '.join(undeclared)}", WIDTH, subsequent_indent="  "))
        suspected = {found.column for found in inspection.suspects} | {tie.column for tie in inspection.ties}
        features = {feature.source for feature in inspection.schema.inputs}
        leaking = [n for n in inspection.profiles if n in features and (n in suspected or n in inspection.outcome_like)]
        if leaking:
            lines.append(f"DECLARED AS FEATURES, but they look like outcomes: {', '.join(leaking)}")
    dropped = [[name, p.reason] for name, p in inspection.proposals.items() if p.role == "left out"]
    if dropped:
        lines += ["Left out of the proposed schema", aligned([["column", "because"], *dropped], left=(0, 1))]
    return "\n".join(lines)


def _outlook(inspection: Inspection) -> str:
    if inspection.schema is not None:
        return ""
    try:
        schema = inspection.propose_schema()
    except InputError as error:
        return textwrap.fill(f"No schema is proposed: {error}", WIDTH)
    split = "" if inspection.is_dated else "; without a time in every row the split must be {by: random}"
    written = "write it with --write_schema FILE, then read it over"
    return f"A schema of {len(schema.features)} features is proposed: {written}{split}"
