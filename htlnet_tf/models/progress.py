"""What `fit` and `evaluate` print: of the many numbers that they keep, those that fit into a line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from htlnet_tf.schema import Schema

_METRIC = {"binary": "auc", "multiclass": "accuracy", "continuous": "nrmse"}


def headline_metrics(schema: Schema) -> list[str]:
    """The one metric per target that stands for it where there is little room, by its name in `fit`."""
    return [f"{target.name}_{_METRIC[target.kind]}" for target in schema.targets]


class ShortProgress(tf.keras.callbacks.ProgbarLogger):
    """Keras' progress bar and its lines, with the losses and one metric per target.

    `History`, TensorBoard and what `evaluate` returns have all of them.

    Args:
      schema: Says which metrics to show.
    """

    def __init__(self, schema: Schema) -> None:
        super().__init__(count_mode="steps")
        losses = ["loss", *(f"{target.name}_loss" for target in schema.targets)]
        names = [*losses, *headline_metrics(schema)]
        self._shown = [*names, "skipped_steps", *(f"val_{name}" for name in names), "val_relative_loss"]

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Moves the bar."""
        super().on_train_batch_end(batch, self._short(logs))

    def on_test_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Moves the bar of `evaluate`."""
        super().on_test_batch_end(batch, self._short(logs))

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Prints the line of an epoch."""
        super().on_epoch_end(epoch, self._short(logs))

    def on_test_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Prints the line of `evaluate`."""
        super().on_test_end(self._short(logs))

    def _short(self, logs: Mapping[str, Any] | None) -> dict[str, Any]:
        return {name: logs[name] for name in self._shown if name in logs} if logs else {}


def with_short_progress(schema: Schema, callbacks: Any, verbose: Any) -> Any:
    """The callbacks of a `fit` or an `evaluate`, with `ShortProgress` in place of Keras' own progress bar.

    Args:
      schema: Of the model.
      callbacks: A callback, a list of them or None. Keras' `CallbackList` has its progress bar already, and so has a
        list that the caller has put one into.
      verbose: 0 prints nothing.
    """
    given = as_list(callbacks)
    ready = isinstance(callbacks, tf.keras.callbacks.CallbackList)
    if verbose == 0 or ready or any(isinstance(c, tf.keras.callbacks.ProgbarLogger) for c in given):
        return callbacks
    return [*given, ShortProgress(schema)]


def as_list(callbacks: Any) -> list[Any]:
    """What Keras takes as `callbacks`, as a list: one, several, its `CallbackList`, or None."""
    return list(tf.nest.flatten(getattr(callbacks, "callbacks", callbacks))) if callbacks is not None else []
