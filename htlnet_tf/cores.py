"""How many processor cores there are for this process."""

from __future__ import annotations

import os


def count() -> int:
    """The cores that this process may run on, at least 1: those of its affinity, which `taskset`, a batch system or a
    container may have made fewer than the machine has; all of the machine where the system has no affinity.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    return (os.cpu_count() or 1) if affinity is None else len(affinity(0))
