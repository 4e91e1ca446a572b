"""Tables of text, by hand."""

from __future__ import annotations

from htlnet_tf.text_tables import aligned, markdown

TABLE = [["", "a ↑", "b"], ["x", "1", "22222"], ["yyyy", "3", ""]]


def test_numbers_stand_to_the_right_below_a_rule() -> None:
    assert aligned(TABLE).splitlines() == [
        "      a ↑      b",
        "----------------",
        "x       1  22222",
        "yyyy    3",
    ]


def test_left_columns_indent_and_no_rule() -> None:
    text = aligned(TABLE[1:], left=(0, 1, 2), indent="# ", rule=False)
    assert text.splitlines() == ["# x     1  22222", "# yyyy  3"]
    assert aligned([["only", "header"]]) == "only  header\n------------"


def test_a_markdown_table_is_read_back() -> None:
    text = markdown([["", "a ↑", "b"], ["x", "1", "22222"], ["yyyy", "3", "4"]])
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    assert rows == [["", "a ↑", "b"], [":---", "--:", "----:"], ["x", "1", "22222"], ["yyyy", "3", "4"]]
    assert len({len(line) for line in text.splitlines()}) == 1
