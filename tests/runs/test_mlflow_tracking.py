"""A run and its servable in a local store of MLflow, where MLflow is installed."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from htlnet_tf.errors import InputError
from htlnet_tf.runs.config import RunConfig
from htlnet_tf.runs.mlflow_tracking import parameters, register_servable, require_mlflow
from htlnet_tf.runs.training import train
from htlnet_tf.serving import ServingError
from tests.conftest import SMALL_CONFIG, htlnet


def config(folder: Path, *changes: str) -> RunConfig:
    (folder / "config.yaml").write_text(SMALL_CONFIG)
    return RunConfig.from_yaml(folder / "config.yaml", changes)


def test_settings_are_parameters_by_their_place(tmp_path: Path) -> None:
    found = parameters(config(tmp_path, "gate.margins={auc: 0.1}"))
    assert found["training.epochs"] == "1"
    assert found["model.arguments.tower_units"] == "[16, 8]"
    assert found["gate.margins.auc"] == "0.1"
    assert not any(name.startswith("schema") for name in found)


def test_without_mlflow_nothing_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)  # as where it is not installed
    with pytest.raises(InputError, match=r"pip install 'htlnet-tf\[mlflow\]'"):
        train(config(tmp_path, "training.mlflow=file:///nowhere"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="not installed"):
        require_mlflow()


def test_a_run_that_is_not_in_mlflow_registers_nothing(tmp_path: Path) -> None:
    assert register_servable(tmp_path / "1", "m", tmp_path) is None
    (tmp_path / "mlflow.json").write_text("{")
    with pytest.raises(InputError, match=r"cannot read .*mlflow\.json"):
        register_servable(tmp_path / "1", "m", tmp_path)


def test_a_run_and_its_servable(
    command_export: tuple[Path, str],
    tmp_path: Path,
    undrawn: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    tracking = pytest.importorskip("mlflow.tracking", reason="the extra [mlflow] is not installed")
    uri = (tmp_path / "store").as_uri()
    (tmp_path / "config.yaml").write_text(SMALL_CONFIG)
    arguments = (str(tmp_path / "config.yaml"), "--output", str(tmp_path / "run"), "--importance", "0")
    assert htlnet("train", *arguments, "--mlflow", uri) == 0
    assert f"logged to MLflow at {uri}" in capsys.readouterr().out
    client = tracking.MlflowClient(tracking_uri=uri, registry_uri=uri)
    entry = client.get_run(json.loads((tmp_path / "run" / "mlflow.json").read_text())["run_id"])
    assert (entry.info.run_name, entry.info.status) == ("run", "FINISHED")
    assert entry.data.params["training.batch_size"] == "256"
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())["metrics"]
    assert entry.data.metrics["test/click/auc"] == metrics["click"]["auc"]
    history = client.get_metric_history(entry.info.run_id, "val_relative_loss")
    assert [metric.step for metric in history] == [1]
    assert {"report.html", "config.yaml"} <= {file.path for file in client.list_artifacts(entry.info.run_id)}
    # What an export of this run would register: any servable will do.
    version = tmp_path / "models" / "htlnet" / "1"
    shutil.copytree(command_export[0] / "htlnet" / "1", version)
    assert register_servable(version, "htlnet", tmp_path / "run") == 1
    assert register_servable(version, "htlnet", tmp_path / "run") == 1  # as it is there already
    shutil.copytree(version, version.with_name("2"))
    assert register_servable(version.with_name("2"), "htlnet", tmp_path / "run") == 2
    registered = client.get_model_version("htlnet", "1")
    assert registered.run_id == entry.info.run_id
    assert registered.source.endswith("servable/1")
    found = {file.path for file in client.list_artifacts(entry.info.run_id, "servable/1")}
    assert "servable/1/saved_model.pb" in found
    (tmp_path / "run" / "mlflow.json").write_text(json.dumps({"uri": uri, "run_id": "0" * 32}))
    with pytest.raises(ServingError, match="htlnet/2' is exported, but MLflow at"):
        register_servable(version.with_name("2"), "htlnet", tmp_path / "run")


def test_a_server_that_is_not_there_costs_no_training(
    command_run: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from htlnet_tf.runs import training

    def unreachable(*_: object) -> str:
        raise OSError("connection refused")

    monkeypatch.setattr(training, "track_run", unreachable)
    lines: list[str] = []
    training._track(None, "http://localhost:1", tmp_path, lines.append)  # type: ignore[arg-type]
    assert lines == [
        "the run is complete, but MLflow at http://localhost:1 has not all of it (OSError: connection refused)"
    ]
