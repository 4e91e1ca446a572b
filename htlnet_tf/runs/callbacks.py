"""What `fit` reports and keeps while it runs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from htlnet_tf.models.progress import headline_metrics
from htlnet_tf.optimizers.schedules import is_scheduled
from htlnet_tf.schema import Schema


class KeepBest(tf.keras.callbacks.EarlyStopping):
    """Early stopping on the validation's relative loss that always ends with the best epoch's weights.

    In the relative loss, see `objectives.metrics.RelativeLoss`, every target counts alike; in the plain sum of the
    losses a core that is not standardised would be all that counts. Keras restores the best weights only where it
    stopped early; a run that used all its epochs would keep the last epoch's.

    Args:
      patience: Epochs without a better validation before training stops.
      keep_weights: False: stop and remember which epoch was best, but leave its weights to who keeps them elsewhere.
    """

    def __init__(self, patience: int = 1, *, keep_weights: bool = True) -> None:
        super().__init__(monitor="val_relative_loss", mode="min", patience=patience, restore_best_weights=keep_weights)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Puts the best weights back."""
        super().on_train_end(logs)
        if self.best_weights is not None:
            self.model.set_weights(self.best_weights)


class TrainingSeconds(tf.keras.callbacks.Callback):
    """Keeps the seconds that each epoch trained, without its validation.

    Attributes:
      seconds: One value per epoch.
    """

    _supports_tf_logs = True
    checkpointed = ("seconds",)

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._read = 0.0

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Starts the clock."""
        self._read = time.monotonic()
        self.seconds.append(0.0)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Reads the clock; after the last batch the value stays."""
        now = time.monotonic()
        self.seconds[-1] += now - self._read
        self._read = now


class EpochSeconds(tf.keras.callbacks.Callback):
    """As `TrainingSeconds`, where workers make steps of their own and nobody is called after each.

    Attributes:
      seconds: One value per epoch.
    """

    checkpointed = ("seconds",)

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._started: float | None = None

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Starts the clock."""
        self._started = time.monotonic()

    def on_test_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Stops it."""
        if self._started is not None:
            self.seconds.append(time.monotonic() - self._started)
            self._started = None

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Stops it, where nothing is validated."""
        self.on_test_begin()


class GradientHistory(tf.keras.callbacks.Callback):
    """Keeps each step's gradient norms, cosines with the core, coefficients and conflicts, as `History` keeps epochs'.

    TensorBoard gets the same per step from `tf.keras.callbacks.TensorBoard(update_freq=1)`.

    Attributes:
      history: By `{target}_gradient_norm`, `..._cosine`, `..._coefficient` and `..._conflict_rate` (here 0 or 1), one
        value per step, NaN for one that was skipped or had a frozen embedding; with `steps_per_execution` = k, of
        every k-th step.
    """

    _supports_tf_logs = True  # the logs are not read, so that Keras need not fetch them for each step
    checkpointed = ("history", "_steps")

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[float]] = {}
        self._steps = 0

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """The statistics start anew."""
        self._steps = 0

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Adds the step just made."""
        statistics = getattr(self.model, "gradient_statistics", None)
        if statistics is None:
            return
        applied = statistics.steps > self._steps
        self._steps = statistics.steps
        for name, value in statistics.last_step().items():
            self.history.setdefault(name, []).append(value if applied else math.nan)


class EpochLines(tf.keras.callbacks.Callback):
    """One line per epoch: plain text that a log file keeps readable.

    Args:
      schema: Says which metrics to show: the validation metric of each target.
      label: Put before each line.
      parts: Keras' epochs in a pass over the training rows; lines count passes.
      write: Where the lines go.
    """

    def __init__(
        self, schema: Schema, label: str = "", *, parts: int = 1, write: Callable[[str], None] = print
    ) -> None:
        super().__init__()
        self._metrics = headline_metrics(schema)
        self._label, self._parts, self._write = label, parts, write
        self._epoch, self._started = 0, 0.0

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Starts the clock."""
        self._epoch, self._started = epoch, time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Sums the epoch up."""
        logs = logs or {}
        shown = [f"{m.replace('_', ' ')} {_number(logs[f'val_{m}'])}" for m in self._metrics if f"val_{m}" in logs]
        relative = f" | validation: relative loss {_number(logs.get('val_relative_loss', math.nan))}"
        validation = f"{relative}, {', '.join(shown)}" if "val_loss" in logs else ""
        seconds = time.monotonic() - self._started
        self._write(
            f"  {self._label}epoch {self._passes(epoch)}/{self._passes(self.params['epochs'] - 1)}: "
            f"{seconds:.0f} s, loss {logs.get('loss', float('nan')):.4f}{self._rate()}{validation}"
        )

    def _rate(self) -> str:
        """The rate of the last step, where it moves."""
        optimizer = self.model.optimizer
        return f", learning rate {float(optimizer.learning_rate):.2g}" if is_scheduled(optimizer) else ""

    def _passes(self, epoch: int) -> str:
        return f"{(epoch + 1) / self._parts:g}"


class ProgressLines(EpochLines):
    """Beside the line per epoch, one every few seconds within it.

    Args:
      schema: As for `EpochLines`, as the following.
      label: Put before each line.
      parts: Keras' epochs in a pass.
      every: Seconds between lines within an epoch.
      write: Where the lines go.
    """

    def __init__(
        self,
        schema: Schema,
        label: str = "",
        *,
        parts: int = 1,
        every: float = 5.0,
        write: Callable[[str], None] = print,
    ) -> None:
        super().__init__(schema, label, parts=parts, write=write)
        self._every, self._spoke = every, 0.0

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Starts the clock."""
        super().on_epoch_begin(epoch, logs)
        self._spoke = self._started

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Says how far the epoch is, every few seconds."""
        now = time.monotonic()
        if now - self._spoke >= self._every:
            self._spoke = now
            steps = self.params.get("steps")
            loss = (logs or {}).get("loss", float("nan"))
            self._write(
                f"  {self._label}epoch {self._passes(self._epoch)}: step {batch + 1}/{steps or '?'}, loss {loss:.4f}"
            )


def _number(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{value:.4f}"
