"""Random numbers of a training step: a function of a seed, the step and the place in it where they are drawn.

Operations that keep the state of their generator to themselves, such as `tf.random.uniform`, draw other numbers in a
training that was stopped and goes on. These draw the same; and of a batch that is spread over replicas each row has the
noise that it has where one worker has the whole batch.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import tensorflow as tf

from htlnet_tf.distribution import place_in_batch

_PHILOX = 1
_GROUP = 4
"""Numbers that Philox draws at once, for each count of its counter."""


@dataclasses.dataclass
class _Step:
    seed: Any
    step: Any
    places: int = 0
    first_row: Any = None  # of the global batch, once it is known


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


def uniform(
    shape: tf.Tensor | list[int], *, minval: float = 0.0, maxval: float = 1.0, of_rows: bool = True
) -> tf.Tensor:
    """Uniform in [minval, maxval), float32; outside of a step as `tf.random.uniform` draws them.

    Args:
      shape: int32 [2], or numbers.
      minval: The least.
      maxval: Above the largest.
      of_rows: The first axis are the rows of the batch, or of a replica's part of it. False: every replica draws the
        same.

    References:
      Salmon, Moraes, Dror, Shaw: "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011 (Philox, whose numbers can be
      drawn from any place on).
    """
    current = _CURRENT.get()
    if current is None:
        return tf.random.uniform(shape, minval, maxval)
    seed = tf.stack([tf.cast(current.seed, tf.int64) + current.places, tf.cast(current.step, tf.int64)])
    current.places += 1
    rows, width = tf.unstack(tf.convert_to_tensor(shape))
    # Whole groups for each row, so that a row begins where a count does.
    groups = -(-width // _GROUP)
    key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
    if of_rows:
        if current.first_row is None:
            current.first_row = place_in_batch(rows)
        skipped = current.first_row * tf.cast(groups, tf.int64)
        counter += tf.cast(tf.stack([skipped, tf.zeros_like(skipped)]), counter.dtype)
    drawn = tf.raw_ops.StatelessRandomUniformV2(
        shape=tf.stack([rows, groups * _GROUP]), key=key, counter=counter, alg=_PHILOX
    )
    return minval + drawn[:, :width] * (maxval - minval)
