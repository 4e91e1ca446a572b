"""One process of `htlnet bench scale`: trains some steps, alone or with others, and writes what it ended with.

Run as `python -m htlnet_tf.benchmarks.scale_worker BATCH STEPS FILE`, with the others' addresses in `TF_CONFIG`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from htlnet_tf.benchmarks.training import benchmark_batches, benchmark_model
from htlnet_tf.distribution import writes

ROWS = 60_000
_WARM_UP = 10
COMPARED_BATCH, COMPARED_STEPS, COMPARED_UNITS = 256, 50, (8,)


class _Steps(tf.keras.callbacks.Callback):
    """When each step has ended."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.ends.append(time.perf_counter())


def main(batch_size: int, steps: int, file: str) -> None:
    """Trains so many steps of the global batch and writes seconds per step; and the weights of a smaller model.

    Weights of the large one cannot be compared. Of its millions of activations some are within rounding of the bend of
    a ReLU, on one side of it here and on the other there, and from then on two trainings are not the same: 2e-3 after
    60 steps, where with softplus in place of ReLU the difference stays at 3e-6.

    Args:
      batch_size: Rows of all processes together.
      steps: How many.
      file: Where the first process writes, `.npz`.
    """
    together = "TF_CONFIG" in os.environ
    strategy = tf.distribute.MultiWorkerMirroredStrategy() if together else tf.distribute.get_strategy()
    timed = _Steps()
    _trained(strategy, batch_size, steps, callbacks=[timed])
    compared = _trained(strategy, COMPARED_BATCH, COMPARED_STEPS, tower_units=COMPARED_UNITS)
    if writes(strategy):
        weights = {str(i): variable.numpy() for i, variable in enumerate(compared.trainable_variables)}
        np.savez(file, seconds=np.diff(timed.ends)[_WARM_UP:], **weights)


def _trained(
    strategy: tf.distribute.Strategy, batch_size: int, steps: int, *, callbacks: Sequence[Any] = (), **options: Any
) -> Any:
    with strategy.scope():
        model = benchmark_model(ROWS, **options)
        model.noise_seed.assign(7)
    batches = benchmark_batches(model, batch_size)
    rows = tf.nest.map_structure(lambda *parts: tf.concat(parts, axis=0), *batches)
    sharded = tf.data.Options()
    sharded.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    dataset = tf.data.Dataset.from_tensor_slices(rows).batch(batch_size).repeat().with_options(sharded)
    model.level_rows = dataset.take(1)
    model.fit(dataset, steps_per_epoch=steps, epochs=1, callbacks=list(callbacks), verbose=0)
    return model


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
