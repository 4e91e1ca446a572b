"""What this process holds: resident memory, open descriptors, threads."""

from __future__ import annotations

import resource
import sys
import threading
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_bytes() -> int:
    """The largest resident memory so far."""
    if _STATUS.exists():
        # ru_maxrss would begin with what the parent process had when it started this one.
        return _of_status("VmHWM")
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def resident_bytes() -> int:
    """The resident memory now; where the system does not tell it, the largest so far."""
    return _of_status("VmRSS") if _STATUS.exists() else peak_bytes()


def descriptors() -> int:
    """Open files, sockets and pipes."""
    folder = next(path for path in (Path("/proc/self/fd"), Path("/dev/fd")) if path.is_dir())
    return sum(1 for _ in folder.iterdir()) - 1  # the one that lists them


def threads() -> int:
    """Threads, TensorFlow's too where the system tells them."""
    tasks = Path("/proc/self/task")
    return sum(1 for _ in tasks.iterdir()) if tasks.is_dir() else threading.active_count()


def _of_status(name: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])
