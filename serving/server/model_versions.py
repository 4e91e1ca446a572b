"""The versions of one model: loaded, available, unloaded, ended."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from htlnet_tf.serving.errors import StatusError
from htlnet_tf.serving.server.servables import LoadedVersion

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class VersionStatus:
    """What `/v1/models/NAME` tells about one version.

    Args:
      version: The version.
      state: `"START"`, `"LOADING"`, `"AVAILABLE"`, `"UNLOADING"` or `"END"`.
      error_code: `"OK"`, or the code the load failed with.
      error_message: Why the load failed; empty for `"OK"`.
    """

    version: int
    state: str
    error_code: str
    error_message: str


@dataclass
class _Version:
    """One version that has been wanted at some time. It keeps its entry, with the state END, when it is gone."""

    state: str = "START"
    error_code: str = "OK"
    error_message: str = ""
    servable: LoadedVersion | None = None

    def ended(self) -> None:
        # Called when the last request that had the servable is done, from whichever thread that was.
        self.state = "END"


class ModelVersions:
    """Loads and unloads the versions of one model. What is read is thread-safe; `reconcile` is called by one at a time.

    Args:
      name: Name of the model.
      loader: Loads a version folder.
    """

    def __init__(self, name: str, loader: Callable[[Path], LoadedVersion]) -> None:
        self._name = name
        self._loader = loader
        self._lock = threading.Lock()
        self._versions: dict[int, _Version] = {}

    def available(self) -> list[int]:
        """The versions that answer requests, in no order."""
        with self._lock:
            return [number for number, version in self._versions.items() if version.servable is not None]

    def failed(self) -> list[int]:
        """The versions that did not load and are not tried again, in no order."""
        with self._lock:
            return [number for number, version in self._versions.items() if version.error_code != "OK"]

    def find(self, version: int | None) -> tuple[int, LoadedVersion] | None:
        """Finds a version that answers requests.

        Args:
          version: Version; None for the latest one.

        Returns:
          Its number and the servable, or None.
        """
        with self._lock:
            found = [
                (number, entry.servable)
                for number, entry in self._versions.items()
                if entry.servable is not None and version in (None, number)
            ]
        return max(found, key=lambda pair: pair[0], default=None)

    def statuses(self) -> list[VersionStatus]:
        """The state of every version that has been wanted since the start, the newest first."""
        with self._lock:
            return [
                VersionStatus(number, entry.state, entry.error_code, entry.error_message)
                for number, entry in sorted(self._versions.items(), reverse=True)
            ]

    def reconcile(self, wanted: Mapping[int, Path]) -> None:
        """Loads the versions that are newly wanted and unloads those that are wanted no more.

        An old one goes only when a wanted one is available, or none is wanted. A version that failed to load is never
        tried again. Source: TF Serving, core/availability_preserving_policy.cc.

        Args:
          wanted: Version -> its folder.
        """
        self.load(wanted)
        available = self.available()
        if not wanted or any(number in wanted for number in available):
            for number in available:
                if number not in wanted:
                    self._unload(number)
        if any(version.state == "UNLOADING" for version in self._versions.values()):
            # It may be that no request holds it, and only a cycle of references keeps it from being freed.
            gc.collect()

    def load(self, wanted: Mapping[int, Path]) -> None:
        """Loads the versions that are newly wanted and unloads none: the first half of `reconcile`.

        Args:
          wanted: Version -> its folder.
        """
        for number in sorted(wanted, reverse=True):
            entry = self._versions.get(number) or _Version()
            if entry.servable is None and entry.error_code == "OK" and entry.state in ("START", "END"):
                self._load(number, entry, wanted[number])

    def _load(self, number: int, entry: _Version, folder: Path) -> None:
        entry.state = "LOADING"
        with self._lock:
            self._versions[number] = entry
        try:
            servable = self._loader(folder)
        except StatusError as error:
            self._failed(number, entry, error)
            return
        except Exception as error:
            # A disk that fails, say. It must end this version only, and not keep the other models from being looked at.
            _logger.exception("version %d of model '%s' could not be loaded", number, self._name)
            self._failed(number, entry, StatusError("UNKNOWN", f"{type(error).__name__}: {error}"))
            return
        weakref.finalize(servable, entry.ended).atexit = False
        with self._lock:
            entry.servable, entry.state = servable, "AVAILABLE"
        _logger.info("version %d of model '%s' is available", number, self._name)

    def _failed(self, number: int, entry: _Version, error: StatusError) -> None:
        with self._lock:
            entry.error_code, entry.error_message, entry.state = error.code, error.message, "END"
        message = " ".join(error.message.split())[:300]
        _logger.warning("version %d of model '%s' does not load: %s", number, self._name, message)

    def _unload(self, number: int) -> None:
        entry = self._versions[number]
        with self._lock:
            servable, entry.servable, entry.state = entry.servable, None, "UNLOADING"
        # The last reference: unless a request has one too, the session closes here and the state becomes END.
        del servable
        _logger.info("version %d of model '%s' is served no more", number, self._name)
