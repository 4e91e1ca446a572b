"""The folder of an exported version: where it is, what it declares, which one it is. No TensorFlow in here."""

from __future__ import annotations

import hashlib
from pathlib import Path

from htlnet_tf.errors import InputError
from htlnet_tf.files import local_path
from htlnet_tf.schema import Schema
from htlnet_tf.serving.server.version_folders import version_folders

_GRAPH = "saved_model.pb"
_SCHEMA = Path("assets.extra", "schema.yaml")
# The index of the variables has a checksum of each one's bytes.
_IDENTITY = (Path(_GRAPH), Path("variables", "variables.index"), _SCHEMA)


def version_folder(model: str | Path) -> Path:
    """The version that a path stands for.

    Args:
      model: `MODELS/NAME/VERSION`, or `MODELS/NAME` for the latest one.

    Returns:
      The version's folder, absolute.

    Raises:
      InputError: There is no such model or version.
    """
    path = local_path(model).absolute()
    if (path / _GRAPH).is_file():
        return path
    if path.is_dir():
        versions = version_folders(path)
        if versions:
            latest = versions[max(versions)]
            if (latest / _GRAPH).is_file():
                return latest
            raise InputError(f"'{latest}' holds no SavedModel: it has no {_GRAPH}")
        models = sorted(entry.name for entry in path.iterdir() if entry.is_dir() and version_folders(entry))
        hint = f"; it holds the models {models}: name one of them" if models else ""
        raise InputError(f"'{model}' is no model: it has no version folders, as MODELS/NAME has{hint}")
    if path.name.isdigit() and path.parent.is_dir():
        raise InputError(f"'{path.parent}' has no version {path.name}, only {sorted(version_folders(path.parent))}")
    raise InputError(f"'{model}' does not exist; a model is MODELS/NAME or MODELS/NAME/VERSION")


def exported_schema(folder: Path) -> Schema:
    """The schema that a version was trained with.

    Raises:
      InputError: It has none, for another program wrote it, or it cannot be read.
    """
    path = folder / _SCHEMA
    if not path.is_file():
        raise InputError(f"'{folder}' was not written by `htlnet export`: it has no {_SCHEMA}, by which rows are read")
    return Schema.from_yaml(path)


def version_digest(folder: Path) -> str:
    """What tells a version from others: SHA-256 over its graph, the checksums of its variables, and its schema.

    Raises:
      InputError: A file of it cannot be read.
    """
    digest = hashlib.sha256()
    for name in _IDENTITY:
        try:
            content = (folder / name).read_bytes()
        except OSError as error:
            raise InputError(f"cannot read '{folder / name}': {error.strerror or error}") from error
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()
