"""What a callback that keeps a training and `fit` of the models have to do with one another."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from htlnet_tf.errors import InputError


class Start(NamedTuple):
    """How a `fit` begins.

    Attributes:
      rows: What it reads.
      dropped: How many batches of them it drops first.
      place: The epoch, and the batch in it, that it goes on from; None: it begins at the beginning.
    """

    rows: Any
    dropped: int
    place: tuple[int, int] | None


class Keeping(tf.keras.callbacks.Callback, abc.ABC):
    """A callback that keeps a training, so that the same `fit` goes on after a kill; `fit` runs in what it opens."""

    @abc.abstractmethod
    def training(
        self, model: Any, given: Mapping[str, Any], others: Sequence[Any]
    ) -> contextlib.AbstractContextManager[Start]:
        """What `fit` of the models runs in; it gives how to begin.

        Args:
          model: Compiled; it gets the state that was kept if there is one.
          given: The arguments of `fit` by name.
          others: The callbacks beside this one, in the order in which they are called.
        """


def checkpoints_of(callbacks: Sequence[Any]) -> Keeping | None:
    """The one among the callbacks of a `fit`; None if there is none.

    Raises:
      InputError: There are several.
    """
    found = [callback for callback in callbacks if isinstance(callback, Keeping)]
    if len(found) > 1:
        raise InputError(f"a fit takes one callback Checkpoints, received {len(found)}")
    return found[0] if found else None


def called_last(checkpoints: Keeping, callbacks: Any) -> Any:
    """The callbacks of a `fit`, the checkpoints' last: Keras' History too has gathered what it gathers by then.

    Args:
      checkpoints: Among them.
      callbacks: A callback, a list of them, or Keras' `CallbackList`.
    """
    if isinstance(callbacks, tf.keras.callbacks.CallbackList):
        callbacks.callbacks.remove(checkpoints)
        callbacks.callbacks.append(checkpoints)
        return callbacks
    others = [callback for callback in tf.nest.flatten(callbacks) if callback is not checkpoints]
    if not any(isinstance(callback, tf.keras.callbacks.History) for callback in others):
        others.append(tf.keras.callbacks.History())
    return [*others, checkpoints]
