"""Checkpoints of one training in a folder: each appears whole, the newest two stay, damaged ones are passed over."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from absl import logging

from htlnet_tf import locks
from htlnet_tf.errors import InputError
from htlnet_tf.manifest import require_intact, sealed_directory

_KEPT = 2
_DOCUMENT, _LOCK = "training.json", ".lock"


class CheckpointFolder:
    """A folder of checkpoints, numbered in the order in which they were made.

    Args:
      path: The folder; it is made when the first checkpoint is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from training with the same checkpoints; goes without where there are no locks.

        Raises:
          InputError: Another process is at it, or the folder cannot be written to.
        """
        descriptor = None
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            descriptor = locks.hold(self.path / _LOCK)
        except BlockingIOError as error:
            raise InputError(f"another process is training with the checkpoints in '{self.path}'") from error
        except locks.NoLocksError:
            pass
        except OSError as error:
            raise InputError(f"cannot write to '{self.path}': {error.strerror or error}") from error
        try:
            yield
        finally:
            if descriptor is not None:
                os.close(descriptor)

    @property
    def upcoming(self) -> int:
        """The number of the next checkpoint."""
        return max(self._numbers(), default=0) + 1

    def checkpoint(self, number: int) -> Path:
        """Where a checkpoint is."""
        return self.path / f"{number:08d}"

    def write(
        self, document: dict[str, Any], write_arrays: Callable[[Path], None], *, keep: Collection[int] = ()
    ) -> None:
        """Writes a checkpoint, and removes all but the newest two.

        Args:
          document: What is not arrays, as JSON.
          write_arrays: Writes the rest into an existing folder.
          keep: Numbers of others that stay.

        Raises:
          OSError: It could not be written; those that are there stay.
          InputError: Likewise.
        """
        with sealed_directory(self.checkpoint(self.upcoming)) as stage:
            write_arrays(stage)
            (stage / _DOCUMENT).write_text(json.dumps(document), encoding="utf-8")
        for old in self._numbers()[:-_KEPT]:
            if old not in keep:
                shutil.rmtree(self.checkpoint(old), ignore_errors=True)

    def read(self, use: Callable[[Path, dict[str, Any]], None]) -> bool:
        """Uses the newest checkpoint that is whole.

        Args:
          use: Is given its folder and its document; raises `InputError` if the folder is damaged.

        Returns:
          Whether there was one. None is whole: a warning has said so.
        """
        numbers = self._numbers()
        for number in reversed(numbers):
            folder = self.checkpoint(number)
            try:
                require_intact(folder)
                use(folder, json.loads((folder / _DOCUMENT).read_text(encoding="utf-8")))
            except RefusedError:
                raise
            except (InputError, OSError, ValueError, KeyError, TypeError) as error:
                logging.warning("the checkpoint '%s' is passed over: %s", folder, error)
            else:
                return True
        if numbers:
            logging.warning("no checkpoint in '%s' could be read: the training begins anew", self.path)
        return False

    def clear(self) -> None:
        """Removes all checkpoints."""
        for number in self._numbers():
            shutil.rmtree(self.checkpoint(number), ignore_errors=True)

    def remove(self) -> None:
        """Removes all checkpoints, and the folder unless something else is in it."""
        self.clear()
        (self.path / _LOCK).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # somebody else's files are in it
            self.path.rmdir()

    def _numbers(self) -> list[int]:
        if not self.path.is_dir():
            return []
        return sorted(int(entry.name) for entry in os.scandir(self.path) if re.fullmatch(r"\d{8}", entry.name))


class RefusedError(InputError):
    """A checkpoint is whole, but of another training."""
