"""How the predictions of a row become the one number that candidates are sorted by."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from pydantic import FiniteFloat, field_validator, model_validator
from pydantic.dataclasses import dataclass

from htlnet_tf.schema.names import STRICT

SCORE = "score"
"""The output of a model whose schema declares a ranking."""
FLOOR = "floor"
"""In a document the floors stand under this name, beside the weights."""
_LARGEST = 1000.0


@dataclass(frozen=True, config=STRICT)
class Ranking:
    """A product of powers of a row's predictions, the output `score`.

        score = product over the targets t of max(prediction_t, floor_t) ** weight_t

    Only the ratios of the weights count for the order of candidates. In a document weights and floors stand together:
    `ranking: {click: 0.5, watch_time: 1.0, floor: {watch_time: 100}}`.

    Args:
      weights: By the name of a binary or continuous target, or `{name}_{k}` for class k of a multiclass one, the
        exponent. At least one is not 0; one below 0, which prefers rows of which less is predicted, needs a floor.
      floor: By such a name, the least that a prediction counts as, in its unit; 0 if it is not named. An amount that
        may be negative needs one above 0, for a negative number has no powers.

    Example:
      >>> htl.Ranking({"click": 0.5, "watch_time": 1.0}, floor={"watch_time": 100.0})

    Raises:
      pydantic.ValidationError: A rule is broken; the message names the target.
    """

    weights: Mapping[str, FiniteFloat] = dataclasses.field(hash=False)
    floor: Mapping[str, FiniteFloat] = dataclasses.field(default_factory=dict, hash=False)

    @model_validator(mode="before")
    @classmethod
    def _of_a_document(cls, declaration: Any) -> Any:
        if not isinstance(declaration, Mapping):
            return declaration  # the arguments of a call
        floor = declaration.get(FLOOR, {})
        if not isinstance(floor, Mapping):
            raise ValueError(
                f"'{FLOOR}' holds the least that each prediction counts as, {{target: number}}; received {floor!r}. A "
                f"target of that name cannot be ranked by: call it otherwise, its `column` says where it stands"
            )
        return {"weights": {name: weight for name, weight in declaration.items() if name != FLOOR}, "floor": floor}

    @field_validator("weights", "floor", mode="before")
    @classmethod
    def _has_numbers(cls, numbers: Any) -> Any:
        # YAML's `yes` would count as 1.
        for name, number in numbers.items() if isinstance(numbers, Mapping) else ():
            if isinstance(number, bool):
                raise ValueError(f"'{name}' must be a number, received {number}")
        return numbers

    @model_validator(mode="after")
    def _is_an_order(self) -> Ranking:
        if FLOOR in self.weights:
            raise ValueError(f"a target called '{FLOOR}' cannot be ranked by: call it otherwise")
        if not any(self.weights.values()):
            raise ValueError(f"at least one weight must not be 0; received {dict(self.weights)}")
        for name, least in self.floor.items():
            if name not in self.weights:
                raise ValueError(f"'{name}' has a floor but no weight; there are weights of {list(self.weights)}")
            if least < 0:
                raise ValueError(f"the floor of '{name}' must not be negative, received {least:g}")
        for name, weight in self.weights.items():
            if abs(weight) > _LARGEST:  # nothing but the bounds of a score would be left of any prediction
                raise ValueError(f"the weight of '{name}' must be within -{_LARGEST:g} and {_LARGEST:g}: {weight:g}")
            if weight < 0 and not self.floor.get(name):
                raise ValueError(
                    f"'{name}' has the weight {weight:g}: below 0 it needs a floor above 0, or a prediction of 0 would "
                    "have an infinite score"
                )
        return self

    @property
    def factors(self) -> tuple[tuple[str, float, float], ...]:
        """Name, weight and floor of what is multiplied; without weights of 0."""
        return tuple((name, weight, self.floor.get(name, 0.0)) for name, weight in self.weights.items() if weight)

    def to_dict(self) -> dict[str, Any]:
        """As a document has it."""
        return {**self.weights, **({FLOOR: dict(self.floor)} if self.floor else {})}
