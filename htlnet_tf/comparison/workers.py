"""Runs one after the other in this process, or several at a time in processes of their own."""

from __future__ import annotations

import dataclasses
import functools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, TypeVar

import joblib

from htlnet_tf.comparison.runs import Job, RunRecord, make_run
from htlnet_tf.config import ModelConfig, RunConfig, TrainingConfig
from htlnet_tf.errors import InputError
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

    When the caller stops, by an error, by Ctrl-C or killed, the processes end.

    Raises:
      InputError: A process was killed.
    """
    threads = max(1, (os.cpu_count() or 1) // jobs)
    tasks = (joblib.delayed(_in_process)(call, threads, os.getpid()) for call in calls)
    try:
        yield from joblib.Parallel(n_jobs=jobs, return_as="generator_unordered", pre_dispatch=jobs, batch_size=1)(tasks)
    except BrokenProcessPool as error:
        raise InputError(
            "a process was killed from outside, perhaps for want of memory, of which a smaller --jobs needs less; "
            "the same command goes on"
        ) from error


def _in_process(call: Callable[[], Any], threads: int, parent: int) -> Any:
    _set_up(threads, parent)
    return call()


@functools.cache
def _set_up(threads: int, parent: int) -> None:
    """Once per process: the parent alone answers Ctrl-C, and the processes share the cores and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def _end_with(parent: int) -> None:
    """Ends this process when the parent is gone: killed, it cannot tell, and two would make the same runs."""
    while _is_alive(parent):
        time.sleep(1.0)
    os._exit(1)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def _make_run(job: Job, root: Path) -> RunRecord:
    return make_run(job, prepared_rows(job.config), root, write=silent)


def prepared_rows(config: RunConfig) -> Prepared:
    """The rows of a configuration, whatever its model and training, read once per process."""
    config = dataclasses.replace(config, model=ModelConfig(), training=TrainingConfig())
    key = config.to_yaml()
    if key not in _READ:
        _READ.clear()  # a process serves one comparison at a time
        _READ[key] = prepare(config, write=silent)
    return _READ[key]


_READ: dict[str, Prepared] = {}


def silent(line: str) -> None:
    """The parent tells how far the runs are."""
