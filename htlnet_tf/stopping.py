"""A stop by a signal unwinds the program, whatever it is at."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

_AGAIN_AFTER = 0.05
"""Seconds until a stop that was lost is raised again: long enough to be out of what has lost it."""


def stop_by_unwinding() -> None:
    """Has SIGTERM unwind the main thread with exit code 143, as Ctrl-C does with `KeyboardInterrupt`.

    A `docker stop` or `timeout` then removes half-written outputs as any error does. Python ignores exceptions in
    finalisers and in callbacks of its garbage collection, where a handler may run as anywhere else; TensorFlow has
    plenty of both. A stop that is lost there is raised again.
    """
    signal.signal(signal.SIGTERM, _exit)
    report = sys.unraisablehook

    def again_if_lost(unraisable: Any) -> None:
        number = _signal_of(unraisable.exc_value)
        if number is None:
            report(unraisable)
            return
        timer = threading.Timer(_AGAIN_AFTER, os.kill, (os.getpid(), number))
        timer.daemon = True
        timer.start()

    sys.unraisablehook = again_if_lost


def _exit(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _signal_of(error: BaseException | None) -> int | None:
    """The signal that has raised an exception, if it is one of a stop."""
    if isinstance(error, KeyboardInterrupt):
        return signal.SIGINT
    if isinstance(error, SystemExit) and error.code == 128 + signal.SIGTERM:
        return signal.SIGTERM
    return None
