"""A running server that picks up, refuses and drops versions; the states and messages are those of version_dirs.txt."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tensorflow.core.protobuf import saved_model_pb2

from htlnet_tf.errors import InputError
from htlnet_tf.serving import EmbeddedServer
from tests.serving.conftest import CONFIG

ROW = {"city": "rome", "count": 2, "price": 1.5}
POLL = 0.05
OK = {"error_code": "OK", "error_message": ""}


@pytest.fixture
def folder(tmp_path: Path, models: Path) -> Path:
    """MODELS/tiny with version 1 only."""
    path = tmp_path / "models" / "tiny"
    shutil.copytree(models / "tiny" / "1", path / "1")
    (path / "abc").mkdir()
    return path


@pytest.fixture
def http(folder: Path) -> Iterator[httpx.Client]:
    with (
        EmbeddedServer(folder.parent, port=0, file_system_poll_wait_seconds=POLL) as server,
        httpx.Client(base_url=server.url, trust_env=False, timeout=20) as client,
    ):
        yield client


def publish(models: Path, folder: Path, version: str, change: Callable[[Path], Any] = lambda _: None) -> None:
    prepared = folder.parent.parent / f"prepared-{version}"
    shutil.copytree(models / "tiny" / "00000002", prepared)
    change(prepared)
    prepared.rename(folder / version)


def halve(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def states(http: httpx.Client) -> dict[str, tuple[str, str]]:
    entries = http.get("/v1/models/tiny").json()["model_version_status"]
    return {entry["version"]: (entry["state"], entry["status"]["error_code"]) for entry in entries}


def wait_for(http: httpx.Client, version: str, state: str) -> None:
    until = time.monotonic() + 20
    while states(http).get(version, ("", ""))[0] != state:
        assert time.monotonic() < until, states(http)
        time.sleep(0.01)


def click(http: httpx.Client) -> float:
    response = http.post("/v1/models/tiny:predict", json={"instances": [ROW]})
    assert response.status_code == 200, response.text
    return float(response.json()["predictions"][0]["click"])


def test_a_new_version_is_taken_without_a_refused_request(http: httpx.Client, models: Path, folder: Path) -> None:
    assert click(http) == 1.5
    publish(models, folder, "2")
    clicks = []
    until = time.monotonic() + 20
    while not clicks or clicks[-1] != 15.0:
        clicks.append(click(http))
        assert time.monotonic() < until
    assert set(clicks) == {1.5, 15.0} and clicks == sorted(clicks)
    wait_for(http, "1", "END")
    assert states(http) == {"2": ("AVAILABLE", "OK"), "1": ("END", "OK")}


def test_a_corrupt_version_leaves_the_old_one_serving(http: httpx.Client, models: Path, folder: Path) -> None:
    publish(models, folder, "00000007")
    wait_for(http, "1", "END")
    (folder / "9").mkdir()
    wait_for(http, "9", "END")
    publish(models, folder, "8", lambda path: halve(next((path / "variables").glob("variables.data*"))))
    time.sleep(4 * POLL)
    assert "8" not in states(http)  # 9 is the latest: it is wanted, however bad
    (folder / "9").rmdir()
    wait_for(http, "8", "END")
    publish(models, folder, "10", lambda path: halve(path / "saved_model.pb"))
    wait_for(http, "10", "END")
    assert states(http) == {
        "10": ("END", "DATA_LOSS"),
        "9": ("END", "NOT_FOUND"),
        "8": ("END", "OUT_OF_RANGE"),
        "7": ("AVAILABLE", "OK"),
        "1": ("END", "OK"),
    }
    entries = {
        entry["version"]: entry["status"]["error_message"]
        for entry in http.get("/v1/models/tiny").json()["model_version_status"]
    }
    assert entries["8"].startswith("Read less bytes than requested")
    assert entries["9"] == (
        "Specified file path does not appear to contain a SavedModel bundle (should have a file called "
        f"`saved_model.pb`)\nSpecified file path: {folder / '9'}"
    )
    assert click(http) == 15.0


def test_a_version_whose_signature_names_no_tensor_leaves_the_old_one_serving(
    http: httpx.Client, models: Path, folder: Path
) -> None:
    def rename(path: Path) -> None:
        file = path / "saved_model.pb"
        message = saved_model_pb2.SavedModel.FromString(file.read_bytes())
        message.meta_graphs[0].signature_def["regress"].inputs["inputs"].name = "absent:0"
        file.write_bytes(message.SerializeToString())

    publish(models, folder, "2", rename)
    wait_for(http, "2", "END")
    assert states(http) == {"2": ("END", "INVALID_ARGUMENT"), "1": ("AVAILABLE", "OK")}
    (entry, _) = http.get("/v1/models/tiny").json()["model_version_status"]
    assert "absent" in entry["status"]["error_message"]
    assert click(http) == 1.5


def test_removed_versions_are_dropped(http: httpx.Client, models: Path, folder: Path) -> None:
    publish(models, folder, "2")
    wait_for(http, "1", "END")
    shutil.rmtree(folder / "2")
    wait_for(http, "2", "END")  # back to 1
    assert states(http)["1"] == ("AVAILABLE", "OK")
    assert click(http) == 1.5
    shutil.rmtree(folder / "1")
    wait_for(http, "1", "END")
    response = http.post("/v1/models/tiny:predict", json={"instances": [ROW]})
    assert (response.status_code, response.json()) == (404, {"error": "Servable not found for request: Latest(tiny)"})


def test_a_request_under_way_keeps_its_version(http: httpx.Client, models: Path, folder: Path) -> None:
    answers: list[httpx.Response] = []

    def ask() -> None:
        document = {"signature_name": "slow", "inputs": 100_000}
        answers.append(
            httpx.post(f"{http.base_url}/v1/models/tiny:predict", json=document, timeout=60, trust_env=False)
        )

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.1)
    publish(models, folder, "2")
    wait_for(http, "2", "AVAILABLE")
    unloading = states(http)["1"]
    thread.join(60)
    assert answers[0].json() == {"outputs": 100_000}
    assert unloading[0] in ("UNLOADING", "END")
    wait_for(http, "1", "END")


def test_the_model_config_file_is_read_again(folder: Path, models: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copytree(models / "tiny" / "00000002", folder / "2")
    file = folder.parent.parent / "models.config"

    def write(text: str) -> None:
        prepared = file.with_suffix(".new")
        prepared.write_text(text, encoding="utf-8")
        prepared.rename(file)

    def stable() -> float:
        response = http.post("/v1/models/tiny/labels/stable:predict", json={"instances": [ROW]})
        return float(response.json()["predictions"][0]["click"])

    write(CONFIG)
    server = EmbeddedServer(
        folder.parent,
        port=0,
        model_config_file=file,
        model_config_file_poll_wait_seconds=POLL,
        file_system_poll_wait_seconds=0,
    )
    with server, httpx.Client(base_url=server.url, trust_env=False, timeout=20) as http:
        assert stable() == 1.5
        with caplog.at_level(logging.ERROR):
            for refused in ("model_config_list {", CONFIG.replace("value: 1", "value: 77")):
                write(refused)
                time.sleep(5 * POLL)
                assert stable() == 1.5
        assert len(caplog.records) == 2  # each once, not at every poll
        assert "version 77 of model tiny, which is not currently available" in caplog.records[1].getMessage()
        write(CONFIG.replace("value: 1", "value: 2"))
        until = time.monotonic() + 20
        while stable() != 15.0:
            assert time.monotonic() < until
            time.sleep(0.01)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read"),
        ("model_config_list { config { nam: 'x' } }", "but .* is not: 1:"),
        (b"\xff\xfe", "is not"),
        ("", "is refused: ServerModelConfig type not supported"),
        ('model_config_list { config { name: "x" base_path: "x" } }', "to have an absolute path"),
        (CONFIG.replace("value: 1", "value: 9"), "assign label to version 9 of model tiny"),
        (CONFIG.replace('name: "tiny"', 'name: "x"').replace("/models/tiny", "/models/x"), "model 'x' must have"),
    ],
)
def test_config_files_that_are_refused(tmp_path: Path, models: Path, text: str | bytes | None, message: str) -> None:
    file = tmp_path / "models.config"
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=message):
        EmbeddedServer(models, port=0, model_config_file=file).start()
