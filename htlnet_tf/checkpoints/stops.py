"""Signals that stop a training, kept back for moments: until the step that is under way is complete."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stops:
    """What has been kept back."""

    def __init__(self) -> None:
        self._usual: dict[int, Any] = {}
        self._kept: tuple[int, FrameType | None] | None = None

    @property
    def asked(self) -> bool:
        """Whether a stop is asked for."""
        return self._kept is not None

    def deliver(self) -> None:
        """Does what the signal would have done at once, if there was one."""
        if self._kept is None:
            return
        number, frame = self._kept
        self._kept = None
        usual = self._usual[number]
        if callable(usual):
            usual(number, frame)
        else:
            signal.signal(number, usual)
            os.kill(os.getpid(), number)

    def _keep(self, number: int, frame: FrameType | None) -> None:
        again = self._kept is not None
        self._kept = (number, frame)
        if again:
            self.deliver()

    def _watch(self) -> None:
        for number in _SIGNALS:
            usual = signal.getsignal(number)
            if usual is not None and usual != signal.SIG_IGN:  # None: not set from Python
                self._usual[number] = usual
                signal.signal(number, self._keep)

    def _unwatch(self) -> None:
        for number, usual in self._usual.items():
            if signal.getsignal(number) == self._keep:
                signal.signal(number, usual)


@contextlib.contextmanager
def kept_back() -> Iterator[Stops]:
    """Keeps SIGINT and SIGTERM back until `deliver`; a second one is done at once. Other threads have no signals."""
    stops = Stops()
    if threading.current_thread() is not threading.main_thread():
        yield stops
        return
    stops._watch()
    try:
        yield stops
    finally:
        stops._unwatch()
    stops.deliver()
