"""Requests at a fixed rate, whatever the answers take: a stall is seen by every request that was due meanwhile."""

from __future__ import annotations

import dataclasses
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Request:
    """One request; the times are seconds of `time.perf_counter`.

    Attributes:
      call: Which of the calls it was.
      due: When it was to be sent.
      sent: When it was sent: later than that, if all connections were waiting for answers.
      ended: When its answer was there.
      answer: The answer; None if there was an error.
      error: What went wrong; empty if nothing.
    """

    call: int
    due: float
    sent: float
    ended: float
    answer: Any
    error: str

    @property
    def latency(self) -> float:
        """Seconds from when it was due."""
        return self.ended - self.due


class OpenLoop:
    """Sends requests at a fixed rate from threads of its own, from `start` until `stop`, or as a context manager.

    Args:
      calls: What is called, in turn. They are called at the same time from several threads.
      rate: Requests per second.
      connections: Requests that can be under way at a time; what is due beyond waits, and its latency goes on.

    Attributes:
      requests: Those that have ended, in the order of their ends.
    """

    def __init__(self, calls: Sequence[Callable[[], Any]], *, rate: float, connections: int = 32) -> None:
        self._calls, self._rate = tuple(calls), rate
        self.requests: list[Request] = []
        self._numbers = itertools.count()
        self._stopping = threading.Event()
        self._begun = 0.0
        self._threads = [threading.Thread(target=self._send, daemon=True) for _ in range(connections)]

    def start(self) -> None:
        """Begins."""
        self._begun = time.perf_counter()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends, once the requests under way have their answers."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _send(self) -> None:
        while True:
            number = next(self._numbers)  # one operation of the interpreter: no two threads get the same
            due = self._begun + number / self._rate
            if self._stopping.wait(max(0.0, due - time.perf_counter())):
                return
            call, answer, error = number % len(self._calls), None, ""
            sent = time.perf_counter()
            try:
                answer = self._calls[call]()
            except Exception as failed:  # whatever it is, it is what somebody who asks would have got
                error = f"{type(failed).__name__}: {failed}"
            self.requests.append(Request(call, due, sent, time.perf_counter(), answer, error))

    def __enter__(self) -> OpenLoop:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def percentiles(requests: Sequence[Request]) -> dict[str, float]:
    """Milliseconds from when requests were due: `p50`, `p99`, `p99.9` and `max`; NaN of none."""
    if not requests:
        return dict.fromkeys(("p50", "p99", "p99.9", "max"), float("nan"))
    values = np.percentile([1e3 * request.latency for request in requests], [50, 99, 99.9, 100])
    return dict(zip(("p50", "p99", "p99.9", "max"), values.tolist(), strict=True))
