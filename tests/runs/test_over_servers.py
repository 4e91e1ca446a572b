"""`htlnet train` over parameter servers on this machine, and what it refuses before rows are read."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf.data.synthetic import generate_funnel
from htlnet_tf.judging.evaluation import score
from tests.conftest import htlnet

# The table has 515 rows of 320, 659 KB, so that it is large enough for two shards.
CONFIG = """
data: {loader: generated, num_rows: 3000}
model: {name: shared_bottom, arguments: {tower_units: [8], embedding_dim: 320, gradient_adjustment: htlnet}}
training: {epochs: 4, batch_size: 50, patience: 4, learning_rate: 0.01, strategy: parameter_server}
"""


class Cluster:
    """One coordinator, two workers and two servers, each of which runs the same command."""

    def __init__(self, folder: Path) -> None:
        with ExitStack() as stack:
            sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(5)]
            addresses = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
        self._cluster = {"chief": addresses[:1], "worker": addresses[1:3], "ps": addresses[3:]}
        self._folder = folder
        self.tasks: list[subprocess.Popen[str]] = []

    def start(self) -> list[subprocess.Popen[str]]:
        """All tasks, the coordinator first."""
        tasks = []
        for job, addresses in self._cluster.items():
            for index in range(len(addresses)):
                config = {"cluster": self._cluster, "task": {"type": job, "index": index}}
                with (self._folder / f"{len(self.tasks)}.log").open("w") as log:
                    task = subprocess.Popen(
                        [
                            sys.executable,
                            "-m",
                            "htlnet_tf",
                            "train",
                            "config.yaml",
                            "--output",
                            "run",
                            "--importance",
                            "0",
                        ],
                        cwd=self._folder,
                        env={**os.environ, "TF_CONFIG": json.dumps(config)},
                        stdout=log,
                        stderr=log,
                        text=True,
                    )
                self.tasks.append(task)
                tasks.append(task)
        return tasks

    def said(self, task: subprocess.Popen[str]) -> str:
        """All that a task has printed, on either stream."""
        return (self._folder / f"{self.tasks.index(task)}.log").read_text()


@pytest.mark.slow  # two minutes: twice five processes import TensorFlow, and train for each other
def test_the_coordinator_is_killed_and_the_same_command_goes_on(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    cluster = Cluster(tmp_path)
    try:
        chief, *others = cluster.start()
        deadline = time.monotonic() + 300
        while not list(tmp_path.glob(".run.checkpoints/seed_0/epochs/0*")):
            assert time.monotonic() < deadline and chief.poll() is None, cluster.said(chief)[-3000:]
            time.sleep(0.05)
        chief.send_signal(signal.SIGKILL)
        chief.wait()
        for task in others:
            assert task.wait(timeout=300) == 1, cluster.said(task)[-3000:]
            errors = [line for line in cluster.said(task).splitlines() if line.startswith("error: ")]
            assert len(errors) == 1 and "has ended without a run in 'run'" in errors[0], errors
            assert "Traceback" not in cluster.said(task)
        # Each server has written its part of the table.
        assert len(list(tmp_path.glob(".run.checkpoints/seed_0/epochs/00000001/weights/model.data-*"))) >= 2

        chief, *others = cluster.start()
        for task in (chief, *others):
            assert task.wait(timeout=300) == 0, cluster.said(task)[-3000:]
    finally:
        for task in cluster.tasks:
            task.kill()
            task.wait()
    said = cluster.said(chief)
    assert "2 workers; embedding tables in 2 parts on 2 of 2 parameter servers" in said
    assert "training goes on with epoch" in said
    assert all("trained; the coordinator has written 'run'" in cluster.said(task) for task in others)
    assert not list(tmp_path.glob(".run*"))

    history = pd.read_csv(tmp_path / "run" / "history.csv")
    assert list(history["epoch"]) == [1, 2, 3, 4]
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    run = htl.load_run(tmp_path / "run")
    assert run.report is not None and run.split is not None
    train = run.split.apply(generate_funnel(3000).frame)[0]
    predicted = score(run.model, train).predictions["spend"]
    # The level is that of all training rows, of which the workers' batches are some.
    assert predicted.sum() == pytest.approx(train["spend"].sum(), rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["data.streaming=true"], "goes without data.streaming: workers read encoded rows"),
        (["training.ensemble=2"], "goes without training.ensemble"),
        (["training.ema_momentum=0.99"], "goes without training.ema_momentum"),
        (["training.deterministic=true"], "goes without training.deterministic"),
        (["training.strategy=mirrored", "training.shards=2"], "shards are for the strategy 'parameter_server'"),
        (["training.shards=0"], "greater than or equal to 1"),
        ([], "needs the variable TF_CONFIG"),
    ],
)
def test_what_is_refused_before_rows_are_read(
    changes: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    config = CONFIG.replace("{loader: generated, num_rows: 3000}", "{loader: generic, path: missing.csv}")
    (tmp_path / "config.yaml").write_text(config)
    settings = [part for change in changes for part in ("--set", change)]
    assert htlnet("train", str(tmp_path / "config.yaml"), "--output", str(tmp_path / "run"), *settings) == 2
    assert re.search(re.escape(message), capsys.readouterr().err)


def test_a_run_that_is_there_is_refused_by_every_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").write_text("")
    cluster = {"chief": ["127.0.0.1:1"], "worker": ["127.0.0.1:2"], "ps": ["127.0.0.1:3"]}
    for job in cluster:
        monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": job, "index": 0}}))
        assert htlnet("train", str(tmp_path / "config.yaml"), "--output", str(tmp_path / "run")) == 2
        assert "exists already" in capsys.readouterr().err
