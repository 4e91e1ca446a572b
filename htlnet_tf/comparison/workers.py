"""Runs one after the other in this process, or several at a time in processes of their own."""

from __future__ import annotations

import dataclasses
import functools
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import joblib

from htlnet_tf.comparison.runs import Job, RunRecord, make_run
from htlnet_tf.config import ModelConfig, RunConfig, TrainingConfig
from htlnet_tf.preparation import Prepared, prepare

Result = TypeVar("Result")


def run_jobs(
    jobs_to_run: Sequence[Job], prepared: Prepared, root: Path, *, jobs: int, write: Callable[[str], None]
) -> Iterator[RunRecord]:
    """Makes runs and yields each as soon as it is done.

    Args:
      jobs_to_run: Which.
      prepared: The rows.
      root: The comparison's folder.
      jobs: Processes.
      write: Where progress lines go; processes of their own print none.
    """
    if jobs == 1 or len(jobs_to_run) < 2:
        for job in jobs_to_run:
            yield make_run(job, prepared, root, write=write)
        return
    yield from in_processes([functools.partial(_make_run, job, root) for job in jobs_to_run], jobs)


def in_processes(calls: Sequence[Callable[[], Result]], jobs: int) -> Iterator[Result]:
    """Makes calls in `jobs` processes and yields each result as soon as it is there.

    When the caller stops, by an error or by Ctrl-C, the processes are ended.
    """
    threads = max(1, (os.cpu_count() or 1) // jobs)
    tasks = (joblib.delayed(_in_process)(call, threads) for call in calls)
    yield from joblib.Parallel(n_jobs=jobs, return_as="generator_unordered", pre_dispatch=jobs, batch_size=1)(tasks)


def _in_process(call: Callable[[], Any], threads: int) -> Any:
    _set_up(threads)
    return call()


@functools.cache
def _set_up(threads: int) -> None:
    """Once per process: the parent alone answers Ctrl-C, and the processes share the cores."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def _make_run(job: Job, root: Path) -> RunRecord:
    return make_run(job, prepared_rows(job.config), root, write=_silent)


def prepared_rows(config: RunConfig) -> Prepared:
    """The rows of a configuration, whatever its model and training, read once per process."""
    config = dataclasses.replace(config, model=ModelConfig(), training=TrainingConfig())
    key = config.to_yaml()
    if key not in _READ:
        _READ.clear()  # a process serves one comparison at a time
        _READ[key] = prepare(config, write=_silent)
    return _READ[key]


_READ: dict[str, Prepared] = {}


def _silent(line: str) -> None:
    """The parent tells how far the runs are."""
