"""Labels of versions: moved forward by `promote`, back by `rollback`, in a file and on a running server."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from htlnet_tf.errors import InputError
from htlnet_tf.export.models_config import ModelsConfig, locked_config
from htlnet_tf.export.version_folders import model_names, versions
from htlnet_tf.files import local_path
from htlnet_tf.manifest import require_intact
from htlnet_tf.serving.clients.model_service_client import ModelServiceClient
from htlnet_tf.serving.errors import RefusedError, UnavailableError

CONTAINER_MODELS = "/models"


@dataclasses.dataclass(frozen=True)
class Promotion:
    """A label that was moved.

    Attributes:
      model: The model's name.
      label: The label.
      version: What it names now.
      previous: What it named before; None if it is new.
      config: The file that was rewritten.
      server: The server that has taken it; None if none was asked to.
    """

    model: str
    label: str
    version: int
    previous: int | None
    config: Path
    server: str | None

    def to_text(self) -> str:
        """One line for people."""
        before = "new" if self.previous is None else f"before: {self.previous}"
        where = f"and taken by {self.server}" if self.server else "for a server to read"
        return f"{self.model}: {self.label} -> {self.version} ({before}); written to {self.config} {where}"


def promote(
    models: str | Path,
    name: str,
    version: int,
    label: str = "stable",
    server: str | None = None,
    *,
    base_path_prefix: str = CONTAINER_MODELS,
) -> Promotion:
    """Has a label name a version, in `MODELS/models.config` and on a running server.

    A file that is new lists every model of the folder. With a server the order is: the version must be AVAILABLE there,
    the file is replaced, the server takes it; if it refuses or cannot be reached, the file is put back, and if it does
    not answer in time, the file stays and the server may or may not have taken it. Without one nothing tells whether
    the version can be loaded, and a server that starts with the file needs
    `--allow_version_labels_for_unavailable_models`.

    Args:
      models: The MODELS folder.
      name: Model name.
      version: The version to be named.
      label: What requests call it.
      server: `host:port` of a server's gRPC port, whose whole configuration the file becomes.
      base_path_prefix: Where the server has the MODELS folder, for a model that the file does not list yet.

    Raises:
      InputError: There is no such version, a file of it is not as it was written, the label is no plain name, or the
        configuration is damaged or cannot be written.
      ServingError: The server does not have the version AVAILABLE, refuses the configuration, or does not answer.
    """
    folder = local_path(models)
    if not re.fullmatch(r"[A-Za-z0-9_.\-]+", label):
        raise InputError(f"a label is letters, digits, '_', '-' and '.'; received {label!r}")
    with locked_config(_models(folder)) as config:
        _require_version(folder, name, version)
        require_intact(versions(folder / name)[version])
        previous = config.labels(name).get(label)
        if previous is not None and previous != version:
            config.history.setdefault(name, {}).setdefault(label, []).append(previous)
        prefix = base_path_prefix.rstrip("/")
        if config.is_new:
            # Whoever serves the folder without a file serves all its models; with one, those it lists.
            config.add_models({other: f"{prefix}/{other}" for other in model_names(folder)})
        config.set_label(name, label, version, base_path=f"{prefix}/{name}")
        _apply(config, name, version, server)
        return Promotion(name, label, version, previous, config.path, server)


def rollback(models: str | Path, name: str, label: str = "stable", server: str | None = None) -> Promotion:
    """Has a label name the version again that it named before; the order of things is that of `promote`.

    The versions that a label has named stand in a comment of `models.config`, newest last; a rollback takes the last
    one away, so that the next one goes further back. Versions that were removed meanwhile are passed over.

    Args:
      models: The MODELS folder.
      name: Model name.
      label: The label.
      server: As for `promote`.

    Raises:
      InputError: The label is not set or named nothing before, that version is gone or not as it was written, or the
        file is damaged or cannot be written.
      ServingError: As for `promote`.
    """
    folder = local_path(models)
    with locked_config(_models(folder)) as config:
        current = config.labels(name)
        if label not in current:
            raise InputError(f"model '{name}' has no label '{label}' in '{config.path}'; there are {sorted(current)}")
        before = config.history.get(name, {}).get(label, [])
        if not before:
            raise InputError(f"label '{label}' of model '{name}' named no version before {current[label]}")
        kept = versions(folder / name)
        while before and before[-1] not in kept:
            before = before[:-1]
        if not before:
            raise InputError(f"the versions that label '{label}' of model '{name}' named before are no longer there")
        version = before[-1]
        require_intact(kept[version])
        config.history[name][label] = before[:-1]
        config.set_label(name, label, version, base_path="")
        _apply(config, name, version, server)
        return Promotion(name, label, version, current[label], config.path, server)


def _apply(config: ModelsConfig, name: str, version: int, server: str | None) -> None:
    if server is None:
        config.write()
        return
    with ModelServiceClient(server) as client:
        client.require_available(name, version)
        with _put_back_if_refused(config):
            client.reload(config.message)


@contextmanager
def _put_back_if_refused(config: ModelsConfig) -> Iterator[None]:
    config.write()
    try:
        yield
    except (RefusedError, UnavailableError):
        config.put_back()
        raise


def _models(models: Path) -> Path:
    if not models.is_dir():
        raise InputError(f"MODELS must be a folder with one folder per model name; '{models}' is none")
    return models


def _require_version(models: Path, name: str, version: int) -> None:
    if name not in model_names(models):
        raise InputError(f"'{models}' has no model '{name}'; there are {model_names(models)}")
    found = versions(models / name)
    if version not in found:
        raise InputError(f"model '{name}' has no version {version} in '{models / name}'; there are {list(found)}")
