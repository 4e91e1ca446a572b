"""How targets are learned: an objective per file, by name in the registry.

A new objective is a file with its class, its line here and its test.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

from htlnet_tf.objectives.classes import BinaryCrossEntropy, SoftmaxCrossEntropy
from htlnet_tf.objectives.hurdle import ZILN, GammaHurdle
from htlnet_tf.objectives.log_squared import LogSquared
from htlnet_tf.objectives.objective import Objective, Units
from htlnet_tf.objectives.ordinal import Ordinal
from htlnet_tf.objectives.poisson import Poisson
from htlnet_tf.objectives.quantile import Quantile
from htlnet_tf.objectives.squared import Squared
from htlnet_tf.objectives.tweedie import Tweedie
from htlnet_tf.objectives.weighted_logistic import WeightedLogistic

__all__ = [
    "OBJECTIVES",
    "WITH_DISTRIBUTION",
    "ZILN",
    "BinaryCrossEntropy",
    "GammaHurdle",
    "LogSquared",
    "Objective",
    "Ordinal",
    "Poisson",
    "Quantile",
    "SoftmaxCrossEntropy",
    "Squared",
    "Tweedie",
    "Units",
    "WeightedLogistic",
    "declared",
    "objective_of",
]

OBJECTIVES: dict[str, type[Objective]] = {
    kind.name: kind
    for kind in (Squared, Poisson, Tweedie, WeightedLogistic, ZILN, GammaHurdle, LogSquared, Ordinal, Quantile)
}
"""Of a continuous target, by name."""

WITH_DISTRIBUTION: tuple[str, ...] = tuple(name for name, kind in OBJECTIVES.items() if kind().has_distribution)
"""The names of those that say how an amount is distributed, so that it has quantiles."""


def objective_of(declaration: Any) -> Objective:
    """An objective from what a schema says: itself, its name, or a mapping with its `name` and arguments.

    Raises:
      ValueError: The name is not known, or an argument is not one or breaks a rule.
    """
    if isinstance(declaration, Objective):
        return declaration
    arguments = {"name": declaration} if isinstance(declaration, str) else declaration
    name = arguments.get("name") if isinstance(arguments, Mapping) else None
    if not isinstance(name, str) or name not in OBJECTIVES:
        raise ValueError(
            f"an objective is one of {list(OBJECTIVES)}, or a mapping with such a name; received {declaration!r}"
        )
    return OBJECTIVES[name](**{key: value for key, value in arguments.items() if key != "name"})


def declared(objective: Objective) -> str | dict[str, Any]:
    """What a schema says of an objective: its name, with the arguments that are not at their default."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(type(objective)).parameters.items()}
    given = {
        f.name: list(value) if isinstance(value, tuple) else value
        for f in dataclasses.fields(objective)  # type: ignore[arg-type]
        if (value := getattr(objective, f.name)) != defaults[f.name]
    }
    return {"name": objective.name, **given} if given else objective.name
