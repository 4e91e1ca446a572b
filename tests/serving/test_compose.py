"""The compose file for the genuine image, and its health check against a server that is there."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import htlnet_tf.serving
from htlnet_tf.serving import EmbeddedServer

COMPOSE = Path(htlnet_tf.serving.__file__).parent / "docker-compose.yml"

# Of the flags of tensorflow_model_server 2.20 (model_servers/main.cc) those that the file uses. The server would only
# print usage for an unknown one, and go on without it.
KNOWN_FLAGS = {"port", "rest_api_port", "model_name", "model_base_path", "enable_grpc_healthcheck_service"}


def _interpolated(value: Any, environment: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _interpolated(member, environment) for key, member in value.items()}
    if isinstance(value, list):
        return [_interpolated(element, environment) for element in value]
    if isinstance(value, str):
        return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda match: environment.get(match[1], match[2]), value)
    return value


def _service(**environment: str) -> dict[str, Any]:
    document = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    service = document["services"]["serving"]
    assert isinstance(service, dict)
    return dict(_interpolated(service, environment))


def test_image_and_flags() -> None:
    service = _service()
    assert service["image"] == "tensorflow/serving:2.20.0"
    flags = dict(flag.removeprefix("--").split("=", 1) for flag in service["command"])
    assert flags.keys() <= KNOWN_FLAGS
    assert flags["model_name"] == "htlnet"
    assert flags["model_base_path"] == "/models/htlnet"
    assert (flags["port"], flags["rest_api_port"]) == ("8500", "8501")


def test_model_name_is_the_same_everywhere() -> None:
    service = _service(MODEL_NAME="other")
    assert "--model_name=other" in service["command"] and "--model_base_path=/models/other" in service["command"]
    assert "other" in service["healthcheck"]["test"][-1]
    assert "htlnet" not in str(service["command"]) + service["healthcheck"]["test"][-1]


def test_only_this_machine_reaches_the_ports_and_nothing_is_writable() -> None:
    service = _service()
    assert service["ports"] == ["127.0.0.1:8500:8500", "127.0.0.1:8501:8501"]
    (volume,) = service["volumes"]
    assert volume["read_only"] is True and volume["target"] == "/models"
    assert (COMPOSE.parent / volume["source"]).resolve().name == "models"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["restart"] == "unless-stopped"


@pytest.mark.skipif(shutil.which("bash") is None or shutil.which("timeout") is None, reason="needs bash and timeout")
def test_health_check_tells_a_served_model_from_an_absent_one(server: EmbeddedServer) -> None:
    port = server.url.rsplit(":", 1)[1]

    def exit_code(model: str, at: str) -> int:
        kind, *command = _service(MODEL_NAME=model)["healthcheck"]["test"]
        assert kind == "CMD"
        command[-1] = command[-1].replace("/127.0.0.1/8501", f"/127.0.0.1/{at}")
        return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode

    assert exit_code("tiny", port) == 0
    assert exit_code("absent", port) != 0
    assert exit_code("tiny", "1") != 0
