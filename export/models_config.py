"""`MODELS/models.config`: which models a server has, and which version each label names; rewritten atomically."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from google.protobuf import text_format  # type: ignore[import-untyped]
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig, ModelServerConfig

from htlnet_tf import locks
from htlnet_tf.errors import InputError
from htlnet_tf.files import atomic_file
from htlnet_tf.serving.server.model_config import read_model_config

CONFIG_FILE = "models.config"
LOCK_FILE = ".models.config.lock"
_HISTORY = "# label history, oldest first: "
_HEADER = "# A tensorflow.serving.ModelServerConfig; written by `htlnet promote` and `htlnet rollback`.\n"

History = dict[str, dict[str, list[int]]]
"""By model and label, the versions that the label named before, oldest first."""


class ModelsConfig:
    """The content of a `models.config`.

    What labels named before stands in a comment of the same file, so that one rename replaces both.

    Args:
      path: The file; it need not exist.

    Attributes:
      path: The file.
      message: The configuration as a server takes it.
      history: What labels named before.
      is_new: Whether there is no such file yet.

    Raises:
      InputError: The file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.message = path, ModelServerConfig()
        self.history: History = {}
        self._before = path.read_bytes() if path.exists() else None
        self.is_new = self._before is None
        if self._before is not None:
            self.message = read_model_config(path)
            self.history = _history(path, self._before.decode())

    def labels(self, name: str) -> dict[str, int]:
        """The labels of a model, with the versions that they name; none for a model that is not listed."""
        found = self._model(name)
        return {} if found is None else dict(sorted(found.version_labels.items()))

    def in_use(self, name: str) -> set[int]:
        """The versions of a model that a label names, or that a rollback would go back to."""
        before = [versions[-1] for versions in self.history.get(name, {}).values() if versions]
        return {*self.labels(name).values(), *before}

    def add_models(self, base_paths: Mapping[str, str], *, all_versions: bool = False) -> None:
        """Lists models that are not listed yet, each by where the server finds it.

        Args:
          base_paths: By name, the folder.
          all_versions: Have the server load every version; False: the newest alone.
        """
        for name, base_path in base_paths.items():
            if self._model(name) is None:
                model = self.message.model_config_list.config.add(name=name, base_path=base_path)
                model.model_platform = "tensorflow"
                if all_versions:
                    model.model_version_policy.all.SetInParent()

    def remove_model(self, name: str) -> None:
        """Lists a model no more, and forgets its labels."""
        listed = self.message.model_config_list.config
        kept = [model for model in listed if model.name != name]
        del listed[:]
        listed.extend(kept)
        self.history.pop(name, None)

    def set_label(self, name: str, label: str, version: int, *, base_path: str) -> None:
        """Has a label name a version; a model that is not listed is added.

        A server loads the newest version alone unless it is told otherwise, and a label must name a loaded one. A list
        of specific versions is extended; any other policy becomes `all`: the only one that loads a new version as it
        appears and never drops one that is labelled. The number of versions is then up to `--keep`.

        Args:
          name: Model name.
          label: Of the version.
          version: Its number.
          base_path: Where the server finds a model that is added.
        """
        model = self._model(name)
        if model is None:
            model = self.message.model_config_list.config.add(name=name, base_path=base_path)
            model.model_platform = "tensorflow"
        policy = model.model_version_policy
        if policy.WhichOneof("policy_choice") != "specific":
            policy.all.SetInParent()
        elif version not in policy.specific.versions:
            policy.specific.versions.append(version)
        model.version_labels[label] = version

    def to_text(self) -> str:
        """The file's text: a text protocol buffer with comments."""
        history = {name: labels for name, labels in sorted(self.history.items()) if any(labels.values())}
        comment = f"{_HISTORY}{json.dumps(history, sort_keys=True)}\n" if history else ""
        return _HEADER + comment + text_format.MessageToString(self.message)

    def write(self) -> None:
        """Replaces the file.

        Raises:
          InputError: It cannot be written.
        """
        with atomic_file(self.path) as partial:
            partial.write_text(self.to_text(), encoding="utf-8")

    def put_back(self) -> None:
        """Restores the file as it was read."""
        if self._before is None:
            self.path.unlink(missing_ok=True)
            return
        with atomic_file(self.path) as partial:
            partial.write_bytes(self._before)

    def _model(self, name: str) -> ModelConfig | None:
        return next((model for model in self.message.model_config_list.config if model.name == name), None)


def read_config(models: Path) -> ModelsConfig:
    """Reads `MODELS/models.config`; one that does not exist lists no model.

    Raises:
      InputError: It is damaged.
    """
    return ModelsConfig(models / CONFIG_FILE)


@contextlib.contextmanager
def locked_config(models: Path) -> Iterator[ModelsConfig]:
    """As `read_config`, while no other process that asks for it this way can.

    Raises:
      InputError: It is damaged, or the folder cannot be written to.
    """
    with locks.exclusive(models / LOCK_FILE):
        yield read_config(models)


def _history(path: Path, text: str) -> History:
    for line in text.splitlines():
        if line.startswith(_HISTORY):
            try:
                found = json.loads(line.removeprefix(_HISTORY))
                return {
                    str(name): {str(label): [int(v) for v in versions] for label, versions in labels.items()}
                    for name, labels in found.items()
                }
            except (ValueError, TypeError, AttributeError) as error:
                raise InputError(f"'{path}': the comment with the label history is damaged: {error}") from error
    return {}
