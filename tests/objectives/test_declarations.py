"""What a schema says of an objective, and what it may not say."""

from __future__ import annotations

from typing import Any

import pydantic
import pytest

import htlnet_tf as htl
from htlnet_tf.errors import InputError
from htlnet_tf.objectives import OBJECTIVES, Objective, Ordinal, Poisson, Quantile, Squared, Tweedie, declared
from htlnet_tf.runs.config import DataConfig, RunConfig


def _document(**core: Any) -> dict[str, Any]:
    return {
        "features": [{"kind": "categorical", "name": "user_id"}],
        "targets": [{"kind": "binary", "name": "click"}, {"kind": "continuous", "name": "spend", **core}],
    }


def _read(**core: Any) -> htl.Continuous:
    return htl.Schema.from_dict(_document(**core), source="schema.yaml").core


@pytest.mark.parametrize(
    ("declaration", "objective"),
    [
        ("tweedie", Tweedie()),
        ({"name": "tweedie", "power": 1.2}, Tweedie(power=1.2)),
        ({"name": "ordinal", "num_bins": 8, "monotonicity": 0.5}, Ordinal(num_bins=8, monotonicity=0.5)),
        ({"name": "quantile", "levels": [0.1, 0.9]}, Quantile(levels=(0.1, 0.9))),
        (Tweedie(power=1.7), Tweedie(power=1.7)),
        *((name, kind()) for name, kind in OBJECTIVES.items()),
    ],
    ids=str,
)
def test_an_objective_is_a_name_or_a_mapping_or_itself(declaration: Any, objective: Objective, tmp_path: Any) -> None:
    assert _read(objective=declaration).objective == objective
    assert htl.Continuous("spend", objective=declaration).learned_by == objective
    schema = htl.Schema.from_dict(_document(objective=declaration))
    schema.to_yaml(tmp_path / "schema.yaml")
    assert htl.Schema.from_yaml(tmp_path / "schema.yaml") == schema


def test_a_declaration_is_as_short_as_it_can_be() -> None:
    assert declared(Tweedie()) == "tweedie" and declared(Tweedie(power=1.5)) == "tweedie"
    assert declared(Tweedie(power=1.2)) == {"name": "tweedie", "power": 1.2}
    assert declared(Quantile(levels=(0.1, 0.9))) == {"name": "quantile", "levels": [0.1, 0.9]}
    assert "objective" not in htl.Schema.from_dict(_document()).to_dict()["targets"][1]
    assert _document(objective="tweedie") == htl.Schema.from_dict(_document(objective=Tweedie())).to_dict()
    # What has no default is always said, as of a multiclass target on the page of a run.
    stars = htl.Multiclass("stars", num_classes=4)
    assert declared(stars.learned_by) == {"name": "softmax_cross_entropy", "num_classes": 4}


def test_what_is_learned_by_when_nothing_is_said() -> None:
    assert _read().learned_by == Poisson() and _read().has_level
    assert _read(non_negative=False).learned_by == Squared() and not _read(non_negative=False).has_level
    assert not _read(level=False).has_level


@pytest.mark.parametrize(
    ("core", "message"),
    [
        ({"objective": "twedie"}, "an objective is one of ['squared', 'poisson', "),
        ({"objective": {"power": 1.5}}, "or a mapping with such a name; received {'power': 1.5}"),
        ({"objective": ["tweedie"]}, "received ['tweedie']"),
        ({"objective": {"name": ["tweedie"]}}, "received {'name': ['tweedie']}"),
        (
            {"objective": {"name": "tweedie", "power": 2}},
            "].continuous.objective.power: Input should be less than 2",
        ),
        (
            {"objective": {"name": "tweedie", "power": 1}},
            "].continuous.objective.power: Input should be greater than 1",
        ),
        ({"objective": {"name": "poisson", "power": 1.5}}, "objective.power: there is no such field"),
        ({"objective": {"name": "ordinal", "num_bins": 1}}, "num_bins: Input should be greater than or equal to 2"),
        ({"objective": {"name": "quantile", "levels": [0.9, 0.1]}}, "levels must be at least two increasing numbers"),
        ({"objective": {"name": "quantile", "levels": [0.5]}}, "levels must be at least two increasing numbers"),
        ({"objective": {"name": "quantile", "prediction": "mode"}}, "prediction: Input should be 'mean' or 'median'"),
        (
            {"objective": "tweedie", "non_negative": False},
            "target 'spend' may be negative, and the objective 'tweedie' is for amounts that are not",
        ),
        ({"objective": "log_squared", "level": False}, "target 'spend': the objective 'log_squared' needs its level"),
        ({"level": True, "non_negative": False}, "target 'spend' may be negative, so that its total has no level"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said_in_one_sentence(core: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        _read(**core)
    assert str(caught.value).startswith("schema.yaml: targets[1].continuous")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value) and "pydantic" not in str(caught.value)


def test_a_target_that_is_declared_in_code_is_checked_too() -> None:
    with pytest.raises(pydantic.ValidationError, match="Input should be less than 2"):
        htl.Continuous("spend", objective={"name": "tweedie", "power": 3.0})
    with pytest.raises(pydantic.ValidationError, match="less than 2"):
        Tweedie(power=3.0)


def test_a_configuration_may_say_the_objective() -> None:
    schema = htl.Schema.from_dict(_document())
    config = RunConfig(data=DataConfig("generated"), objective={"name": "tweedie", "power": 1.2})
    assert config.settled(schema).core.objective == Tweedie(power=1.2)
    assert schema.core.objective is None
    config = RunConfig(data=DataConfig("generated"), objective={"name": "tweedie", "power": 2})
    with pytest.raises(InputError, match=r"^target 'spend': objective.power: .* less than 2 \(received 2\)$"):
        config.settled(schema)
    config = RunConfig(data=DataConfig("generated"), objective="ziln")
    with pytest.raises(InputError, match="target 'spend' may be negative, and the objective 'ziln' is for"):
        config.settled(htl.Schema.from_dict(_document(non_negative=False)))
