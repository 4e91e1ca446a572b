"""Random numbers of a training step: a function of a seed, the step and the place in it where they are drawn.

Operations that keep the state of their generator to themselves, such as `tf.random.uniform`, draw other numbers in a
training that was stopped and goes on. These draw the same.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import tensorflow as tf

from htlnet_tf.distribution import replica_number

_PLACES = 2**20
"""Distance of one replica's seeds from the next one's; more than there are places in a step."""


@dataclasses.dataclass
class _Step:
    seed: Any
    step: Any
    places: int = 0


# Each replica traces its step in a thread of its own, which begins without any.
_CURRENT: ContextVar[_Step | None] = ContextVar("_CURRENT", default=None)


@contextlib.contextmanager
def of_step(seed: tf.Tensor | tf.Variable, step: tf.Tensor | tf.Variable) -> Iterator[None]:
    """What is drawn within is drawn for a step.

    Args:
      seed: int64 scalar.
      step: Its number, int64 scalar.
    """
    token = _CURRENT.set(_Step(seed, step))
    try:
        yield
    finally:
        _CURRENT.reset(token)


def uniform(shape: tf.Tensor | list[int], *, minval: float = 0.0, maxval: float = 1.0) -> tf.Tensor:
    """Uniform in [minval, maxval), float32; outside of a step as `tf.random.uniform` draws them.

    Args:
      shape: int32 [R], or numbers.
      minval: The least.
      maxval: Above the largest.
    """
    current = _CURRENT.get()
    if current is None:
        return tf.random.uniform(shape, minval, maxval)
    place = current.places + replica_number() * _PLACES
    current.places += 1
    seed = tf.stack([tf.cast(current.seed, tf.int64) + tf.cast(place, tf.int64), tf.cast(current.step, tf.int64)])
    return tf.random.stateless_uniform(shape, seed, minval, maxval)
