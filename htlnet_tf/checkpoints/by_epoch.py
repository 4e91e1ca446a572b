"""The callback that keeps a training over parameter servers, at the ends of epochs: there its steps have an order."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from htlnet_tf.agreement import first_line
from htlnet_tf.checkpoints.callback_states import restore_states, states
from htlnet_tf.checkpoints.documents import packed, unpacked
from htlnet_tf.checkpoints.folder import CheckpointFolder
from htlnet_tf.checkpoints.keeping import Keeping, Start
from htlnet_tf.checkpoints.state import read_arrays, write_arrays
from htlnet_tf.errors import InputError
from htlnet_tf.files import checkpoint_path

_CALLBACKS, _WEIGHTS = "callbacks.npz", "weights"
_NOT_WRITTEN = (
    tf.errors.DataLossError,
    tf.errors.FailedPreconditionError,
    tf.errors.NotFoundError,
    tf.errors.PermissionDeniedError,
    tf.errors.ResourceExhaustedError,
    tf.errors.UnknownError,
)


class EpochCheckpoints(Keeping):
    """Keeps a training in a folder after each epoch, so that the same `fit` goes on behind the last one after a kill.

    Each server writes its part of tables and moments, so that the folder must be one that all of them reach by its
    path. Beside the newest two the checkpoint with the best weights stays, and whoever called `fit` reads it there:
    the tables are never put together on the way. One that cannot be written therefore ends the training.

    What one `fit` has in common with another to go on is for the caller to check.

    Args:
      folder: Where the checkpoints go, of this training alone; made if need be.
      early_stopping: Says which epoch is best, a callback of the same `fit`; None: the last one is.
      write: Where the line goes that says where a training goes on.
    """

    def __init__(
        self,
        folder: str | Path,
        early_stopping: tf.keras.callbacks.EarlyStopping | None = None,
        *,
        write: Callable[[str], None] = print,
    ) -> None:
        super().__init__()
        self._folder = CheckpointFolder(checkpoint_path(folder).absolute())
        self._early_stopping, self._write = early_stopping, write
        self._others: list[Any] = []
        self._states: list[dict[str, Any]] | None = None
        self._best: int | None = None

    @property
    def upcoming(self) -> int:
        """The number of the next checkpoint, from 1."""
        return self._folder.upcoming

    @property
    def best_weights(self) -> Path:
        """Where the weights are that the training ends with, as `load_weights` takes it."""
        if self._best is None:
            raise InputError(f"there is no checkpoint in '{self._folder.path}'")
        return _weights(self._folder.checkpoint(self._best))

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
        self._others, self._states, self._best = list(others), None, None
        with self._folder.locked():
            yield self._read(model, given)

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Puts back what other callbacks had, which have made themselves ready by now."""
        if self._states is not None:
            restore_states(self._others, self._states)
            self._states = None

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Writes a checkpoint: all workers have ended their steps.

        Raises:
          InputError: It cannot be written.
        """
        number = self._folder.upcoming
        best = self._early_stopping.best_epoch if self._early_stopping is not None and self._best else epoch
        if best == epoch:
            self._best = number
        arrays: dict[str, np.ndarray] = {}
        document = {
            "epoch": epoch + 1,
            "best": self._best,
            "stopped": bool(self.model.stop_training),
            "noise_seed": str(int(self.model.noise_seed.numpy())),
            "callbacks": packed(states(self._others), arrays),
        }

        def write(folder: Path) -> None:
            write_arrays(folder, arrays.items(), file=_CALLBACKS)
            self.model.save_weights(str(_weights(folder)))

        try:
            self._folder.write(document, write, keep=(number if self._best is None else self._best,))
        except (OSError, *_NOT_WRITTEN) as error:
            fault = first_line(error) if isinstance(error, tf.errors.OpError) else error.strerror
            raise InputError(
                f"no checkpoint could be written to '{self._folder.path}', which the coordinator and all parameter "
                f"servers must reach by this path: {fault}"
            ) from error

    def _read(self, model: Any, given: Mapping[str, Any]) -> Start:
        """Puts the newest checkpoint that is whole into the model."""
        start = Start(given.get("x"), 0, None)

        def use(folder: Path, document: dict[str, Any]) -> None:
            nonlocal start
            arrays = dict(read_arrays(folder, file=_CALLBACKS))
            kept = unpacked(document["callbacks"], arrays)
            epochs, epoch, best = given.get("epochs", 1), int(document["epoch"]), int(document["best"])
            if not _weights(self._folder.checkpoint(best)).with_suffix(".index").is_file():
                raise InputError(f"the best weights, those of checkpoint {best}, are missing")
            read_weights(model, _weights(folder))
            model.noise_seed.assign(int(document["noise_seed"]))
            self._states, self._best = kept, best
            ended = document["stopped"] or epoch >= epochs
            start = Start(given.get("x"), 0, (epochs if ended else epoch, 0))
            where = "at its end" if ended else f"with epoch {epoch + 1}/{epochs}"
            made = datetime.datetime.fromtimestamp(folder.stat().st_mtime).strftime("%Y-%m-%d %H:%M:%S")
            self._write(f"training goes on {where}, from the checkpoint of {made}")

        with model.distribute_strategy.scope():
            model.make_state()
        self._folder.read(use)
        return start


def read_weights(model: Any, path: str | Path) -> None:
    """Reads what `save_weights` wrote under a strategy, with tables in shards or whole.

    Args:
      model: Of the same kind and size; of its optimizer those slots are read that are made.
      path: The prefix of the files.

    Raises:
      InputError: The files are missing, damaged or of another model.
    """
    try:
        model.load_weights(str(path)).assert_existing_objects_matched().expect_partial()
    except (AssertionError, ValueError, tf.errors.NotFoundError, tf.errors.DataLossError) as error:
        told = first_line(error) if isinstance(error, tf.errors.OpError) else str(error)[:200]
        raise InputError(f"the weights '{path}' are missing, damaged or of another model: {told}") from error


def _weights(checkpoint: Path) -> Path:
    return checkpoint / _WEIGHTS / "model"
