"""MultiWorkerMirroredStrategy in two processes on this machine."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest


@pytest.mark.slow  # 20 s: two processes import TensorFlow, find each other and train twice
def test_two_workers_show_and_learn_what_one_does() -> None:
    script = Path(__file__).with_name("two_workers.py")
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        ports = [str(s.getsockname()[1]) for s in sockets]
    workers = [
        subprocess.Popen(
            [sys.executable, script, str(index), *ports], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for index in range(2)
    ]
    try:
        outputs = [worker.communicate(timeout=600) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    for worker, (out, err) in zip(workers, outputs, strict=True):
        assert worker.returncode == 0, err[-3000:]
        assert "two workers equal one" in out
