"""Runs and servables in MLflow, where somebody asks for it and has it installed."""

from __future__ import annotations

import importlib
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from htlnet_tf.errors import InputError
from htlnet_tf.files import atomic_file, local_path
from htlnet_tf.runs.config import RunConfig
from htlnet_tf.runs.folder import Run
from htlnet_tf.runs.page import PAGE
from htlnet_tf.serving.errors import ServingError

EXPERIMENT = "htlnet"
_LINK = "mlflow.json"
_TAG = "servable"
_PARAMETERS_PER_CALL, _METRICS_PER_CALL = 100, 1000  # MLflow's limits of one call
_LONGEST = 6000  # characters of a parameter


def require_mlflow() -> Any:
    """The module `mlflow`.

    Raises:
      InputError: It is not installed.
    """
    try:
        return importlib.import_module("mlflow")
    except ImportError as error:
        raise InputError(
            f"MLflow is asked for, but not installed: pip install 'htlnet-tf[mlflow]' ({error})"
        ) from error


def track_run(uri: str, run: Run, directory: str | Path) -> str:
    """Logs a run that is complete: settings, metrics per validation, exact test metrics, and its page.

    The folder gets `mlflow.json`, by which an export finds the entry again.

    Args:
      uri: Of the tracking server, or of a local store: `http://host:5000`, `file:///var/mlruns`.
      run: The run.
      directory: Its folder, whose name is the entry's.

    Returns:
      MLflow's id of the run.

    Raises:
      InputError: MLflow is not installed.
      Exception: What MLflow raises if the server cannot be reached or refuses.
    """
    folder = local_path(directory)
    client = _client(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    number = client.create_experiment(EXPERIMENT) if experiment is None else experiment.experiment_id
    entry: str = client.create_run(number, run_name=folder.name).info.run_id
    try:
        _log(client, entry, run)
        for name in (PAGE, "config.yaml", "metrics.json"):
            if (folder / name).exists():
                client.log_artifact(entry, str(folder / name))
        with atomic_file(folder / _LINK) as partial:
            partial.write_text(json.dumps({"uri": uri, "run_id": entry}), encoding="utf-8")
    except Exception:
        client.set_terminated(entry, "FAILED")
        raise
    client.set_terminated(entry, "FINISHED")
    return entry


def register_servable(version: str | Path, name: str, directory: str | Path) -> int | None:
    """Puts an exported version beside the run that it is of, and registers it as a model's next version.

    What is registered already is not registered again.

    Args:
      version: The version's folder.
      name: The registered model's name; it is made if need be.
      directory: The run folder.

    Returns:
      The version's number there; None where the run is not in MLflow.

    Raises:
      InputError: MLflow is not installed, or the folder's `mlflow.json` is damaged.
      ServingError: MLflow cannot be reached or refuses.
    """
    link = local_path(directory) / _LINK
    if not link.exists():
        return None
    try:
        found = json.loads(link.read_text(encoding="utf-8"))
        uri, entry = str(found["uri"]), str(found["run_id"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"cannot read '{link}': {error}") from error
    client = _client(uri)
    try:
        return _registered(client, entry, local_path(version), name)
    except Exception as error:  # of whatever MLflow's store is made of
        told = f"'{version}' is exported, but MLflow at {uri} has not registered it ({type(error).__name__}: {error})"
        raise ServingError(told) from error


def _registered(client: Any, entry: str, folder: Path, name: str) -> int:
    for known in client.search_model_versions(f"name = '{name}'"):
        if known.run_id == entry and known.tags.get(_TAG) == folder.name:
            return int(known.version)
    path = f"servable/{folder.name}"
    client.log_artifacts(entry, str(folder), path)
    if not any(model.name == name for model in client.search_registered_models(f"name = '{name}'")):
        client.create_registered_model(name)
    source = f"{client.get_run(entry).info.artifact_uri}/{path}"
    return int(client.create_model_version(name, source=source, run_id=entry, tags={_TAG: folder.name}).version)


def parameters(config: RunConfig) -> dict[str, str]:
    """The settings by their place, `training.epochs`, as text; without the schema, which goes along as a file."""
    document = yaml.safe_load(config.to_yaml())
    document.pop("schema", None)
    return dict(_flat(document))


def _flat(document: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, str]]:
    for name, value in document.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{place}{name}.")
        else:
            yield f"{place}{name}", str(value)[:_LONGEST]


def _client(uri: str) -> Any:
    mlflow = require_mlflow()
    if not mlflow.is_tracking_uri_set():
        mlflow.set_tracking_uri(uri)  # or parts of MLflow open a database of their own in the working directory
    return importlib.import_module("mlflow.tracking").MlflowClient(tracking_uri=uri, registry_uri=uri)


def _log(client: Any, entry: str, run: Run) -> None:
    entities = importlib.import_module("mlflow.entities")
    settings = [entities.Param(name, value) for name, value in parameters(run.config).items()]
    for part in _parts(settings, _PARAMETERS_PER_CALL):
        client.log_batch(entry, params=part)
    now = int(time.time() * 1000)
    metrics = [entities.Metric(name, value, now, step) for name, value, step in _measured(run)]
    for part in _parts(metrics, _METRICS_PER_CALL):
        client.log_batch(entry, metrics=part)


def _measured(run: Run) -> Iterator[tuple[str, float, int]]:
    """Name, value and validation; of an ensemble by the member's seed. What is undefined is left out."""
    for member in run.trained:
        of_member = f"seed_{member.seed}/" if len(run.trained) > 1 else ""
        for name, values in member.history.items():
            for step, value in enumerate(values, start=1):
                if math.isfinite(value):
                    yield of_member + name, float(value), step
    for row in run.report.rows:
        if math.isfinite(row.value):
            yield f"test/{row.target}/{row.metric}", float(row.value), 0


def _parts(entries: Sequence[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(entries), size):
        yield list(entries[start : start + size])
