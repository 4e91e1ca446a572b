"""The base of the adjustments, and what they are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Union

import tensorflow as tf
from typing_extensions import Self

from htlnet_tf.distribution import OWN_STATE

GramFunction = Callable[[tf.Tensor], tf.Tensor]
Number = Union[float, tf.keras.optimizers.schedules.LearningRateSchedule]


class Adjustment(tf.Module):
    """Base of the adjustments here: called with the Gram matrix, configured by plain arguments.

    Which target plays the core's part is the model's to say (its argument `core`): `__call__` sees that one last.

    One that keeps state (a schedule's step, moving averages) belongs to one model; give each model its own.

    Args:
      name: Of the module.
    """

    #: Constructor arguments that `get_config` returns.
    arguments: tuple[str, ...] = ()

    def __init__(self, name: str) -> None:
        super().__init__(name=name)

    def build(self, tasks: int) -> None:
        """Makes the variables that it keeps, if it keeps any, unless they are there.

        Args:
          tasks: T.
        """

    def __call__(self, gram: tf.Tensor) -> tf.Tensor:
        """Returns the coefficients, float32 [T], for a Gram matrix, float32 [T, T], the core last."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """The arguments, for `from_config`; schedules in Keras' serialized form."""
        return {name: _serialize(getattr(self, name)) for name in self.arguments}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Builds the adjustment from its arguments."""
        return cls(**{name: _deserialize(value) for name, value in config.items()})


def local_variable(value: tf.Tensor) -> tf.Variable:
    """State of an adjustment; under tf.distribute each replica keeps its own, and all see the same Gram matrices."""
    return tf.Variable(value, **OWN_STATE)


def _serialize(value: Number) -> Any:
    return tf.keras.optimizers.schedules.serialize(value) if callable(value) else value


def _deserialize(value: Any) -> Any:
    return tf.keras.optimizers.schedules.deserialize(value) if isinstance(value, dict) else value
