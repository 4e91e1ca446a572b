"""ParameterServerStrategy with tables in shards, on this machine; the mathematics of shards is in test_sharding.py."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import REPO
from tests.docs.blocks import blocks

HERE = Path(__file__).parent
SECONDS = 600  # enough where other tests run beside it
QUIET = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"}


@pytest.mark.slow  # it imports TensorFlow anew, and traces for a worker as well as for itself
def test_one_worker_learns_over_two_servers_what_a_process_does() -> None:
    script = HERE / "one_worker_two_servers.py"
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=SECONDS, check=False, env=QUIET
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "shards equal one table" in done.stdout


@pytest.mark.slow  # five processes import TensorFlow, a killed one twice
def test_a_worker_that_is_killed_and_started_again_does_not_end_the_training(tmp_path: Path) -> None:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(4)]
        addresses = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
    cluster = json.dumps({"worker": addresses[:2], "ps": addresses[2:]})
    tasks: list[subprocess.Popen[str]] = []

    def start(job: str, index: int = 0) -> subprocess.Popen[str]:
        log = tmp_path / f"{job}_{index}_{len(tasks)}.log"
        with log.open("w") as errors:
            task = subprocess.Popen(
                [sys.executable, HERE / "parameter_servers.py", cluster, job, str(index), tmp_path],
                stdout=subprocess.PIPE if job == "chief" else errors,
                stderr=errors,
                text=True,
                cwd=tmp_path if job == "chief" else "/",  # what a server writes is not beside it
                env=QUIET,
            )
        tasks.append(task)
        return task

    try:
        _, worker, *_ = start("worker", 0), start("worker", 1), start("ps", 0), start("ps", 1)
        chief = start("chief")
        said = _lines(chief, after=SECONDS)
        assert said("kill a worker"), (tmp_path / "chief_0_4.log").read_text()[-3000:]
        worker.kill()
        worker.wait()
        start("worker", 1)
        assert said("trained over servers"), (tmp_path / "chief_0_4.log").read_text()[-3000:]
    finally:
        for task in tasks:
            task.kill()
            task.wait()


# What the page has from other pages, on a few rows.
BEFORE = """
import htlnet_tf as htl
from tests.conftest import small_frame

features = [htl.Categorical("user_id"), htl.Categorical("item_id"), htl.Numeric("price")]
schema = htl.Schema(features=features, targets=[htl.Binary("click"), htl.Binary("buy"), htl.Continuous("spend")])
train, valid = small_frame(400), small_frame(200, seed=1)
encoder = htl.FeatureEncoder.fit(schema, train)
"""
LESS = {"/shared": ".", "steps_per_epoch=1000": "steps_per_epoch=4", "validation_steps=100": "validation_steps=2"}


@pytest.mark.slow  # four processes import TensorFlow
def test_what_the_page_says(tmp_path: Path) -> None:
    of_a_server, of_the_coordinator = (block.text for block in blocks("docs/scale_parameter_servers.md", "python"))
    for old, new in LESS.items():
        assert old in of_the_coordinator
        of_the_coordinator = of_the_coordinator.replace(old, new)
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(4)]
        addresses = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
    cluster = {"worker": addresses[:1], "ps": addresses[1:3], "chief": addresses[3:]}

    def environment(job: str, index: int) -> dict[str, str]:
        task = json.dumps({"cluster": cluster, "task": {"type": job, "index": index}})
        return QUIET | {"TF_CONFIG": task, "PYTHONPATH": str(REPO)}

    servers = []
    try:
        for job, index in (("worker", 0), ("ps", 0), ("ps", 1)):
            with (tmp_path / f"{job}_{index}.log").open("w") as log:
                command = [sys.executable, "-c", of_a_server]
                servers.append(
                    subprocess.Popen(command, env=environment(job, index), cwd=tmp_path, stdout=log, stderr=log)
                )
        program = BEFORE + of_the_coordinator + 'assert "spend" in str(report)'
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=environment("chief", 0),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
    finally:
        for server in servers:
            server.kill()
            server.wait()


def _lines(task: subprocess.Popen[str], *, after: int) -> Callable[[str], bool]:
    """Waits for a line of a process, which has its time."""
    timer = threading.Timer(after, task.kill)
    timer.daemon = True
    timer.start()
    assert task.stdout is not None
    lines = iter(task.stdout)
    return lambda sought: any(line.strip() == sought for line in lines)
