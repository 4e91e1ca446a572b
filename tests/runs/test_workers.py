"""`htlnet train` on two workers of this machine: the run of one and a worker that is killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf.errors import WorkerLostError
from htlnet_tf.runs.config import RunConfig
from htlnet_tf.runs.resuming import Resuming
from htlnet_tf.runs.workers import open_workers
from tests.conftest import htlnet

CONFIG = """
data: {loader: generated, num_rows: 3000}
model: {name: shared_bottom, arguments: {tower_units: [8], gradient_adjustment: htlnet}}
training: {epochs: 4, batch_size: 250, early_stopping: false}
"""


def start(folder: Path, output: str) -> list[subprocess.Popen[str]]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        addresses = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
    arguments = ["train", "config.yaml", "--output", output, "--importance", "0"]
    workers = []
    for index in range(2):
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        workers.append(
            subprocess.Popen(
                [sys.executable, "-m", "htlnet_tf", *arguments, "--set", "training.strategy=multi_worker"],
                cwd=folder,
                env={**os.environ, "TF_CONFIG": json.dumps(config)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    return workers


@pytest.mark.slow  # a minute: twice two processes import TensorFlow, find each other and train
def test_a_worker_is_killed_and_the_same_command_ends_with_the_run_of_one(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    first, second = start(tmp_path, "run")
    try:
        deadline = time.monotonic() + 300
        while not list(tmp_path.glob(".run.checkpoints/seed_0/steps/0*")):
            assert time.monotonic() < deadline and first.poll() is None, first.communicate()[1][-3000:]
            time.sleep(0.05)
        second.send_signal(signal.SIGKILL)
        _, told = first.communicate(timeout=300)
        assert first.returncode == 1, told[-3000:]
        last = [line for line in told.splitlines() if line.startswith("error: ")]
        assert len(last) == 1 and "another worker of this training is gone" in last[0], told[-3000:]
        assert "Traceback" not in told
        assert not (tmp_path / "run").exists()
        again = start(tmp_path, "run")
        try:
            outputs = [worker.communicate(timeout=300) for worker in again]
        finally:
            for worker in again:
                worker.kill()
    finally:
        for worker in (first, second):
            worker.kill()
    for worker, (_, errors) in zip(again, outputs, strict=True):
        assert worker.returncode == 0, errors[-3000:]
    assert all("training goes on in epoch" in out for out, _ in outputs)
    assert "the first of the 2 workers has written 'run'" in outputs[1][0]
    assert not (tmp_path / ".run.checkpoints").exists()

    assert htlnet("train", str(tmp_path / "config.yaml"), "--output", str(tmp_path / "alone"), "--importance", "0") == 0
    models = [htl.load_run(tmp_path / name).model for name in ("run", "alone")]
    for a, b in zip(models[0].weights, models[1].weights, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-5 * np.abs(b.numpy()).max())
    histories = [pd.read_csv(tmp_path / name / "history.csv") for name in ("run", "alone")]
    assert len(histories[0]) == 4
    pd.testing.assert_frame_equal(*histories, rtol=1e-4)


@pytest.mark.slow  # half a minute: two processes import TensorFlow and find each other
def test_what_the_first_worker_refuses_both_refuse(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").write_text("")
    workers = start(tmp_path, "run")
    try:
        errors = [worker.communicate(timeout=300)[1] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    for worker, told in zip(workers, errors, strict=True):
        assert worker.returncode == 2, told[-3000:]
        assert [line for line in told.splitlines() if line.startswith("error: ")] == [
            "error: 'run' exists already; name another directory or ask to overwrite it (--overwrite)"
        ]


def test_what_one_refuses_within_a_step_is_left_for_those_who_miss_it(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    one, other = (Resuming(RunConfig.from_yaml(tmp_path / "config.yaml"), tmp_path / "run") for _ in range(2))
    with one.open(processes=2):
        with pytest.raises(htl.InputError, match="gone"), other.told_beside(2):
            raise htl.InputError("gone")
        with pytest.raises(htl.InputError, match="gone"), one.told_beside(2):
            raise WorkerLostError("another worker is gone")
    with one.open(processes=2), pytest.raises(WorkerLostError), one.told_beside(2):
        raise WorkerLostError("what was left before is no reason now")


def test_multi_worker_comes_before_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"cluster": {"worker": ["127.0.0.1:1", "127.0.0.1:2"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    assert htl.Schema is not None
    import tensorflow as tf

    tf.zeros([1])
    with pytest.raises(htl.InputError, match="must come before anything else"):
        open_workers("multi_worker")


def test_mirrored_trains_an_ordinary_model(tmp_path: Path) -> None:
    """On a machine without GPUs its one replica is the CPU; several are in tests/models/test_replicas.py."""
    histories = []
    for strategy in ("none", "mirrored"):
        (tmp_path / "config.yaml").write_text(CONFIG.replace("epochs: 4", f"epochs: 1, strategy: {strategy}"))
        output = str(tmp_path / strategy)
        assert htlnet("train", str(tmp_path / "config.yaml"), "--output", output, "--importance", "0") == 0
        histories.append(pd.read_csv(tmp_path / strategy / "history.csv"))
    pd.testing.assert_frame_equal(*histories, rtol=1e-5)
