"""models.config: TF Serving's `ModelServerConfig` as a text protocol buffer."""

from __future__ import annotations

import logging
from pathlib import Path

from google.protobuf import text_format  # type: ignore[import-untyped]
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from htlnet_tf.errors import InputError
from htlnet_tf.serving.errors import StatusError, invalid_argument
from htlnet_tf.serving.server.version_folders import version_folders

_logger = logging.getLogger(__name__)

_PLATFORM = "tensorflow"

# Where the images of TF Serving have the models.
_CONTAINER_MODELS = Path("/models")


def read_model_config(path: Path) -> ModelServerConfig:
    """Reads models.config.

    Args:
      path: The file.

    Returns:
      The configuration.

    Raises:
      InputError: The file cannot be read, is not a text `ModelServerConfig`, or is refused by `check_model_config`.
    """
    rule = "a model config file must be a ModelServerConfig in protobuf's text form"
    try:
        config = text_format.Parse(path.read_bytes(), ModelServerConfig())
    except OSError as error:
        raise InputError(f"{rule}, but {path} cannot be read: {error.strerror or error}") from error
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise InputError(f"{rule}, but {path} is not: {error}") from error
    try:
        check_model_config(config)
    except StatusError as error:
        raise InputError(f"{path} is refused: {error.message}") from error
    return config


def check_model_config(config: ModelServerConfig) -> None:
    """Refuses a configuration that TF Serving refuses before it loads anything.

    Args:
      config: The configuration.

    Raises:
      StatusError: INVALID_ARGUMENT, for anything but a `model_config_list` of models with distinct names, absolute
        base paths and the platform tensorflow. Source: TF Serving, model_servers/server_core.cc.
    """
    if config.WhichOneof("config") != "model_config_list":
        raise invalid_argument(
            "ServerModelConfig type not supported by HandleReloadConfigRequest. "
            "Only ModelConfigList is currently supported"
        )
    names = set()
    for model in config.model_config_list.config:
        if model.name in names:
            raise invalid_argument(f"Illegal to list model {model.name} multiple times in config list")
        names.add(model.name)
    for model in config.model_config_list.config:
        if not Path(model.base_path).is_absolute():
            raise invalid_argument(
                f"Expected model {model.name} to have an absolute path or URI; got base_path()={model.base_path}"
            )
    for model in config.model_config_list.config:
        if not model.model_platform and not model.model_type:
            raise invalid_argument(
                "Illegal setting neither ModelServerConfig::model_type nor ModelServerConfig::model_platform."
            )
        if model.model_platform not in ("", _PLATFORM):
            raise invalid_argument(f"Model {model.name} requests unsupported platform {model.model_platform}")


def config_of_folders(folders: dict[str, Path]) -> ModelServerConfig:
    """The configuration that serves the latest version of each of some models, without labels.

    Args:
      folders: Model name -> its folder.

    Returns:
      The configuration.
    """
    config = ModelServerConfig()
    for name, folder in folders.items():
        config.model_config_list.config.add(name=name, base_path=str(folder.absolute()), model_platform=_PLATFORM)
    return config


def model_folder(base_path: str, models: Path) -> Path:
    """Finds the folder that a `base_path` means on this machine.

    One models.config is to serve both the container, which has the models under `/models`, and this server: a path
    `/models/NAME` that does not exist here is MODELS/NAME.

    Args:
      base_path: As configured.
      models: The MODELS folder.

    Returns:
      The folder; it need not exist.
    """
    path = Path(base_path)
    if not path.exists() and path.is_relative_to(_CONTAINER_MODELS):
        return models / path.relative_to(_CONTAINER_MODELS)
    return path


def served_folders(models: Path) -> dict[str, Path]:
    """Finds the models of a MODELS folder.

    Args:
      models: Folder with one folder per model name, each with its version folders.

    Returns:
      Model name -> its folder, for those that hold a version; at least one.

    Raises:
      InputError: MODELS is not such a folder.
    """
    rule = "MODELS must be a folder with one folder per model name, each with its version folders"
    try:
        if not models.is_dir():
            found = "is not a folder" if models.exists() else "does not exist"
            raise InputError(f"{rule}, but {models} {found}")
        if (models / "saved_model.pb").exists() or version_folders(models):
            raise InputError(f"{rule}, but {models} is itself a model or a version of one: give the folder above it")
        children = sorted(entry for entry in models.iterdir() if entry.is_dir())
        empty = [entry for entry in children if not version_folders(entry)]
    except OSError as error:
        raise InputError(f"{rule}, but {models} cannot be read: {error.strerror or error}") from error
    for folder in empty:
        _logger.warning("%s holds no version folder and is not served", folder)
    served = {folder.name: folder for folder in children if folder not in empty}
    if not served:
        lack = "none of the folders in it holds a version folder" if children else "it holds no folder"
        raise InputError(f"{rule}, but in {models} there is nothing to serve: {lack}")
    return served
