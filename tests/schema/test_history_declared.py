"""What history statistics may be declared of, and their short form."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

import htlnet_tf as htl

FEATURES = (
    htl.Categorical("item"),
    htl.Categorical("user"),
    htl.Sequence("last", shares="item"),
    htl.Cross("pair", of=("item", "user")),
    htl.Numeric("price"),
)
TARGETS = (htl.Binary("click"), htl.Continuous("spend"))


def schema(**changes: Any) -> htl.Schema:
    return htl.Schema(**({"features": FEATURES, "targets": TARGETS} | changes))


def test_the_short_form_becomes_features() -> None:
    made = schema(statistics=htl.HistoryStatistics(of=("item", "pair")))
    assert [f.name for f in made.history] == [
        "item.count",
        "item.click",
        "item.spend",
        "item.spend.log",
        "pair.count",
        "pair.click",
        "pair.spend",
        "pair.spend.log",
    ]
    assert made.statistics is None and made.without_history() == schema()
    assert [f.name for f in made.inputs] == ["item", "user", "last", "price"]
    assert htl.Schema.from_dict(made.to_dict()) == made


def test_the_short_form_of_some() -> None:
    short = {"of": ["last"], "targets": ["spend"], "counts": False, "log": False, "smoothing": 5, "folds": 3}
    document = schema().to_dict() | {"statistics": short}
    assert htl.Schema.from_dict(document).history == (
        htl.TargetEncoding(of="last", target="spend", smoothing=5.0, folds=3),
    )


def test_a_target_may_be_called_count() -> None:
    targets = (htl.Binary("click"), htl.Continuous("count"))
    made = schema(targets=targets, statistics=htl.HistoryStatistics(of=("item",), log=False))
    assert [f.name for f in made.history] == ["item.num_rows", "item.click", "item.count"]


def test_amounts_that_may_be_negative_have_no_log() -> None:
    targets = (htl.Binary("click"), htl.Continuous("profit", non_negative=False))
    made = schema(targets=targets, statistics=htl.HistoryStatistics(of=("item",), counts=False))
    assert [f.name for f in made.history] == ["item.click", "item.profit"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"statistics": {"of": ["price"]}},
            "of must name a categorical feature, a sequence or a cross; received 'price'",
        ),
        ({"statistics": {"of": ["nothing"]}}, "received 'nothing'"),
        ({"statistics": {"of": []}}, "at least 1 item"),
        ({"statistics": {"of": ["item"], "targets": ["buy"]}}, "no target 'buy'; there are"),
        ({"statistics": {"of": ["item"], "scheme": "ordered"}}, "needs the schema's timestamp"),
        ({"statistics": {"of": ["item"], "smoothing": 0}}, "greater than 0"),
        ({"statistics": {"of": ["item"], "folds": 1}}, "greater than or equal to 2"),
        ({"statistics": {"of": ["item", "item"]}}, "declared more than once"),
        ({"features": (*FEATURES, htl.TargetEncoding(of="item", target="click", scale="log"))}, "not negative"),
        ({"features": (*FEATURES, htl.CountEncoding(of="item.count"))}, "received 'item.count'"),
    ],
)
def test_what_does_not_go(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        schema(**changes)
