"""What the top of the ranking holds."""

from __future__ import annotations

from htlnet_tf.page.blocks import Block, Cell, Charts, Column, Section, Table, Text
from htlnet_tf.page.charts import Chart, Series, line_chart
from htlnet_tf.page.facts import Gain
from htlnet_tf.page.numbers import share_text
from htlnet_tf.page.run_inputs import RunInputs

_TOPS = (0.01, 0.1, 0.2, 0.3, 0.5)


def gains_section(run: RunInputs) -> Section | None:
    """Cumulative gains of every target; None if none is known."""
    by_target = {t.name: [g for g in run.known.gains if g.target == t.name] for t in run.schema.targets}
    known = {name: points for name, points in by_target.items() if points}
    if not known:
        return None
    core = run.schema.core.name
    said = "Of a target's total, the share that the rows with its largest predictions hold"
    if core in known and _at(known[core], 0.1):
        said += f": of {core}, {share_text(_at(known[core], 0.1))} in the top tenth"
    blocks: list[Block] = [
        Text(f"{said}."),
        Charts([_chart(name, points) for name, points in known.items()]),
        _table(known),
    ]
    return Section("gains", "What the top of the ranking holds", blocks)


def _chart(target: str, points: list[Gain]) -> Chart:
    tops = [100 * p.top for p in points]
    return line_chart(
        target,
        [
            Series("model", tops, [100 * p.captured for p in points], "c1"),
            Series("perfect order", tops, [100 * p.perfect for p in points], "c3"),
            Series("by chance", [0.0, 100.0], [0.0, 100.0], "muted", dashed=True),
        ],
        x_label="top of the rows, %",
        y_label="share of the total, %",
        says=f"{target}: the top tenth of the rows holds {share_text(_at(points, 0.1))} of the total",
        include=(0.0, 100.0),
    )


def _table(known: dict[str, list[Gain]]) -> Table:
    columns = [Column("target", is_number=False), *(Column(f"top {top:.0%}") for top in _TOPS)]
    rows = []
    for name, points in known.items():
        found = [_at(points, top) for top in _TOPS]
        lifts = [f"lift {value / top:.1f}" for value, top in zip(found, _TOPS, strict=True)]
        cells = [Cell(share_text(v), v, note) for v, note in zip(found, lifts, strict=True)]
        rows.append([Cell(name), *cells])
    return Table("Share of the total in the top of the rows; lift: over that of a random choice", columns, rows)


def _at(points: list[Gain], top: float) -> float:
    """The share at the point nearest to a top."""
    return min(points, key=lambda point: abs(point.top - top)).captured
