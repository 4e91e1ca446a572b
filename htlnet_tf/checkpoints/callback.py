"""The callback that keeps a training, so that the same `fit` goes on after the process was killed."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from htlnet_tf.agreement import refused_together, require_agreement
from htlnet_tf.checkpoints.callback_states import restore_states, stateful, states
from htlnet_tf.checkpoints.documents import packed, unpacked
from htlnet_tf.checkpoints.folder import CheckpointFolder, RefusedError
from htlnet_tf.checkpoints.keeping import Keeping, Start
from htlnet_tf.checkpoints.position import Position
from htlnet_tf.checkpoints.state import named_variables, read_arrays, read_state, restore_state, write_arrays
from htlnet_tf.checkpoints.stops import Stops, kept_back
from htlnet_tf.distribution import is_shared, sums_over_workers, texts_of_workers, worker_number, writes
from htlnet_tf.errors import InputError
from htlnet_tf.files import checkpoint_path

_CALLBACKS = "callbacks.npz"
_CHEAP_SECONDS = 5.0
_STEPS_BETWEEN_MEETINGS = 16
"""Of processes that train together, which must decide alike."""


class Checkpoints(Keeping):
    """Keeps a training in a folder, so that the same `fit` goes on from there after a kill, as if there had been none.

    A checkpoint has the variables of model and optimizer, averaged weights and running metrics among them; the place in
    the rows; the seed of what is drawn in training; and what other callbacks have gathered: Keras' History,
    EarlyStopping, ReduceLROnPlateau and ModelCheckpoint, `KeepBest`, `GradientHistory`, and any that names its
    attributes, numbers, texts, arrays and lists and dicts of them, in an attribute `checkpointed`. It appears by a
    rename; the newest two are kept; a damaged one is passed over with a warning. One that cannot be written, because
    the disk is full say, costs a warning, and training goes on.

    A stop by SIGTERM or Ctrl-C is held back until the step that is under way is complete and a checkpoint is written.

    Where several processes train together, `MultiWorkerMirroredStrategy`, the first one writes, into a folder that all
    of them read from when they begin. A stop is held back until all have come to the same step.

    When `fit` has come to its end, the checkpoints are removed. An error in it leaves them.

    Args:
      folder: Where the checkpoints go, of this training alone; made if need be.
      minutes: Between checkpoints. There is one after each validation too.
      overwrite: Begin anew, whatever is there.
      delete_checkpoint: Remove them when `fit` has come to its end.
      identity: What else must be the same for a checkpoint to be used, as JSON takes it, such as a path of the data.
      write: Where the line goes that says where a training goes on.

    Raises:
      InputError: By `fit`: the checkpoints are of another model, optimizer, version of the package or length of
        training, another process has them, or the rows are no `tf.data.Dataset`.

    Example:
      >>> model.fit(dataset, epochs=10, callbacks=[htl.KeepBest(), htl.Checkpoints("runs/mine.checkpoints")])
    """

    _supports_tf_logs = True  # the logs are not read, so that Keras need not fetch them for each step

    def __init__(
        self,
        folder: str | Path,
        minutes: float = 5.0,
        *,
        overwrite: bool = False,
        delete_checkpoint: bool = True,
        identity: Mapping[str, Any] | None = None,
        write: Callable[[str], None] = print,
    ) -> None:
        super().__init__()
        if minutes < 0:
            raise InputError(f"minutes between checkpoints cannot be negative, received {minutes}")
        self._folder = CheckpointFolder(checkpoint_path(folder))
        self._every = 60.0 * minutes
        self._overwrite, self._delete, self._write = overwrite, delete_checkpoint, write
        self._of_user = dict(identity or {})
        self._identity: dict[str, Any] = {}
        self._others: list[Any] = []
        self._stops = Stops()
        self._strategy = tf.distribute.get_strategy()
        self._position: Position | None = None
        self._epoch = 0
        self._written_at = self._cost = 0.0
        # Of a checkpoint that has been read, until the first epoch has begun.
        self._states: Callable[[], list[dict[str, Any]]] | None = None
        self._metrics: dict[str, np.ndarray] = {}
        self._within_epoch = False

    @contextlib.contextmanager
    def training(self, model: Any, given: Mapping[str, Any], others: Sequence[Any]) -> Iterator[Start]:
        """What `fit` of the models runs in.

        Args:
          model: Compiled; it gets the state of the checkpoint if there is one.
          given: The arguments of `fit` by name.
          others: The callbacks beside this one, in the order in which they are called.

        Yields:
          How to begin.
        """
        self._strategy = model.distribute_strategy
        self._position, self._others = Position(given, self._strategy), list(others)
        self._identity = self._identify(model, given)
        self._states, self._metrics = None, {}
        with contextlib.ExitStack() as held:
            with refused_together(self._strategy):  # nobody reads before its end
                if writes(self._strategy):
                    held.enter_context(self._folder.locked())
                    if self._overwrite:
                        self._folder.clear()
            with refused_together(self._strategy):
                start, used = self._read(model, given)
            require_agreement(
                self._strategy,
                {"the checkpoint to go on from": used},
                remedy=f"'{self._folder.path}' must be a folder that all of them share",
            )
            with kept_back() as self._stops:
                yield start
            if self._delete and writes(self._strategy):
                self._folder.remove()

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Puts back what other callbacks had, which have made themselves ready by now."""
        if self._states is not None:
            restore_states(self._others, self._states())
        self._written_at = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Puts back what the beginning of an epoch has reset, where a training goes on within one."""
        self._epoch = epoch
        if self._states is not None and self._within_epoch:
            restore_states(self._others, self._states())
            variables = named_variables(self.model)
            for name, value in self._metrics.items():
                variables[name].assign(value, read_value=False)
        self._states, self._metrics = None, {}

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Writes a checkpoint if it is time, or if a stop is asked for."""
        if is_shared(self._strategy) and (batch + 1) % _STEPS_BETWEEN_MEETINGS:
            return
        asked = self._stops.asked and self._cost <= _CHEAP_SECONDS
        # One whose own rows have come to an end waits for those of the others.
        possible = self._position is not None and self._position.may_stop_at(self._epoch, batch + 1)
        wishes, possibilities = sums_over_workers(self._strategy, [self._is_due() or asked, possible])
        if wishes and possibilities:
            self._save(self._epoch, batch + 1)
        self._stops.deliver()

    def on_test_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Stops, if that is asked for: in the middle of a validation there is nothing to keep."""
        self._stops.deliver()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Writes a checkpoint after a validation, or if it is time."""
        validated = any(name.startswith("val_") for name in logs or {})
        if validated or sums_over_workers(self._strategy, [self._stops.asked or self._is_due()])[0]:
            self._save(epoch + 1, 0)
        self._stops.deliver()

    def _is_due(self) -> bool:
        return time.monotonic() - self._written_at >= self._every

    def _save(self, epoch: int, batch: int) -> None:
        """Writes a checkpoint of which `fit` goes on behind so many batches of an epoch."""
        begun = time.monotonic()
        arrays: dict[str, np.ndarray] = {}
        assert self._position is not None
        position = self._position.at(epoch, batch)
        document = {
            "identity": self._identity,
            "epoch": epoch,
            "batch": batch,
            "stopped": bool(self.model.stop_training),
            # Of each process, whose passes over rows of its own have lengths of their own.
            "positions": [json.loads(text) for text in texts_of_workers(self._strategy, json.dumps(position))],
            "noise_seed": str(int(self.model.noise_seed.numpy())),
            "callbacks": packed(states(self._others), arrays),
        }

        state = read_state(self.model)

        def write(folder: Path) -> None:
            write_arrays(folder, state)
            write_arrays(folder, arrays.items(), file=_CALLBACKS)

        try:
            if writes(self._strategy):
                self._folder.write(document, write)
        except (OSError, InputError) as error:
            logging.warning("no checkpoint could be written, training goes on: %s", error)
        self._written_at = time.monotonic()
        self._cost = self._written_at - begun

    def _read(self, model: Any, given: Mapping[str, Any]) -> tuple[Start, str]:
        """Puts the newest checkpoint that is whole into the model and the rows; processes exchange nothing in it.

        Returns:
          How to begin, and in words which checkpoint that is from.
        """
        start, used = Start(given.get("x"), 0, None), "none"
        named = named_variables(model)
        counted = {id(variable) for metric in model.metrics for variable in metric.variables}
        metrics = {name for name, variable in named.items() if id(variable) in counted}

        def use(folder: Path, document: dict[str, Any]) -> None:
            nonlocal start, used
            self._require_same(document["identity"])
            arrays = dict(read_arrays(folder, file=_CALLBACKS))
            unpacked(document["callbacks"], arrays)  # which must be possible before anything is changed
            positions = document["positions"]
            # Where all read the same rows, those of one are those of any number.
            position = positions[worker_number(self._strategy) if self._identity.get("workers") else 0]
            self._metrics = restore_state(model, folder, keep=metrics)
            model.noise_seed.assign(int(document["noise_seed"]))
            epoch, batch = document["epoch"], document["batch"]
            epochs, self._within_epoch = given.get("epochs", 1), batch > 0
            # Twice, with lists of their own: callbacks go on filling them.
            self._states = lambda: unpacked(document["callbacks"], arrays)
            if document["stopped"] or epoch >= epochs:
                start = Start(given.get("x"), 0, (epochs, 0))
                where = "at its end"
            else:
                assert self._position is not None
                start = Start(*self._position.go_on(position, epoch, batch), (epoch, batch))
                where = f"in epoch {epoch + 1}/{epochs} behind {batch} batches"
            used = f"{folder.name}, {where}"
            made = datetime.datetime.fromtimestamp(folder.stat().st_mtime).strftime("%Y-%m-%d %H:%M:%S")
            self._write(f"training goes on {where}, from the checkpoint of {made}")

        self._folder.read(use)
        return start, used

    def _identify(self, model: Any, given: Mapping[str, Any]) -> dict[str, Any]:
        """What a checkpoint must have in common with this training."""
        from htlnet_tf import __version__

        assert self._position is not None
        model.make_train_function()
        shapes = [f"{name} {v.dtype.name} {v.shape}" for name, v in named_variables(model).items()]
        identity = {
            "version": __version__,
            "model": type(model).__name__,
            "variables": hashlib.sha256("\n".join(shapes).encode()).hexdigest(),
            "optimizer": _plain(model.optimizer.get_config()),
            "epochs": given.get("epochs", 1),
            "rows": self._position.describe(),
            "callbacks": [type(callback).__name__ for callback in stateful(self._others)],
        }
        if self._position.parts > 1:
            identity["workers"] = self._position.parts
        return {**identity, **_plain(self._of_user)}

    def _require_same(self, kept: Mapping[str, Any]) -> None:
        """Checks that a checkpoint is of this training.

        Raises:
          RefusedError: It is not; names what differs.
        """
        for name in {**kept, **self._identity}:
            there, here = kept.get(name), self._identity.get(name)
            if there != here:
                told = f": {there!r} there, {here!r} here" if len(f"{there!r}{here!r}") < 300 else ""
                raise RefusedError(
                    f"the checkpoints in '{self._folder.path}' are of another training, whose {name} is another{told}; "
                    "overwrite=True (--overwrite) begins anew"
                )


def _plain(value: Any) -> Any:
    """As it will be when it has been written as JSON and read again."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
