"""The models of one MODELS folder: which of their versions are served, loaded and unloaded as the folders change."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tensorflow_serving.config.model_server_config_pb2 import ModelConfig, ModelServerConfig

from htlnet_tf.errors import InputError
from htlnet_tf.serving.errors import StatusError, invalid_argument
from htlnet_tf.serving.server.model_config import check_model_config, config_of_folders, model_folder, served_folders
from htlnet_tf.serving.server.model_versions import ModelVersions, VersionStatus
from htlnet_tf.serving.server.servables import LoadedVersion
from htlnet_tf.serving.server.version_folders import version_folders
from htlnet_tf.serving.server.version_policy import wanted_versions

_logger = logging.getLogger(__name__)


@dataclass
class _Model:
    config: ModelConfig
    versions: ModelVersions
    complaint: str = ""


@dataclass(frozen=True)
class ResolvedVersion:
    """The servable that answers a request. While it is held the servable can be run, even if it is served no more.

    Args:
      name: Name of the model.
      version: Its version.
      servable: The loaded version.
    """

    name: str
    version: int
    servable: LoadedVersion


class ServableStore:
    """Loads, hands out and unloads the servables of a MODELS folder. Thread-safe.

    Which versions are wanted is decided by the policy of each model in `config` and by the version folders that are
    there when `load`, `refresh` or `reload` looks. What happens to them is written at `ModelVersions.reconcile`.

    Args:
      models: Folder with one folder per model name, each with its version folders.
      config: The models to serve; None for the latest version of every model in MODELS.
      allow_version_labels_for_unavailable_models: Lets a new label name a version that is not available (yet).
      loader: Loads a version folder.

    Raises:
      InputError: MODELS is not such a folder, or `config` is refused.
    """

    def __init__(
        self,
        models: Path,
        config: ModelServerConfig | None = None,
        *,
        allow_version_labels_for_unavailable_models: bool = False,
        loader: Callable[[Path], LoadedVersion] = LoadedVersion,
    ) -> None:
        self._folder = models
        self._allow_labels = allow_version_labels_for_unavailable_models
        self._loader = loader
        self._changing = threading.RLock()  # one load, refresh, reload or close at a time
        self._models: dict[str, _Model] = {}
        self._labels: dict[str, dict[str, int]] = {}
        self._config = config_of_folders(served_folders(models)) if config is None else config
        try:
            check_model_config(self._config)
        except StatusError as error:
            raise InputError(f"the model config is refused: {error.message}") from error

    @property
    def names(self) -> list[str]:
        """The names of the models in force that have or had a version, sorted."""
        listed = {model.name for model in self._config.model_config_list.config}
        return sorted(
            name for name, model in self._models.copy().items() if name in listed and model.versions.statuses()
        )

    def load(self) -> None:
        """Loads what is wanted at the start.

        Raises:
          InputError: A wanted version cannot be loaded, a model has none, or a label names none that is available.
        """
        with self._changing:
            self._apply(self._config)
            try:
                for model in self._config.model_config_list.config:
                    self._check_started(model.name)
                self._labels = self._checked_labels(self._config)
            except StatusError as error:
                self.close()
                raise InputError(f"the model config is refused: {error.message}") from error
            except InputError:
                self.close()
                raise

    def _check_started(self, name: str) -> None:
        model = self._models[name]
        folder = model_folder(model.config.base_path, self._folder)
        for version in model.versions.statuses():
            if version.error_code != "OK":
                raise InputError(
                    f"every version that is to be served must load, but version {version.version} of model '{name}' "
                    f"in {folder} does not: {_one_line(version.error_message)}"
                )
        if not model.versions.available():
            lack = model.complaint or f"its policy chooses none of those in {folder}"
            raise InputError(f"model '{name}' must have a version to serve, but {lack}")

    def reload(self, config: ModelServerConfig) -> None:
        """Puts another configuration in force and loads and unloads what it asks for.

        A version that does not load is told by `status` and is no error, as in TF Serving. As there, labels are
        checked before anything is loaded: a label on a version that is neither available nor asked for by `config`
        itself is refused at once. Other than there, a version that `config` asks for and labels in one step is loaded
        first and labelled then; TF Serving refuses such a configuration as often as it is put to it. Nothing is
        unloaded before the labels are set.

        Args:
          config: The models to serve; those that are not listed are served no more.

        Raises:
          StatusError: INVALID_ARGUMENT, if it is refused by `check_model_config`; FAILED_PRECONDITION, if a label
            names a version that is not available, or cannot be loaded. What is served has not changed then.
        """
        check_model_config(config)
        with self._changing:
            coming = self._coming(config)
            labels = self._checked_labels(config, coming)
            if coming:
                labels = self._labels_once_loaded(config, coming)
            self._config = config
            self._labels = labels
            self._apply(config)

    def refresh(self) -> None:
        """Looks at the version folders again, loads what is newly wanted and unloads what is wanted no more."""
        with self._changing:
            self._apply(self._config)

    def resolve(self, name: str, *, version: int | None = None, label: str | None = None) -> ResolvedVersion:
        """Finds the servable for a request.

        Args:
          name: Model name.
          version: Version; None for the latest that is available.
          label: Label, instead of a version.

        Returns:
          The servable, good as long as the result is held.

        Raises:
          StatusError: INVALID_ARGUMENT, if there is no such label; NOT_FOUND, if there is no such model, or the
            version is not available.
        """
        if label is not None:
            version = self._labels.get(name, {}).get(label)
            if version is None:
                raise invalid_argument(f"Unrecognized servable version label: {label}")
        model = self._models.get(name)
        found = None if model is None else model.versions.find(version)
        if found is not None:
            return ResolvedVersion(name, *found)
        wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
        raise StatusError("NOT_FOUND", f"Servable not found for request: {wanted}")

    def latest(self, name: str) -> int:
        """The version that answers when a request names none.

        Args:
          name: Model name.

        Returns:
          The version.

        Raises:
          StatusError: As in `resolve`.
        """
        return self.resolve(name).version

    def labels(self, name: str) -> Mapping[str, int]:
        """The labels of a model.

        Args:
          name: Model name.

        Returns:
          Label -> version.
        """
        return dict(self._labels.get(name, {}))

    def status(self, name: str, version: int | None = None) -> list[VersionStatus]:
        """Tells the state of a model's versions.

        Args:
          name: Model name.
          version: One version; None for all.

        Returns:
          One entry per version, the newest first: every version that has been wanted since the start.

        Raises:
          StatusError: NOT_FOUND, if there is no such model or version.
        """
        model = self._models.get(name)
        statuses = [] if model is None else model.versions.statuses()
        if not statuses:
            raise StatusError("NOT_FOUND", f"Could not find any versions of model {name}")
        found = [status for status in statuses if version in (None, status.version)]
        if not found:
            raise StatusError("NOT_FOUND", f"Could not find version {version} of model {name}")
        return found

    def close(self) -> None:
        """Frees every loaded servable; requests that hold one can still finish."""
        with self._changing:
            for model in self._models.values():
                model.versions.reconcile({})

    def _coming(self, config: ModelServerConfig) -> dict[str, dict[int, Path]]:
        """By model, what is to be loaded before its labels are set: nothing, unless a label is on such a version."""
        coming: dict[str, dict[int, Path]] = {}
        for model in config.model_config_list.config:
            known = self._models.get(model.name)
            # One that has failed is never tried again, and one that is there need not be loaded.
            settled = [] if known is None else [*known.versions.available(), *known.versions.failed()]
            wanted, _ = self._find_wanted(model)
            if wanted is not None and any(
                version in wanted and version not in settled for version in model.version_labels.values()
            ):
                coming[model.name] = wanted
        return coming

    def _labels_once_loaded(
        self, config: ModelServerConfig, coming: Mapping[str, Mapping[int, Path]]
    ) -> dict[str, dict[str, int]]:
        listed = {model.name: model for model in config.model_config_list.config}
        for name, wanted in coming.items():
            if name not in self._models:
                self._models[name] = _Model(listed[name], ModelVersions(name, self._loader))
            self._models[name].versions.load(wanted)
        try:
            return self._checked_labels(config)
        except StatusError:
            # Unloads what has just been loaded. What has failed is remembered, so that a configuration that is put
            # forward at every poll is refused at once the next time.
            self._apply(self._config)
            raise

    def _checked_labels(
        self, config: ModelServerConfig, coming: Mapping[str, Mapping[int, Path]] | None = None
    ) -> dict[str, dict[str, int]]:
        labels: dict[str, dict[str, int]] = {}
        for model in config.model_config_list.config:
            known = self._models.get(model.name)
            available = [] if known is None else known.versions.available()
            failed = [] if known is None else known.versions.failed()
            expected = [number for number in (coming or {}).get(model.name, ()) if number not in failed]
            for label, version in model.version_labels.items():
                moved = self._labels.get(model.name, {}).get(label, version) != version
                if version not in (*available, *expected) and (moved or not self._allow_labels):
                    raise StatusError(
                        "FAILED_PRECONDITION",
                        f"Request to assign label to version {version} of model {model.name}, "
                        "which is not currently available for inference",
                    )
                labels.setdefault(model.name, {})[label] = version
        return labels

    def _apply(self, config: ModelServerConfig) -> None:
        listed = {model.name: model for model in config.model_config_list.config}
        for name, model_config in listed.items():
            if name not in self._models:
                self._models[name] = _Model(model_config, ModelVersions(name, self._loader))
            self._models[name].config = model_config
        for name, model in self._models.items():
            wanted = self._wanted(model) if name in listed else {}
            if wanted is not None:
                model.versions.reconcile(wanted)

    def _wanted(self, model: _Model) -> dict[int, Path] | None:
        """The wanted versions and their folders; None if the model's folder cannot be read: then all stays as it is."""
        wanted, complaint = self._find_wanted(model.config)
        if complaint and complaint != model.complaint:  # once, not at every poll
            _logger.warning("model '%s': %s", model.config.name, complaint)
        model.complaint = complaint
        return wanted

    def _find_wanted(self, config: ModelConfig) -> tuple[dict[int, Path] | None, str]:
        folder = model_folder(config.base_path, self._folder)
        try:
            folders = version_folders(folder)
        except OSError as error:
            return None, f"{folder} cannot be read: {error.strerror or error}"
        wanted = {number: folders[number] for number in wanted_versions(config.model_version_policy, folders)}
        return wanted, "" if folders else f"{folder} holds no version folder"


def _one_line(message: str) -> str:
    return " ".join(message.split())[:300]
