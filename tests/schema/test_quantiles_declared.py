"""Quantiles in a schema: what they are called, and what is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

import htlnet_tf as htl
from htlnet_tf.errors import InputError
from htlnet_tf.runs.config import DataConfig, RunConfig


def with_core(schema: htl.Schema, **changes: Any) -> htl.Schema:
    return schema.with_targets((*schema.targets[:-1], dataclasses.replace(schema.core, **changes)))


def test_quantiles_stand_right_behind_their_target(schema: htl.Schema) -> None:
    declared = with_core(schema, objective="ziln", quantiles=(0.025, 0.1, 0.999), conformal=True)
    names = ["click", "buy", "spend", "spend_p2_5", "spend_p10", "spend_p99_9"]
    assert list(declared.outputs) == list(declared.score_columns) == names
    assert declared.exceedance_outputs == {"spend": ("spend", "spend_positive")}
    assert declared.to_dict()["targets"][-1]["quantiles"] == [0.025, 0.1, 0.999]
    assert htl.Schema.from_dict(declared.to_dict()) == declared
    assert not schema.with_quantiles and not schema.exceedance_outputs


@pytest.mark.parametrize("levels", [(0.5, 0.1), (0.5, 0.5), (0.0, 0.5), (0.5, 1.0)])
def test_levels_increase_within_0_and_1(levels: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="target 'spend': quantiles must be increasing levels between 0 and 1"):
        htl.Continuous("spend", objective="ziln", quantiles=levels)


@pytest.mark.parametrize("objective", ["poisson", "tweedie", "squared", "weighted_logistic", "log_squared", None])
def test_an_objective_without_a_distribution_has_no_quantiles(objective: str | None) -> None:
    name = objective or "poisson"
    with pytest.raises(
        ValueError, match=f"'{name}' says the expectation alone .* ziln, gamma_hurdle, ordinal, quantile"
    ):
        htl.Continuous("spend", objective=objective, quantiles=(0.5,))


def test_conformal_needs_quantiles() -> None:
    with pytest.raises(ValueError, match="conformal corrects the levels of quantiles, and none are declared"):
        htl.Continuous("spend", objective="ziln", conformal=True)


def test_names_do_not_clash(schema: htl.Schema) -> None:
    core = dataclasses.replace(schema.core, objective="ziln", quantiles=(0.1,))
    with pytest.raises(ValueError, match="'spend_p10' and 'spend_p10' would have the same name"):
        schema.with_targets((htl.Binary("spend_p10"), core))
    with pytest.raises(ValueError, match=r"'spend\.p10' and 'spend_p10' would have the same name"):
        schema.with_targets((htl.Binary("spend.p10"), core))
    other = htl.Continuous("spend_positive", objective="ziln", quantiles=(0.5,))
    with pytest.raises(ValueError, match="'spend_positive' would have the same name"):
        schema.with_targets((schema.targets[0], other, core))
    features = (*schema.features, htl.Numeric("thresholds"))
    with pytest.raises(ValueError, match="'thresholds' is an input of its own"):
        dataclasses.replace(schema, features=features, targets=(schema.targets[0], core))
    renamed = (*schema.features, htl.Numeric("limits", column="thresholds"))
    assert dataclasses.replace(schema, features=renamed, targets=(schema.targets[0], core)).with_quantiles


def test_an_objective_that_stands_in_is_checked(schema: htl.Schema) -> None:
    declared = with_core(schema, objective="ziln", quantiles=(0.5,))
    config = RunConfig(DataConfig(loader="generic"), objective="ordinal")
    assert config.settled(declared).core.quantiles == (0.5,)
    with pytest.raises(InputError, match=r"target 'spend': .*'poisson' says the expectation alone"):
        dataclasses.replace(config, objective="poisson").settled(declared)
