"""Where a `fit` is in its rows, and how another one goes on from there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from absl import logging

from htlnet_tf.data.stream import READ_ONCE
from htlnet_tf.distribution import input_workers
from htlnet_tf.encoding.passes import passes_of, without_length
from htlnet_tf.errors import InputError


class Position:
    """The rows of one `fit`, from its first epoch on.

    Rows of `make_dataset`, also with an endless `repeat()` behind it, begin anywhere. Other datasets are read again
    from their beginning, and what has been used of them is dropped; the rows are then those that were next if the
    dataset's orders depend on its seeds alone.

    Where several workers each read rows of their own, TensorFlow divides every batch of theirs among all of them as if
    it were the global one; so a batch of the dataset is as many of `fit` as there are workers, here called its parts.

    Args:
      given: The arguments of `fit` by name.
      strategy: Of the model.

    Raises:
      InputError: The rows are no `tf.data.Dataset`, or one that can be read once only.
    """

    def __init__(self, given: Mapping[str, Any], strategy: tf.distribute.Strategy | None = None) -> None:
        rows = given.get("x")
        if not isinstance(rows, tf.data.Dataset):
            raise InputError(
                "Checkpoints need rows that can begin in the middle, a tf.data.Dataset such as that of "
                f"`htlnet_tf.data.make_dataset`; received {type(rows).__name__}"
            )
        if getattr(rows, READ_ONCE, False):
            raise InputError(
                "Checkpoints need rows that can be read again; those of an iterator are gone once they were read: give "
                "`htlnet_tf.data.stream_batches` a function that makes a new iterator"
            )
        self._rows, self._steps = rows, given.get("steps_per_epoch")
        self._passes = passes_of(self._rows)
        self.parts = 1 if strategy is None else parts_of_a_batch(self._rows, strategy)
        cardinality = int(self._rows.cardinality())
        self._length = cardinality if cardinality >= 0 else None
        # Keras goes on with one iterator over all epochs where it is told of other steps than the rows have.
        self._continuous = self._steps is not None and self._steps != self._length
        self._first = (given.get("initial_epoch", 0), 0)
        # A pass, and a part in it.
        upcoming = None if self._passes is None else self._passes.upcoming
        self._began = (0, 0) if upcoming is None else (upcoming.number, upcoming.first * self.parts)

    def describe(self) -> dict[str, Any]:
        """What another `fit` must have in common to go on."""
        return {"batches": self._length, "steps_per_epoch": self._steps, "initial_epoch": self._first[0]}

    def may_stop_at(self, epoch: int, batch: int) -> bool:
        """Whether a `fit` can go on from behind so many batches of an epoch.

        Keras makes no epoch without a step: it cannot from an epoch's end before its validation, or where it may be.
        """
        limit = self._steps or self._length
        if limit is None:
            if self._passes is None:
                return batch == 0
            length = self._passes.length(self._place(epoch, batch)[0])
            limit = None if length is None else length * self.parts
        return limit is None or batch < limit

    def at(self, epoch: int, batch: int) -> dict[str, Any]:
        """The position behind so many batches of an epoch, for `go_on`."""
        if self._passes is None:
            return {}
        number, part = self._place(epoch, batch)
        first, parts_used = divmod(part, self.parts)
        return {"seed": str(self._passes.seed), "pass": number, "batch": first, "parts_used": parts_used}

    def go_on(self, kept: Mapping[str, Any], epoch: int, batch: int) -> tuple[tf.data.Dataset, int]:
        """Lets the rows begin at a position.

        Args:
          kept: What `at` gave in a `fit` with the same arguments.
          epoch: As for `at`, as the following.
          batch: The batch in it.

        Returns:
          The rows for `fit`, and how many of the first batches that it gets of them are to be dropped.
        """
        initial = self._first[0]
        self._first = (epoch, batch)
        if self._passes is not None:
            number, first, parts_used = (int(kept[name]) for name in ("pass", "batch", "parts_used"))
            self._began = (number, first * self.parts + parts_used)
            self._passes.seed = int(kept["seed"])
            self._passes.start_at(number, first, filled=not self._continuous)
            return (without_length(self._rows) if self._continuous else self._rows), parts_used
        logging.warning("the rows are of no make_dataset: what has been used of them is read again, and dropped")
        if self._continuous:
            return self._rows, (epoch - initial) * self._steps + batch
        for _ in range(epoch - initial):
            for _ in self._rows:
                pass
        return self._rows, batch

    def _place(self, epoch: int, batch: int) -> tuple[int, int]:
        """The pass, and the part in it that comes next."""
        number, first = self._began
        if not self._continuous:
            return number + epoch - self._first[0], batch
        used = (epoch - self._first[0]) * self._steps + batch - self._first[1]
        assert self._passes is not None
        batches, parts_used = divmod(first + used, self.parts)
        number, batch = self._passes.locate(number, 0, batches)
        return number, batch * self.parts + parts_used


def parts_of_a_batch(rows: tf.data.Dataset, strategy: tf.distribute.Strategy) -> int:
    """Batches of `fit` that one of a dataset becomes, see `Position`; 1 unless each worker has rows of its own."""
    policy = rows.options().experimental_distribute.auto_shard_policy
    return input_workers(strategy) if policy == tf.data.experimental.AutoShardPolicy.OFF else 1
