"""Averaged weights in `fit`: trained without, judged and kept with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from htlnet_tf.models.progress import as_list
from htlnet_tf.optimizers import LazyAdam


class AveragedWeights(tf.keras.callbacks.Callback):
    """Lets the model have its optimizer's averages from the validation on, until the next epoch begins.

    Callbacks that come after it, such as early stopping and checkpoints, find the averages at the end of an epoch. When
    training ends the model keeps them, and a further `fit` goes on from there.

    Args:
      optimizer: Keeps the averages.
    """

    _supports_tf_logs = True

    def __init__(self, optimizer: LazyAdam) -> None:
        super().__init__()
        self._optimizer = optimizer

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Trains on from the weights."""
        self._optimizer.use_averages(False)

    def on_test_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Validates the averages."""
        self._optimizer.use_averages(True)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Keeps the averages, validated or not."""
        self._optimizer.use_averages(True)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """The averages are the weights from now on."""
        self._optimizer.restart_averages()


def with_averaged_weights(optimizer: Any, callbacks: Any) -> Any:
    """The callbacks of a `fit`, with `AveragedWeights` in front of them if the optimizer keeps averages.

    Args:
      optimizer: Of the model.
      callbacks: A callback, a list of them, Keras' `CallbackList`, or None.
    """
    if not (isinstance(optimizer, LazyAdam) and optimizer.use_ema):
        return callbacks
    averaging = AveragedWeights(optimizer)
    if isinstance(callbacks, tf.keras.callbacks.CallbackList):
        averaging.set_model(callbacks.model)
        callbacks.callbacks.insert(0, averaging)
        return callbacks
    return [averaging, *as_list(callbacks)]
