"""A ranking is declared once, in Python or YAML, and what cannot be an order is refused by name."""

from __future__ import annotations

from typing import Any

import pydantic
import pytest
import yaml

import htlnet_tf as htl
from htlnet_tf.errors import InputError
from htlnet_tf.schema import Schema

FEATURES = [{"kind": "categorical", "name": "user_id"}]
TARGETS = [
    {"kind": "binary", "name": "click"},
    {"kind": "multiclass", "name": "stars", "num_classes": 3},
    {"kind": "continuous", "name": "spend"},
]


def declared(ranking: Any, **others: Any) -> Schema:
    return Schema.from_dict({"features": FEATURES, "targets": TARGETS, "ranking": ranking} | others)


def test_yaml_has_weights_and_floors_together() -> None:
    text = "{click: 0.5, stars_2: 0.25, spend: 1.0, floor: {spend: 100}}"
    schema = declared(yaml.safe_load(text))
    assert schema.ranking == htl.Ranking({"click": 0.5, "stars_2": 0.25, "spend": 1.0}, floor={"spend": 100.0})
    assert schema.ranking.to_dict() == yaml.safe_load(text)
    assert Schema.from_dict(yaml.safe_load(schema.to_yaml())) == schema
    assert hash(schema.ranking) == hash(schema.ranking)
    assert htl.Ranking({"click": 1, "spend": 0}).factors == (("click", 1.0, 0.0),)  # what has no weight is no factor


def test_the_score_is_the_last_output() -> None:
    assert list(declared({"click": 1}).outputs) == ["click", "stars", "spend", "score"]
    assert declared({"click": 1}).score_columns[-1] == "score"
    assert list(declared(None).outputs) == ["click", "stars", "spend"]
    assert "ranking" not in declared(None).to_dict()


def test_other_weights_are_another_schema_of_the_same_columns() -> None:
    first, second = declared({"click": 1}), declared({"spend": 1})
    assert first.with_outputs_of(second) == second
    assert first.with_outputs_of(declared(None)).ranking is None


@pytest.mark.parametrize(
    ("ranking", "message"),
    [
        ({}, "at least one weight must not be 0"),
        ({"click": 0.0}, "at least one weight must not be 0"),
        ({"clicks": 1}, r"no prediction 'clicks'; there are \['click', 'stars_0', 'stars_1', 'stars_2', 'spend'\]"),
        ({"stars": 1}, "no prediction 'stars'"),
        ({"click": "much"}, "ranking.weights.click: .*valid number"),
        ({"click": True}, "'click' must be a number, received True"),
        ({"click": float("inf")}, "finite"),
        ({"click": float("nan")}, "finite"),
        ({"click": 1e4}, "the weight of 'click' must be within -1000 and 1000"),
        ({"click": -1}, "'click' has the weight -1: below 0 it needs a floor above 0"),
        ({"click": -1, "floor": {"click": 0}}, "below 0 it needs a floor above 0"),
        ({"click": 1, "floor": {"spend": 1}}, "'spend' has a floor but no weight"),
        ({"click": 1, "floor": {"click": -1}}, "floor of 'click' must not be negative"),
        ({"click": 1, "floor": 0.5}, "A target of that name cannot be ranked by"),
        ([1], "dictionary"),
    ],
)
def test_what_is_no_order_is_refused(ranking: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        declared(ranking)


def test_a_negative_weight_with_a_floor_is_taken() -> None:
    assert declared({"click": -1, "floor": {"click": 0.01}}).ranking is not None


def test_a_number_below_zero_has_no_powers() -> None:
    targets = [TARGETS[0], {"kind": "continuous", "name": "profit", "non_negative": False}]
    with pytest.raises(InputError, match=r"'profit' may be negative, .* give it a floor above 0"):
        declared({"profit": 1}, targets=targets)
    assert declared({"profit": 1, "floor": {"profit": 0.5}}, targets=targets).ranking is not None
    assert declared({"click": 1, "profit": 0}, targets=targets).ranking is not None


@pytest.mark.parametrize("name", ["score", "Score", "index"])
def test_names_that_a_ranking_gives_out_are_its_own(name: str) -> None:
    targets = [{"kind": "binary", "name": name}, TARGETS[2]]
    with pytest.raises(InputError, match=f"with a ranking, '{name}' is an output of its own"):
        declared({"spend": 1}, targets=targets)
    assert declared(None, targets=targets).ranking is None
    renamed = [{"kind": "binary", "name": "liked", "column": name}, TARGETS[2]]
    assert declared({"liked": 1}, targets=renamed).target("liked").source == name


def test_a_target_called_floor_cannot_be_ranked_by() -> None:
    with pytest.raises(pydantic.ValidationError, match="a target called 'floor' cannot be ranked by"):
        htl.Ranking({"floor": 1.0})
    targets = [{"kind": "binary", "name": "floor"}, TARGETS[2]]
    assert declared({"spend": 1}, targets=targets).ranking is not None


@pytest.mark.parametrize("name", ["k", "K"])
def test_a_column_called_k_would_be_the_number_of_candidates(name: str) -> None:
    features = [{"kind": "categorical", "name": name}]
    with pytest.raises(InputError, match="with a ranking, 'k' is how many candidates are asked for"):
        declared({"spend": 1}, features=features)
    declared(None, features=features)
    declared({"spend": 1}, features=[{"kind": "categorical", "name": "kind", "column": name}])
