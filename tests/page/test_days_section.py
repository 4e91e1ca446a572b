"""The section of a run's days."""

from __future__ import annotations

from htlnet_tf.page.blocks import Folded, Table
from htlnet_tf.page.lineage import LearnedDay, Lineage, Parent
from htlnet_tf.page.sections.days import days_section

LINEAGE = Lineage(
    (
        LearnedDay("train", 3200, data="/logs/monday", embedding_rows=100),
        LearnedDay(
            "update",
            1200,
            made_at="2026-01-02T03:04:05+00:00",
            data="/logs/tuesday",
            first=1_709_298_226_337,
            last=1_709_298_999_999,
            parent=Parent("runs/monday", "abc"),
            added={"user_id": 7, "item_id": 1000},
            dropped={"user_id": 3},
            embedding_rows=1104,
            metrics={"click": {"auc": 0.7, "logloss": 0.5}, "spend": {"nrmse": None, "level": 1.1}},
        ),
    )
)


def test_a_line_per_day_the_latest_first() -> None:
    section = days_section(LINEAGE)
    assert section is not None
    _, table, folded = section.blocks
    assert isinstance(table, Table)
    assert [column.label for column in table.columns] == [
        "day", "rows", "new values", "dropped values", "embedding rows", "click AUC", "spend NRMSE",
    ]  # fmt: skip
    latest, first = ([cell.text for cell in row] for row in table.rows)
    assert latest == ["2024-03-01 13:03 UTC to 2024-03-01 13:16 UTC", "1,200", "1,007", "3", "1,104", "0.7000", "-"]
    assert first == ["first training", "3,200", "-", "-", "100", "-", "-"]
    assert table.rows[0][0].note == "learned 2026-01-02 03:04 UTC"
    assert isinstance(folded, Folded)
    (parents,) = folded.blocks
    assert isinstance(parents, Table)
    assert [cell.text for cell in parents.rows[0]] == [
        "2026-01-02T03:04:05+00:00", "/logs/tuesday", "runs/monday", "abc",
    ]  # fmt: skip


def test_a_run_without_further_days_has_none_and_one_without_times_says_so() -> None:
    assert days_section(None) is None
    section = days_section(Lineage((LearnedDay("update", 5),)))
    assert section is not None
    table = section.blocks[1]
    assert isinstance(table, Table)
    assert table.rows[0][0].text == "further day"
