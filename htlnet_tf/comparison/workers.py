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
from typing import TypeVar

import joblib

from htlnet_tf import cores
from htlnet_tf.comparison.reference_runs import make_reference_run
from htlnet_tf.comparison.runs import Job, RunRecord, make_run
from htlnet_tf.errors import InputError
from htlnet_tf.judging.references import REFERENCES
from htlnet_tf.runs.config import ModelConfig, RunConfig, TrainingConfig
from htlnet_tf.runs.preparation import Prepared, Write, prepare

Result = TypeVar("Result")
Work = Callable[[Prepared, Write], Result]
"""What is made of the rows, and tells how far it is."""


def run_jobs(
    jobs_to_run: Sequence[Job], prepared: Prepared, root: Path, *, jobs: int, write: Write
) -> Iterator[RunRecord]:
    """Makes runs and yields each as soon as it is done.

    Args:
      jobs_to_run: Which.
      prepared: The rows.
      root: The comparison's folder.
      jobs: Processes.
      write: Where progress lines go; processes of their own print none.
    """
    work = [(job.config, functools.partial(_make_run, job, root)) for job in jobs_to_run]
    return run_all(work, prepared, jobs=jobs, write=write)


def run_all(
    work: Sequence[tuple[RunConfig, Work[Result]]], prepared: Prepared, *, jobs: int, write: Write
) -> Iterator[Result]:
    """Does work on the rows, here or in `jobs` processes, and yields each result as soon as it is there.

    Args:
      work: With the configuration of the rows, which a process of its own reads by it.
      prepared: The rows.
      jobs: Processes; with 1, or with one piece of work, this process does it.
      write: Where progress lines go; processes of their own print none.

    Raises:
      InputError: A process was killed.
    """
    if jobs > 1 and len(work) > 1:
        return _in_processes(work, jobs)
    return (do(prepared, write) for _, do in work)


def _in_processes(work: Sequence[tuple[RunConfig, Work[Result]]], jobs: int) -> Iterator[Result]:
    """Does the work in `jobs` processes, which end when the caller stops: by an error, by Ctrl-C or killed."""
    threads = max(1, cores.count() // jobs)
    tasks = (joblib.delayed(_in_process)(config, do, threads, os.getpid()) for config, do in work)
    try:
        yield from joblib.Parallel(n_jobs=jobs, return_as="generator_unordered", pre_dispatch=jobs, batch_size=1)(tasks)
    except BrokenProcessPool as error:
        raise InputError(
            "a process was killed from outside, perhaps for want of memory, of which a smaller --jobs needs less; "
            "the same command goes on"
        ) from error


def _in_process(config: RunConfig, do: Work[Result], threads: int, parent: int) -> Result:
    _set_up(threads, parent)
    return do(_prepared_rows(config), _silent)


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


def _make_run(job: Job, root: Path, prepared: Prepared, write: Write) -> RunRecord:
    make = make_reference_run if job.variant in REFERENCES else make_run
    return make(job, prepared, root, write=write)


def _prepared_rows(config: RunConfig) -> Prepared:
    """The rows of a configuration, whatever its model and training but for the level's rows, read once per process."""
    training = TrainingConfig(level_share=config.training.level_share)
    config = dataclasses.replace(config, model=ModelConfig(), training=training)
    key = config.to_yaml()
    if key not in _READ:
        _READ.clear()  # a process serves one comparison at a time
        _READ[key] = prepare(config, write=_silent)
    return _READ[key]


_READ: dict[str, Prepared] = {}


def _silent(line: str) -> None:
    """The parent tells how far the runs are."""
