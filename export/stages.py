"""The stages of an export, each told when it is done, with its seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager


class Stages:
    """Tells what an export is done with.

    Args:
      write: Where the lines go; None: nowhere.
    """

    def __init__(self, write: Callable[[str], None] | None = None) -> None:
        self._write = write

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Writes a line with the name and the seconds of the block, if it ends well."""
        start = time.perf_counter()
        yield
        if self._write is not None:
            self._write(f"{name}: {time.perf_counter() - start:.1f} s")

    def each(self, verb: str, names: Iterable[str]) -> Iterator[str]:
        """The names in turn; a stage is what is done with one until the next is asked for."""
        given = list(names)
        for number, name in enumerate(given, 1):
            with self.stage(f"{verb} {name}, {number} of {len(given)}"):
                yield name
