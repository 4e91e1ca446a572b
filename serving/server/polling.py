"""Something done again and again in a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

_logger = logging.getLogger(__name__)


class Poller:
    """Calls a function every so many seconds until it is stopped.

    An error does not end it: the function is called again the next time, and the log has the traceback.

    Args:
      action: The function.
      seconds: Time between the end of a call and the next call.
      name: Name of the thread.
    """

    def __init__(self, action: Callable[[], None], seconds: float, name: str) -> None:
        self._action = action
        self._seconds = seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Starts the thread; the first call comes after the first interval."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread, after the call that is under way."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._seconds):
            try:
                self._action()
            except Exception:
                # A watcher that dies silently is worse than one that repeats its complaint.
                _logger.exception("%s failed", self._thread.name)
