"""What a call of `fit` is going to do, as far as its arguments tell."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

_KERAS_BATCH = 32


def planned_steps(given: Mapping[str, Any]) -> int | None:
    """Optimizer steps that `fit` makes if nothing stops it earlier.

    Args:
      given: The arguments of `fit` by name.

    Returns:
      Steps of all its epochs; None where the rows do not say how many they are, as a stream does not.
    """
    epochs = given.get("epochs", 1) - given.get("initial_epoch", 0)
    steps, rows = given.get("steps_per_epoch"), given.get("x")
    if steps is None and isinstance(rows, tf.data.Dataset):
        count = int(rows.cardinality())
        steps = count if count >= 0 else None
    elif steps is None and isinstance(rows, Mapping):
        kept = math.floor(len(tf.nest.flatten(rows)[0]) * (1.0 - (given.get("validation_split") or 0.0)))
        steps = math.ceil(kept / (given.get("batch_size") or _KERAS_BATCH))
    return None if steps is None else max(epochs, 0) * int(steps)
