"""How far a scoring of files is: rows per second, and the time that is left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_SECONDS = 5.0


class Progress:
    """Tells every few seconds; several threads may report.

    Args:
      work: What there is to do, in any unit, such as bytes of files.
      write: Where lines go; None: nobody is told.
    """

    def __init__(self, work: float, write: Callable[[str], None] | None) -> None:
        self._work, self._write = work, write
        self._start = self._told = time.monotonic()
        self._lock = threading.Lock()
        self._done = 0.0
        self.rows = 0

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._start

    def add(self, rows: int, work: float) -> None:
        """Reports rows that are scored, and how much of the work they were."""
        with self._lock:
            self.rows += rows
            self._done += work
            now = time.monotonic()
            if self._write is not None and now - self._told >= _SECONDS:
                self._told = now
                self._write(self._line())

    def _line(self) -> str:
        rate = self.rows / max(self.seconds, 1e-9)
        left = ""
        if 0.0 < self._done < self._work:
            left = f", {_duration(self.seconds * (self._work - self._done) / self._done)} left"
        return f"{self.rows:,} rows scored, {rate:,.0f} per second{left}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
