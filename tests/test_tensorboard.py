"""TensorBoard starts with what the lock installs, and shows what `fit` wrote."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf


def read(url: str, server: subprocess.Popen[str], seconds: float = 60.0) -> Any:
    """The JSON document at a URL of a server that is starting."""
    deadline = time.monotonic() + seconds
    while True:
        assert server.poll() is None, "TensorBoard has ended"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                document = json.load(answer)
            if document:
                return document
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > deadline:
                raise
        assert time.monotonic() < deadline, f"{url} stays empty"
        time.sleep(0.2)


@pytest.mark.slow
def test_a_scalar_is_read_from_a_running_tensorboard(tmp_path: Path) -> None:
    with tf.summary.create_file_writer(str(tmp_path / "train")).as_default():
        tf.summary.scalar("gradient_norm/click", 0.25, step=7)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # As the `tensorboard` command starts it, which imports the dashboards too.
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(tmp_path), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            base = f"http://127.0.0.1:{port}/data/plugin/scalars"
            assert "gradient_norm/click" in read(f"{base}/tags", process)["train"]
            query = urllib.parse.urlencode({"run": "train", "tag": "gradient_norm/click"})
            (point,) = read(f"{base}/scalars?{query}", process)
        except BaseException:
            process.kill()
            assert process.stderr is not None
            print(process.stderr.read()[-3000:])
            raise
        process.terminate()
    assert point[1:] == [7, 0.25]
