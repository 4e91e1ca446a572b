"""The models of one MODELS folder: which versions there are, which is the latest, and each loaded at most once."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path

from htlnet_tf.errors import InputError
from htlnet_tf.serving.errors import StatusError
from htlnet_tf.serving.servables import LoadedVersion, version_folders

_logger = logging.getLogger(__name__)


@dataclass
class _Model:
    folders: dict[int, Path]
    loaded: dict[int, LoadedVersion] = field(default_factory=dict)
    failed: dict[int, StatusError] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def load(self, version: int) -> LoadedVersion:
        # One load at a time: two requests for the same new version must not load it twice.
        with self.lock:
            if version in self.failed:
                raise self.failed[version]
            if version not in self.loaded:
                try:
                    self.loaded[version] = LoadedVersion(self.folders[version])
                except StatusError as error:
                    self.failed[version] = error
                    raise
            return self.loaded[version]


@dataclass(frozen=True)
class VersionStatus:
    """What `/v1/models/NAME` tells about one version.

    Args:
      version: The version.
      state: `"AVAILABLE"` or `"END"`.
      error_code: `"OK"`, or the code the load failed with.
      error_message: Why the load failed; empty for `"OK"`.
    """

    version: int
    state: str
    error_code: str
    error_message: str


class ServableStore:
    """Loads and hands out the servables of a MODELS folder.

    The latest version of every model is loaded by `load`, an older one when a request first names it. Thread-safe.
    The folder is read once; versions that appear later are not noticed.

    Args:
      models: Folder with one folder per model name, each with its version folders.

    Raises:
      InputError: The path is not such a folder.
    """

    def __init__(self, models: Path) -> None:
        self._models = {name: _Model(folders) for name, folders in _model_folders(models).items()}

    @property
    def names(self) -> list[str]:
        """The names of the models, sorted."""
        return sorted(self._models)

    def load(self) -> None:
        """Loads the latest version of every model.

        Raises:
          InputError: One of them cannot be loaded.
        """
        for name, model in self._models.items():
            version = max(model.folders)
            try:
                model.load(version)
            except StatusError as error:
                self.close()
                raise InputError(
                    f"the latest version of every model must load, but version {version} of model '{name}' in "
                    f"{model.folders[version]} does not: {_one_line(error.message)}"
                ) from error

    def get(self, name: str, version: int | None = None) -> LoadedVersion:
        """Finds a servable, loading it if no request has named it yet.

        Args:
          name: Model name.
          version: Version; None for the latest.

        Returns:
          The servable.

        Raises:
          StatusError: NOT_FOUND, if there is no such model or version, or its folder cannot be loaded.
        """
        wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
        model = self._models.get(name)
        if model is None or (version is not None and version not in model.folders):
            raise StatusError("NOT_FOUND", f"Servable not found for request: {wanted}")
        try:
            return model.load(max(model.folders) if version is None else version)
        except StatusError as error:
            _logger.warning("version %s of model '%s' cannot be loaded: %s", version, name, _one_line(error.message))
            raise StatusError("NOT_FOUND", f"Servable not found for request: {wanted}") from error

    def latest(self, name: str) -> int:
        """The version that answers when a request names none.

        Args:
          name: Model name.

        Returns:
          The version.

        Raises:
          StatusError: NOT_FOUND, if there is no such model.
        """
        if name not in self._models:
            raise StatusError("NOT_FOUND", f"Servable not found for request: Latest({name})")
        return max(self._models[name].folders)

    def status(self, name: str, version: int | None = None) -> list[VersionStatus]:
        """Tells the state of a model's versions.

        Args:
          name: Model name.
          version: One version; None for all.

        Returns:
          One entry per version, the newest first. A version that a request would load counts as available.

        Raises:
          StatusError: NOT_FOUND, if there is no such model or version.
        """
        model = self._models.get(name)
        if model is None:
            raise StatusError("NOT_FOUND", f"Could not find any versions of model {name}")
        if version is not None and version not in model.folders:
            raise StatusError("NOT_FOUND", f"Could not find version {version} of model {name}")
        versions = sorted(model.folders, reverse=True) if version is None else [version]
        failed = dict(model.failed)
        return [
            VersionStatus(number, "END", failed[number].code, failed[number].message)
            if number in failed
            else VersionStatus(number, "AVAILABLE", "OK", "")
            for number in versions
        ]

    def close(self) -> None:
        """Frees every loaded servable."""
        for model in self._models.values():
            with model.lock:
                for servable in model.loaded.values():
                    servable.close()
                model.loaded.clear()


def _model_folders(models: Path) -> dict[str, dict[int, Path]]:
    rule = "MODELS must be a folder with one folder per model name, each with its version folders"
    try:
        if not models.is_dir():
            found = "is not a folder" if models.exists() else "does not exist"
            raise InputError(f"{rule}, but {models} {found}")
        if (models / "saved_model.pb").exists() or version_folders(models):
            raise InputError(f"{rule}, but {models} is itself a model or a version of one: give the folder above it")
        children = sorted(entry for entry in models.iterdir() if entry.is_dir())
        found_models = {entry.name: version_folders(entry) for entry in children}
    except OSError as error:
        raise InputError(f"{rule}, but {models} cannot be read: {error.strerror or error}") from error
    for name, folders in found_models.items():
        if not folders:
            _logger.warning("%s holds no version folder and is not served", models / name)
    served = {name: folders for name, folders in found_models.items() if folders}
    if not served:
        lack = "none of the folders in it holds a version folder" if children else "it holds no folder"
        raise InputError(f"{rule}, but in {models} there is nothing to serve: {lack}")
    return served


def _one_line(message: str) -> str:
    return " ".join(message.split())[:300]
