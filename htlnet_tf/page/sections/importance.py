"""What the model loses without a column."""

from __future__ import annotations

from collections.abc import Sequence

from htlnet_tf.judging.reports import metric_named
from htlnet_tf.page.blocks import Block, Cell, Column, Section, Table, Text
from htlnet_tf.page.facts import Importance
from htlnet_tf.page.run_inputs import RunInputs

_SHOWN = 30
_GROUP_COLOURS = {"user": "c1", "item": "c2", "context": "c3"}


def importance_section(run: RunInputs) -> Section | None:
    """Permutation importance per column and of whole groups; the most important column of the core first."""
    found = run.known.importance
    if not found:
        return None
    said = (
        f"How much worse the metrics get on {run.known.importance_rows:,} test rows when a column's values are "
        "permuted among them, ± over the permutations. What is made of the column, crosses and history statistics, "
        "moves with it. Near 0 a column adds nothing that others do not tell; columns that tell the same stand in for "
        "each other, so whole groups are permuted together too."
    )
    blocks: list[Block] = [Text(said)]
    groups = [each for each in found if not each.column]
    if groups:
        blocks.append(_table("All columns of a group together", groups, ["group"]))
    blocks.append(_table("Single columns", [each for each in found if each.column], ["column", "group"]))
    return Section("importance", "Importance of the columns", blocks)


def _table(caption: str, found: Sequence[Importance], names: list[str]) -> Table:
    measures = list(dict.fromkeys((each.target, each.metric) for each in found))
    largest = {m: max((e.loss for e in found if (e.target, e.metric) == m), default=0.0) for m in measures}
    by_row: dict[tuple[str, str], dict[tuple[str, str], Importance]] = {}
    for each in found:
        by_row.setdefault((each.column, each.group), {})[each.target, each.metric] = each
    core = measures[-1]
    ordered = sorted(by_row.items(), key=lambda item: -item[1][core].loss if core in item[1] else 0.0)
    rows = []
    for (column, group), values in ordered:
        colour = _GROUP_COLOURS.get(group, "c4")
        cells = [_cell(values.get(measure), largest[measure], colour) for measure in measures]
        rows.append([*(Cell({"column": column, "group": group}[name]) for name in names), *cells])
    columns = [
        *(Column(name, is_number=False) for name in names),
        *(Column(f"{target}: {metric_named(metric).label}", "how much worse it gets") for target, metric in measures),
    ]
    return Table(caption, columns, rows[:_SHOWN], rows[_SHOWN:])


def _cell(found: Importance | None, largest: float, colour: str) -> Cell:
    if found is None:
        return Cell("-")
    spread = "" if found.spread is None else f"± {found.spread:.4f}"
    bar = max(found.loss, 0.0) / largest if largest > 0 else 0.0
    text = f"{found.loss:+.4f}"
    text = text[1:] if float(text) == 0 else text  # no sign of what is next to nothing
    return Cell(text, found.loss, aside=spread, bar=bar, colour=colour)
