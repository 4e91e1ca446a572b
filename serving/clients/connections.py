"""Connections of a client, for each process and each event loop its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Generic, TypeVar

_Connections = TypeVar("_Connections")
_Loop = asyncio.AbstractEventLoop | None


class OwnConnections(Generic[_Connections]):
    """What a client is connected through, made again where it cannot be shared.

    A process that was forked has its parent's sockets: two processes that write requests to one socket get each other's
    answers. And a connection of one event loop cannot be waited for in another. Thread-safe, and without a lock, which
    a thread that is not there after a fork might hold.

    Args:
      make: Makes connections; called again in each process, and in each event loop, that asks.
      per_loop: Whether they belong to an event loop.
      keep_inherited: Whether those of the parent stay referred to, where freeing them does harm. Else they are freed,
        which closes this process's copies of the sockets and leaves the parent's alone.
    """

    def __init__(
        self, make: Callable[[], _Connections], *, per_loop: bool = False, keep_inherited: bool = False
    ) -> None:
        self._make = make
        self._per_loop = per_loop
        self._made: dict[tuple[int, _Loop], _Connections] = {}
        self._inherited: list[_Connections] | None = [] if keep_inherited else None
        self._closed = False

    def get(self) -> _Connections:
        """The connections of this process, or of its running event loop.

        Raises:
          RuntimeError: The client has been closed.
        """
        process = os.getpid()
        place = process, asyncio.get_running_loop() if self._per_loop else None
        found = self._made.get(place)
        if found is not None:
            return found
        if self._closed:
            raise RuntimeError("the client has been closed")
        for other in list(self._made):
            if other[0] != process or (other[1] is not None and other[1].is_closed()):
                left = self._made.pop(other, None)
                if left is not None and other[0] != process and self._inherited is not None:
                    self._inherited.append(left)
        # Of two threads that come here at once, one uses what the other made.
        return self._made.setdefault(place, self._make())

    def close(self) -> list[tuple[_Connections, _Loop]]:
        """Gives out no more connections.

        Returns:
          Those of this process, to be closed by the caller, with the event loop that each belongs to; those of loops
          that are closed are left out.
        """
        self._closed = True
        here = [place for place in list(self._made) if place[0] == os.getpid()]
        taken = [(self._made.pop(place, None), place[1]) for place in here]
        return [(made, loop) for made, loop in taken if made is not None and not (loop and loop.is_closed())]
