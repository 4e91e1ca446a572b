"""When a worker or a parameter server ends; TensorFlow's own server is left out here, see test_over_servers.py."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf

from htlnet_tf.errors import InputError, WorkerLostError
from htlnet_tf.files import atomic_directory
from htlnet_tf.runs import tasks
from htlnet_tf.runs.cluster import Cluster


@pytest.fixture
def chief(monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    """Listens as a coordinator does."""
    monkeypatch.setattr(tasks, "_SECONDS", 0.01)
    monkeypatch.setattr(tasks, "start_task", lambda *_: None)
    return socket.create_server(("127.0.0.1", 0))


def served(chief: socket.socket, output: Path, then: Callable[[], None] = lambda: None) -> list[str]:
    """What a task says when the coordinator, once it was seen, does something and ends."""
    said: list[str] = []

    def write(line: str) -> None:
        said.append(line)
        if line == "the coordinator is there":
            then()
            chief.close()

    addresses = {"chief": (f"127.0.0.1:{chief.getsockname()[1]}",), "worker": ("b:1",), "ps": ("c:1",)}
    tasks.serve(Cluster(addresses, "ps", 0), output, write=write)
    return said


def written(output: Path) -> None:
    with atomic_directory(output, overwrite=True) as stage:
        (stage / "config.yaml").write_text("")


@pytest.mark.parametrize("before", [False, True])
def test_a_task_ends_well_when_the_coordinator_has_written_a_run(
    before: bool, chief: socket.socket, tmp_path: Path
) -> None:
    if before:
        written(tmp_path / "run")
    *_, there, last = served(chief, tmp_path / "run", lambda: written(tmp_path / "run"))
    assert there == "the coordinator is there"
    assert last == f"trained; the coordinator has written '{tmp_path / 'run'}'"


@pytest.mark.parametrize("before", [False, True])
def test_without_a_new_run_it_says_so(before: bool, chief: socket.socket, tmp_path: Path) -> None:
    if before:
        written(tmp_path / "run")
    with pytest.raises(WorkerLostError, match=f"has ended without a run in '{tmp_path / 'run'}'"):
        served(chief, tmp_path / "run")


def test_a_coordinator_that_is_not_there_yet_is_waited_for(
    chief: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = iter([False] * 20 + [True, False, False, True, *[False] * 5])
    monkeypatch.setattr(tasks, "answers", lambda address: next(answered))
    assert len(served(chief, tmp_path / "run", lambda: written(tmp_path / "run"))) == 3
    assert next(answered, None) is None


def test_an_address_at_which_another_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: object) -> None:
        raise tf.errors.UnknownError(None, None, "Could not start gRPC server")

    monkeypatch.setattr(tasks, "start_task", start)
    addresses = {"chief": ("a:1",), "worker": ("b:1", "d:2"), "ps": ("c:1",)}
    with pytest.raises(InputError, match="worker 1 cannot listen at its address in TF_CONFIG, d:2: Could not start"):
        tasks.serve(Cluster(addresses, "worker", 1), tmp_path / "run")
