"""Passes over the rows of a dataset: the order of each is a function of a seed and its number, and of nothing else."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import tensorflow as tf


class Pass(NamedTuple):
    """A pass that begins.

    Attributes:
      number: Of the pass, from 0.
      first: The batch that it begins with; those before it are left out.
      filled: Whether the batches that are left out follow at its end, so that it has its usual number of them.
    """

    number: int
    first: int
    filled: bool


class Passes:
    """Counts the passes that a dataset makes, and lets it begin anywhere.

    A dataset asks, each time that it is iterated, which pass this is. So no order depends on state that iterators of
    TensorFlow hide, and a training that was stopped goes on with the very rows that it had before it.

    Args:
      seed: Of the orders; None: drawn from TensorFlow's global one.
      num_batches: In a pass; None: it will be told.
    """

    def __init__(self, seed: int | None, num_batches: int | None = None) -> None:
        if seed is None:
            seed = int(tf.random.uniform([], maxval=2**62, dtype=tf.int64))
        self.seed = seed
        self._num_batches = num_batches
        self._lengths: dict[int, int] = {}
        self._next = Pass(0, 0, False)
        self._lock = threading.Lock()

    def begin(self) -> Pass:
        """The pass that begins now; the next one will be the one after it, from its first batch on."""
        with self._lock:
            begun = self._next
            self._next = Pass(begun.number + 1, 0, False)
        return begun

    @property
    def upcoming(self) -> Pass:
        """The pass that begins next."""
        return self._next

    def start_at(self, number: int, batch: int = 0, *, filled: bool = False) -> None:
        """Lets the next pass be that one.

        Args:
          number: Of the pass.
          batch: That it begins with, less than there are in it.
          filled: As for `Pass`; a stream takes no notice of it.
        """
        with self._lock:
            self._next = Pass(number, batch, filled)

    def tell(self, number: int, num_batches: int) -> None:
        """Notes how many batches a pass has, before its last one can be used."""
        self._lengths[number] = num_batches

    def length(self, number: int) -> int | None:
        """The batches of a pass; None as long as that is not known, of a pass whose end has not come."""
        return self._lengths.get(number, self._num_batches)

    def locate(self, number: int, batch: int, used: int) -> tuple[int, int]:
        """Where passes are that follow one another without a break.

        Args:
          number: The pass where they began.
          batch: The batch in it.
          used: Batches that have been used since.

        Returns:
          The pass and the batch in it that comes next.
        """
        batch += used
        while (length := self.length(number)) is not None and batch >= length:
            number, batch = number + 1, batch - length
        return number, batch

    def entropy(self, number: int) -> np.random.SeedSequence:
        """What the order of a pass is made of."""
        return np.random.SeedSequence([self.seed % 2**64, number])


class _Known(NamedTuple):
    passes: Passes
    unbounded: tf.data.Dataset | None  # None: the dataset itself, which must not be kept alive by this


_DATASETS: WeakKeyDictionary[tf.data.Dataset, _Known] = WeakKeyDictionary()


def remember(dataset: tf.data.Dataset, passes: Passes, unbounded: tf.data.Dataset | None = None) -> tf.data.Dataset:
    """Notes whose passes a dataset makes, for `passes_of`.

    Args:
      dataset: What a user gets.
      passes: Which it asks.
      unbounded: The same without a promise of its length, so that a pass of it may begin in the middle; None: the
        dataset promises none.

    Returns:
      The dataset.
    """
    _DATASETS[dataset] = _Known(passes, unbounded)
    return dataset


def passes_of(dataset: Any) -> Passes | None:
    """The passes of a dataset of `make_dataset`, or of such a one's `repeat()`; None for any other."""
    source = _source(dataset)
    return None if source is None else _DATASETS[source].passes


def without_length(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """A dataset that `passes_of` knows, without a promise of its length, so that it may begin in the middle."""
    source = _source(dataset)
    if source is None:
        raise ValueError("the dataset is none of make_dataset")
    unbounded = _DATASETS[source].unbounded
    if unbounded is None:
        return dataset
    return unbounded if source is dataset else unbounded.repeat()


def _source(dataset: Any) -> tf.data.Dataset | None:
    """The dataset that was remembered: the given one, or what its endless `repeat()` repeats."""
    if not isinstance(dataset, tf.data.Dataset):
        return None
    if dataset in _DATASETS:
        return dataset
    # TensorFlow has no public way to ask what a dataset is made of.
    if type(dataset).__name__ == "_RepeatDataset" and int(dataset.cardinality()) == tf.data.INFINITE_CARDINALITY:
        repeated = dataset._inputs()[0]
        return repeated if repeated in _DATASETS else None
    return None
