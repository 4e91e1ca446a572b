"""Work on the parts of a stream, by several threads and in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from htlnet_tf import cores

Part = TypeVar("Part")
Result = TypeVar("Result")


def in_order(
    parts: Iterable[Part], function: Callable[[Part], Result], *, threads: int | None = None
) -> Iterator[Result]:
    """Applies a function to parts, some of them ahead of where the results are used.

    Most of what encodes a frame is in NumPy, Arrow and TensorFlow, which let other threads run meanwhile. The parts are
    read by the thread that asks for results. What is wrong is told in the order of the parts: what cannot be read, only
    after all that was read before it.

    Args:
      parts: The parts; at most `threads` of them are read ahead.
      function: Of one part; it is called in several threads at once, after the first part.
      threads: How many; None: as many as there are cores, at most 4. With 1 nothing is done ahead.

    Yields:
      The results, in the order of the parts.
    """
    threads = min(cores.count(), 4) if threads is None else threads
    left = iter(parts)
    for part in left:
        # Alone: what it makes on first use, such as a lookup table, the others find.
        yield function(part)
        break
    if threads == 1:
        yield from map(function, left)
        return
    pool = ThreadPoolExecutor(threads, thread_name_prefix="in_order")
    waiting: deque[Future[Result]] = deque()
    try:
        unreadable: Exception | None = None
        while True:
            try:
                waiting.append(pool.submit(function, next(left)))
            except StopIteration:
                break
            except Exception as error:  # told below, once what was read before it is known to be right
                unreadable = error
                break
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
        if unreadable is not None:
            raise unreadable
    finally:
        pool.shutdown(cancel_futures=True)
