"""The model of `htlnet bench switch` on a server: versions of two models that are published, labelled and dropped."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from htlnet_tf.benchmarks.tiny import tiny_encoder, tiny_model
from htlnet_tf.errors import InputError
from htlnet_tf.export import export_model, promote, rollback, version_folders
from htlnet_tf.export.models_config import locked_config
from htlnet_tf.serving.clients.model_service_client import ModelServiceClient
from htlnet_tf.serving.errors import RefusedError, ServingError

NAME = "htlnet_bench_switch"
LABEL = "stable"
Move = tuple[float, float, int]
"""A label that was moved: when that began, when it was done, by `time.perf_counter`, and the version that it names."""

_SECONDS = 60.0
_POLL_SECONDS = 0.1


def export_both(folder: Path) -> None:
    """Exports the two models, once: `folder/0/1` and `folder/1/1`. Their scores are those of `models`."""
    for key, model in models().items():
        export_model(model, folder / f"{key}", warmup_rows=(1,))


def models() -> dict[int, Any]:
    """The two models, by what is left of a version's number when it is divided by 2; the same at every call."""
    encoder = tiny_encoder()
    return {key: tiny_model(encoder, seed=key) for key in (0, 1)}


class SwitchedModel:
    """A model of a MODELS folder and of the server that serves it; each method returns once the server has done it.

    Args:
      folder: The MODELS folder.
      exported: What `export_both` has filled.
      server: `host:port` of the server's gRPC port.
      base_path_prefix: Where the server has the MODELS folder.

    Attributes:
      labelled: How the label was moved.
    """

    def __init__(self, folder: Path, exported: Path, server: str, *, base_path_prefix: str) -> None:
        self._folder, self._exported, self._server = folder, exported, server
        self._prefix = base_path_prefix.rstrip("/")
        self._client = ModelServiceClient(server)
        self.labelled: list[Move] = []

    @contextmanager
    def brought_in(self) -> Iterator[None]:
        """Has the server serve versions 1 and 2, the label on 2; and at the end no more, with everything as before.

        Raises:
          InputError: The folder has such a model already.
          ServingError: The server does not take it.
        """
        base = self._folder / NAME
        if base.exists():
            raise InputError(f"'{base}' is what a benchmark has left there that was killed: remove it")
        try:
            for number in (1, 2):
                publish(self._exported, base, number)
            with locked_config(self._folder) as config:
                was_new = config.is_new
                if was_new:  # whoever serves the folder without a file serves all its models
                    names = version_folders.model_names(self._folder)
                    config.add_models({name: f"{self._prefix}/{name}" for name in names if name != NAME})
                config.add_models({NAME: f"{self._prefix}/{NAME}"}, all_versions=True)
                config.write()
                self._client.reload(config.message)
            try:
                for number in (1, 2):
                    self._wait_for(number)
                    self.promote(number)
                yield
            finally:
                with locked_config(self._folder) as config:
                    config.remove_model(NAME)
                    config.write()
                    try:
                        self._client.reload(config.message)
                    finally:
                        if was_new:
                            config.path.unlink()
        finally:
            self._client.close()
            shutil.rmtree(base, ignore_errors=True)

    def publish(self, number: int) -> None:
        """Publishes the next version, and waits until the server has it."""
        publish(self._exported, self._folder / NAME, number)
        self._wait_for(number)

    def promote(self, number: int) -> None:
        """Puts the label on a version."""
        begun = time.perf_counter()
        promote(self._folder, NAME, number, LABEL, self._server, base_path_prefix=self._prefix)
        self.labelled.append((begun, time.perf_counter(), number))

    def rollback(self) -> None:
        """Puts the label back."""
        begun = time.perf_counter()
        moved = rollback(self._folder, NAME, LABEL, self._server)
        self.labelled.append((begun, time.perf_counter(), moved.version))

    def drop(self) -> None:
        """Removes what neither a label nor a rollback needs, as `--keep 1` does, and waits until it is unloaded."""
        with locked_config(self._folder) as config:
            removed = version_folders.remove_old(self._folder / NAME, 1, config.in_use(NAME))
        self._wait(
            lambda states: all(states.get(number, "END") == "END" for number in removed), f"the end of {removed}"
        )

    def _wait_for(self, number: int) -> None:
        self._wait(lambda states: states.get(number) == "AVAILABLE", f"version {number}")

    def _wait(self, reached: Callable[[Mapping[int, str]], bool], what: str) -> None:
        end = time.monotonic() + _SECONDS
        while True:
            try:
                states = {served.version: served.state for served in self._client.status(NAME)}
            except RefusedError as error:
                if error.code != "NOT_FOUND":  # not yet
                    raise
                states = {}
            if reached(states):
                return
            if time.monotonic() > end:
                raise ServingError(f"{self._server}: {what} of '{NAME}' did not come in {_SECONDS:.0f} s; {states}")
            time.sleep(_POLL_SECONDS)


def publish(exported: Path, base: Path, number: int) -> None:
    """Publishes a copy of one of the two models under the next version number, as an export does.

    Raises:
      InputError: The next number is another one.
    """
    with version_folders.staged(base) as stage:
        shutil.copytree(exported / f"{number % 2}" / "1", stage, dirs_exist_ok=True)
        final = version_folders.publish(stage, base)
    if final.name != f"{number}":
        raise InputError(f"'{final}': somebody else exports there; version {number} was to come")
