"""The days that the model has learned, one after the other."""

from __future__ import annotations

from datetime import datetime

from htlnet_tf.page.blocks import Block, Cell, Column, Folded, Section, Table, Text
from htlnet_tf.page.lineage import LearnedDay, Lineage
from htlnet_tf.page.numbers import metric_about, point_text

_METRICS = {"auc": "AUC", "macro_auc": "AUC", "nrmse": "NRMSE"}
_SHOWN = 10
_SAID = (
    "The model was trained on the last line's rows and then updated with one day after the other. Metrics are of the "
    "day as the model before it predicted it, so of rows that it had not seen. Values: ids and other values of "
    "features with a vocabulary that got a row of their own, or gave theirs back."
)


def days_section(lineage: Lineage | None) -> Section | None:
    """A line per day, the latest first; None of a run without further days."""
    if lineage is None:
        return None
    judged = dict.fromkeys(
        (target, metric)
        for day in lineage.days
        for target, found in day.metrics.items()
        for metric in found
        if metric in _METRICS
    )
    columns = [Column("day", is_number=False), *(Column(label) for label in ("rows", "new values", "dropped values"))]
    columns += [Column("embedding rows")]
    columns += [
        Column(f"{target} {_METRICS[metric]}", f"{metric_about(metric)}, before the day was learned")
        for target, metric in judged
    ]
    rows = [
        [_name(day), *map(_count, _numbers(day)), *(_metric(day, *key) for key in judged)]
        for day in reversed(lineage.days)
    ]
    blocks: list[Block] = [Text(_SAID), Table("Days", columns, rows[:_SHOWN], rows[_SHOWN:])]
    parents = [
        [
            Cell(text)
            for text in (day.made_at or "unknown", day.data or "from Python", day.parent.path, day.parent.digest)
        ]
        for day in reversed(lineage.days)
        if day.parent is not None
    ]
    heads = [
        Column(label, is_number=False) for label in ("made", "rows from", "run before", "SHA-256 of the run before")
    ]
    blocks.append(Folded("The runs before", [Table("Runs before", heads, parents)]))
    return Section("days", "Days", blocks)


def _name(day: LearnedDay) -> Cell:
    if day.kind == "train":
        return Cell("first training")
    if day.first is None or day.last is None:
        return Cell("further day", note="" if day.made_at is None else f"learned {_date(day.made_at)}")
    first, last = (point_text(point)[0] for point in (day.first, day.last))
    return Cell(f"{first} to {last}", note="" if day.made_at is None else f"learned {_date(day.made_at)}")


def _date(made_at: str) -> str:
    return f"{datetime.fromisoformat(made_at):%Y-%m-%d %H:%M} UTC"


def _numbers(day: LearnedDay) -> tuple[int | None, ...]:
    changed = [None if day.kind == "train" else sum(values.values()) for values in (day.added, day.dropped)]
    return day.rows, *changed, day.embedding_rows


def _count(value: int | None) -> Cell:
    return Cell("-") if value is None else Cell(f"{value:,}", float(value))


def _metric(day: LearnedDay, target: str, metric: str) -> Cell:
    value = day.metrics.get(target, {}).get(metric)
    return Cell("-") if value is None else Cell(f"{value:.4f}", value)
