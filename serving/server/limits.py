"""What the server may take on at once: a bounded queue before a pool of workers, a timeout, the size of a body."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from typing import Any, TypeVar

from htlnet_tf import cores
from htlnet_tf.errors import InputError
from htlnet_tf.serving.errors import StatusError

_Result = TypeVar("_Result")

# As many as TF Serving gives REST and gRPC each (`--rest_api_num_threads`, `--grpc_max_threads`).
_WORKERS_PER_CPU = 4


class Limits:
    """Runs the work of requests, REST and gRPC alike, in one pool of threads behind one bounded queue.

    A request that finds the queue full is refused at once, so that a server under too much load still answers, and
    one that waits or runs longer than the timeout is given up. Work that a thread has begun cannot be interrupted: it
    keeps its worker until it ends, and only its answer is dropped. Thread-safe.

    Args:
      timeout_seconds: How long a request may wait and run.
      max_workers: How many requests run at once; None for four per processor.
      max_queue: How many more may wait for a worker.
      max_body_bytes: The largest body of a REST request. TF Serving has no such limit; one client must not be able
        to fill the memory here.

    Attributes:
      timeout_seconds: As given.
      max_workers: The number of workers.
      max_queue: As given.
      max_body_bytes: As given.

    Raises:
      InputError: A limit is out of range.

    Example:
      >>> limits = Limits(timeout_seconds=1.0, max_queue=8)
      >>> scores = await limits.run(lambda: servable.run("", feeds))  # in a coroutine
      >>> scores = limits.run_blocking(lambda: servable.run("", feeds))  # in a thread
    """

    def __init__(
        self,
        *,
        timeout_seconds: float = 30.0,
        max_workers: int | None = None,
        max_queue: int = 128,
        max_body_bytes: int = 256 * 2**20,
    ) -> None:
        workers = _WORKERS_PER_CPU * cores.count() if max_workers is None else max_workers
        for name, value, least in (("max_workers", workers, 1), ("max_queue", max_queue, 0)):
            if value < least:
                raise InputError(f"{name} must be at least {least}, but is {value}")
        for name, amount in (("timeout_seconds", timeout_seconds), ("max_body_bytes", max_body_bytes)):
            if not amount > 0:
                raise InputError(f"{name} must be greater than 0, but is {amount}")
        self.timeout_seconds = timeout_seconds
        self.max_workers = workers
        self.max_queue = max_queue
        self.max_body_bytes = max_body_bytes
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="htlnet-worker")
        self._lock = threading.Lock()
        self._taken = 0
        # What waits for a worker is kept here, the oldest first, and not in the pool's own queue, which nothing can be
        # taken out of: a request that is given up must not keep its memory until a worker is free. The pool gets
        # calls of `_work` instead, no fewer than there are requests here and never more than `max_queue` allows.
        self._waiting: dict[Future[Any], Callable[[], Any]] = {}
        self._calls = 0

    @property
    def in_flight(self) -> int:
        """How many requests run or wait at this moment."""
        return self._taken

    async def run(self, work: Callable[[], _Result], *, timeout_seconds: float | None = None) -> _Result:
        """Runs the work of a request in a worker and waits without blocking the event loop.

        Args:
          work: The work; it takes no arguments.
          timeout_seconds: The caller's own deadline, where that is the earlier one.

        Returns:
          What `work` returns.

        Raises:
          StatusError: UNAVAILABLE, if the queue is full or the server shuts down; DEADLINE_EXCEEDED, if the time is
            over. Whatever `work` raises is raised too.
        """
        submitted = self._submit(work)
        waiting = asyncio.wrap_future(submitted)
        try:
            await asyncio.wait([waiting], timeout=self._seconds(timeout_seconds))
        finally:
            if not waiting.done():  # too late, or the client has gone: work that has not begun is never begun
                submitted.cancel()
                waiting.cancel()
        if waiting.cancelled():
            raise _too_late()
        return waiting.result()

    def run_blocking(self, work: Callable[[], _Result], *, timeout_seconds: float | None = None) -> _Result:
        """Runs the work of a request in a worker and waits for it: `run` for threads.

        Args:
          work: The work; it takes no arguments.
          timeout_seconds: The caller's own deadline, where that is the earlier one.

        Returns:
          What `work` returns.

        Raises:
          StatusError: As in `run`.
        """
        submitted = self._submit(work)
        wait_for([submitted], timeout=self._seconds(timeout_seconds))
        if not submitted.done():
            submitted.cancel()
            raise _too_late()
        return submitted.result()

    def close(self, *, wait: bool = True) -> None:
        """Takes no more work; what is under way or waits is finished.

        Args:
          wait: Whether to return only then.
        """
        self._pool.shutdown(wait=wait)

    def _seconds(self, timeout_seconds: float | None) -> float:
        return self.timeout_seconds if timeout_seconds is None else min(self.timeout_seconds, timeout_seconds)

    def _submit(self, work: Callable[[], _Result]) -> Future[_Result]:
        submitted: Future[_Result] = Future()
        with self._lock:
            if self._taken >= self.max_workers + self.max_queue:
                raise _queue_full(self.max_queue)
            if self._calls <= len(self._waiting):
                try:
                    self._pool.submit(self._work)
                except RuntimeError as error:  # the pool is shut down
                    raise StatusError("UNAVAILABLE", "The server is shutting down.") from error
                self._calls += 1
            self._waiting[submitted] = work
            self._taken += 1
        submitted.add_done_callback(self._drop_if_cancelled)
        return submitted

    def _drop_if_cancelled(self, submitted: Future[Any]) -> None:
        if submitted.cancelled():
            with self._lock:
                self._waiting.pop(submitted, None)
                self._taken -= 1

    def _work(self) -> None:
        with self._lock:
            self._calls -= 1
            if not self._waiting:  # given up in the meantime
                return
            submitted = next(iter(self._waiting))
            work = self._waiting.pop(submitted)
        if not submitted.set_running_or_notify_cancel():
            return
        result, failure = None, None
        try:
            result = work()
        except BaseException as error:  # it is raised again where the request waits
            failure = error
        with self._lock:  # before the answer: whoever has it must find the place free
            self._taken -= 1
        if failure is None:
            submitted.set_result(result)
        else:
            submitted.set_exception(failure)
        # The traceback of a failure refers to this frame, and the frame must not refer back to it.
        del submitted, work, failure


def _queue_full(bound: int) -> StatusError:
    # TF Serving, batching_util/shared_batch_scheduler.h.
    return StatusError(
        "UNAVAILABLE",
        "The batch scheduling queue to which this task was submitted is full; currently "
        f"{bound} batches enqueued and max_enqueued_batches is {bound}",
    )


def _too_late() -> StatusError:
    # TensorFlow, common_runtime/direct_session.cc, as TF Serving hands it on.
    return StatusError("DEADLINE_EXCEEDED", "Timed out waiting for notification")
