"""What a run keeps beside its folder while it is made, so that the same command goes on after a kill."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import yaml

from htlnet_tf import __version__
from htlnet_tf.checkpoints.by_epoch import EpochCheckpoints
from htlnet_tf.checkpoints.callback import Checkpoints
from htlnet_tf.checkpoints.documents import packed, unpacked
from htlnet_tf.checkpoints.folder import CheckpointFolder
from htlnet_tf.checkpoints.state import read_arrays, restore_state, save_state, write_arrays
from htlnet_tf.data.splits import Split
from htlnet_tf.data.stream import Stream
from htlnet_tf.documents import require_same
from htlnet_tf.encoding.encoder import FeatureEncoder
from htlnet_tf.errors import InputError, NonFiniteError, WorkerLostError
from htlnet_tf.files import atomic_file, local_path
from htlnet_tf.manifest import sealed_directory
from htlnet_tf.models.base import MultiTaskModel
from htlnet_tf.runs.config import RunConfig
from htlnet_tf.runs.preparation import Prepared, Write
from htlnet_tf.runs.trained import Trained

_SETTINGS, _TRAINED, _HISTORIES, _FITTED = "run.json", "trained.json", "histories.npz", "fitted"
_REFUSAL = "refusal.json"
_INSTEAD = "--overwrite begins anew"


class Resuming:
    """The checkpoints of one run, in a hidden folder beside the run's, `.{name}.checkpoints`.

    Each network of an ensemble has its own there; one that is trained is kept as it is.

    Args:
      config: Of the run.
      output: The run folder.
      overwrite: Begin anew, whatever is there.
      write: Where the line goes that says where a training goes on.
      writes: False for a process that trains along with the one that keeps all of this.
    """

    def __init__(
        self,
        config: RunConfig,
        output: str | Path,
        *,
        overwrite: bool = False,
        write: Write = print,
        writes: bool = True,
    ) -> None:
        final = local_path(output)
        self.folder = final.parent / f".{final.name}.checkpoints"
        self._config, self._overwrite, self._write, self._writes = config, overwrite, write, writes

    @property
    def settings(self) -> dict[str, Any]:
        """What must be the same for a training to go on, and for processes to train together."""
        return _settings(self._config)

    @contextlib.contextmanager
    def open(self, processes: int = 1) -> Iterator[None]:
        """Holds the folder while the run is made, and leaves nothing there where there is nothing to go on from.

        Args:
          processes: That train together. What one has left for the others to read stays after an error.

        Raises:
          InputError: What is there is of another configuration or version, or another process is at it.
        """
        with CheckpointFolder(self.folder).locked():
            try:
                (self.folder / _REFUSAL).unlink(missing_ok=True)
                if self._overwrite or not self._has_state():
                    self._clear()
                self._require_same(self.settings)
                yield
            except NonFiniteError:
                self._clear()  # going on would lead there again
                raise
            finally:
                if not self._has_state() and (processes == 1 or not (self.folder / _REFUSAL).exists()):
                    shutil.rmtree(self.folder, ignore_errors=True)

    @contextlib.contextmanager
    def told_beside(self, processes: int) -> Iterator[None]:
        """Tells the others of what this process refuses within a step, and whom they miss why.

        A process that stops within a step has left the others in an exchange that never ends; all they see is that it
        is gone. So it leaves a note in the folder.

        Args:
          processes: That train together.

        Raises:
          InputError: By each process, where another one has raised it.
          NonFiniteError: Likewise.
        """
        path = self.folder / _REFUSAL
        try:
            yield
        except (InputError, NonFiniteError) as error:
            if processes > 1 and not path.exists():
                self._leave(path, error)
            raise
        except WorkerLostError as lost:
            if not path.exists():
                raise
            kind, sentence = json.loads(path.read_text(encoding="utf-8"))
            raise (NonFiniteError if kind == NonFiniteError.__name__ else InputError)(sentence) from lost

    def _leave(self, path: Path, error: InputError | NonFiniteError) -> None:
        kind = NonFiniteError if isinstance(error, NonFiniteError) else InputError
        try:
            with atomic_file(path) as partial:
                partial.write_text(json.dumps([kind.__name__, str(error)]), encoding="utf-8")
        except InputError as fault:
            self._write(f"the other workers cannot be told why this one stops: {fault}")

    def _has_state(self) -> bool:
        return any(self.folder.glob("seed_*/**/*.json"))

    def begin(self, prepared: Prepared) -> None:
        """Notes what the run is made of, or checks that it is made of the same as before.

        Raises:
          InputError: The rows are others than before.
        """
        settings = {**self.settings, "rows": _rows(prepared)}
        self._require_same(settings)
        with atomic_file(self.folder / _SETTINGS) as partial:
            partial.write_text(json.dumps(settings), encoding="utf-8")

    def share(self, prepared: Prepared) -> None:
        """Leaves the fitted split and encoder for those that train along."""
        with sealed_directory(self.folder / _FITTED, overwrite=True) as stage:
            prepared.split.to_yaml(stage / "split.yaml")
            prepared.encoder.save(stage / "encoder.json")

    def shared(self) -> tuple[Split, FeatureEncoder]:
        """What `share` has left.

        Raises:
          InputError: It is not there.
        """
        folder = self.folder / _FITTED
        if not folder.is_dir():
            raise InputError(
                f"'{folder}', where the first worker has left its encoder, is not there: the workers of a training "
                "need an --output in a folder that all of them share"
            )
        return Split.from_yaml(folder / "split.yaml"), FeatureEncoder.load(folder / "encoder.json")

    def checkpoints(self, seed: int) -> Checkpoints:
        """The callback for the network with this seed."""
        minutes = self._config.training.checkpoint_minutes
        return Checkpoints(self._member(seed) / "steps", minutes, delete_checkpoint=False, write=self._write)

    def epoch_checkpoints(self, seed: int, early_stopping: tf.keras.callbacks.EarlyStopping | None) -> EpochCheckpoints:
        """As `checkpoints`, of a network that is trained over parameter servers.

        Args:
          seed: Of the network.
          early_stopping: Says which epoch is best; None: the last one.
        """
        return EpochCheckpoints(self._member(seed) / "epochs", early_stopping, write=self._write)

    def keep(self, trained: Trained) -> None:
        """Keeps a network that is trained, in place of its checkpoints; without a warning nothing is lost.

        A disk that is full costs the warning, as with a checkpoint.
        """
        if not self._writes:
            return
        arrays: dict[str, np.ndarray] = {}
        facts = {f.name: getattr(trained, f.name) for f in dataclasses.fields(trained) if f.name != "model"}
        document = packed(facts, arrays)
        try:
            with sealed_directory(self._member(trained.seed) / "trained", overwrite=True) as stage:
                save_state(trained.model, stage)
                write_arrays(stage, arrays.items(), file=_HISTORIES)
                (stage / _TRAINED).write_text(json.dumps(document), encoding="utf-8")
        except (OSError, InputError) as error:
            self._write(f"the trained network could not be kept beside the run, which goes on: {error}")
            return
        CheckpointFolder(self._member(trained.seed) / "steps").remove()

    def trained(self, seed: int, model: MultiTaskModel) -> Trained | None:
        """The network with this seed, if it is trained.

        Args:
          seed: Of the network.
          model: As it was built; gets the state.
        """
        folder = self._member(seed) / "trained"
        if not folder.is_dir():
            return None
        try:
            arrays = dict(read_arrays(folder, file=_HISTORIES))
            facts: dict[str, Any] = unpacked(json.loads((folder / _TRAINED).read_text(encoding="utf-8")), arrays)
            restore_state(model, folder)
            return Trained(model, **facts)
        except (InputError, OSError, ValueError, KeyError, TypeError) as error:
            self._write(f"the network that was trained with seed {seed} cannot be read, and is trained again: {error}")
            return None

    def remove(self) -> None:
        """Removes all of it, once the run folder is there."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _member(self, seed: int) -> Path:
        return self.folder / f"seed_{seed}"

    def _clear(self) -> None:
        for entry in self.folder.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
        (self.folder / _SETTINGS).unlink(missing_ok=True)

    def _require_same(self, settings: dict[str, Any]) -> None:
        path = self.folder / _SETTINGS
        if not path.exists():
            return
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"'{path}' cannot be read ({error}): {_INSTEAD}") from error
        known = {name: before.get(name) for name in settings}
        require_same(self.folder, settings, known, instead=_INSTEAD)


def _settings(config: RunConfig) -> dict[str, Any]:
    """What must be the same for a training to go on: not how often it is kept, who is told, and what comes after it."""
    document = yaml.safe_load(config.to_yaml())
    for name in ("checkpoint_minutes", "mlflow"):
        document["training"].pop(name, None)
    for name in ("drift", "gate", "update"):
        document.pop(name, None)
    return {"htlnet_tf": __version__, "config": json.loads(json.dumps(document, default=str))}


def _rows(prepared: Prepared) -> dict[str, Any]:
    """What tells other rows: how many, in which files, and all that the encoder has counted of them."""
    files = [str(file) for file in prepared.train.source.files] if isinstance(prepared.train, Stream) else None
    return {"sizes": dict(prepared.sizes), "files": files, "encoder": prepared.encoder.digest()}
