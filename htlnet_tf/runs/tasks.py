"""A worker or a parameter server of a training: it serves until the coordinator has ended."""

from __future__ import annotations

import os
import time
from pathlib import Path

import tensorflow as tf

from htlnet_tf.agreement import first_line
from htlnet_tf.distribution import start_task
from htlnet_tf.errors import InputError, WorkerLostError
from htlnet_tf.files import local_path
from htlnet_tf.runs.cluster import Cluster, answers
from htlnet_tf.runs.preparation import Write

_SECONDS = 1.0
_UNANSWERED = 5
"""Attempts without an answer after which the coordinator has ended; a network may lose one."""


def serve(cluster: Cluster, output: str | Path, *, write: Write = print) -> None:
    """Serves the coordinator of a training, the task `chief`, from when it is there until it has ended.

    TensorFlow keeps the coordinator's port open from when it has found its workers and servers until its process ends,
    and tells these nothing of its end. So the port is asked every second.

    Args:
      cluster: This task and the others.
      output: The run folder, in a folder that all share.
      write: Where lines go.

    Raises:
      InputError: The task cannot listen at its address.
      WorkerLostError: The coordinator has ended, and there is no new run folder.
    """
    before, (chief,) = _run(output), cluster.addresses["chief"]
    name = f"{'worker' if cluster.job == 'worker' else 'parameter server'} {cluster.index}"
    try:
        start_task(cluster.addresses, cluster.job, cluster.index)
    except tf.errors.OpError as error:
        fault = f"{cluster.address}: {first_line(error)}"
        raise InputError(f"{name} cannot listen at its address in TF_CONFIG, {fault}") from error
    write(f"{name} at {cluster.address} waits for the coordinator at {chief}")
    while not answers(chief):
        time.sleep(_SECONDS)
    write("the coordinator is there")
    unanswered = 0
    while unanswered < _UNANSWERED:
        time.sleep(_SECONDS)
        unanswered = 0 if answers(chief) else unanswered + 1
    after = _run(output)
    if after is None or after == before:
        raise WorkerLostError(
            f"the coordinator of this training at {chief} has ended without a run in '{output}': what it has said last "
            "tells why; the same command on all tasks goes on from the last checkpoint, if there is one"
        )
    write(f"trained; the coordinator has written '{output}'")


def _run(output: str | Path) -> int | None:
    """Which folder there is at the run's path: its inode; None: none."""
    final = local_path(output).absolute()
    try:
        # A listing, and no question about one path: NFS answers the latter from what it knew some time ago.
        with os.scandir(final.parent) as entries:
            return next((entry.inode() for entry in entries if entry.name == final.name), None)
    except FileNotFoundError:
        return None
