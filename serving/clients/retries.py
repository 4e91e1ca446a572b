"""When a request is sent again: the server could not be reached or was too busy, and waiting may help."""

from __future__ import annotations

import random
from collections.abc import Iterator

from htlnet_tf.serving.errors import ServingError, UnavailableError

FIRST_DELAY_SECONDS = 0.1
MAX_DELAY_SECONDS = 2.0


def is_retryable(error: ServingError) -> bool:
    """Whether the same request may succeed a little later.

    A prediction changes nothing on the server, so it may be sent twice. But a server that has just taken too long (504)
    is not helped by more requests, and what was refused as wrong or failed inside (4xx, 500) will be again.

    Args:
      error: Why the request failed.

    Returns:
      True for failed connections, 503, UNAVAILABLE, and RESOURCE_EXHAUSTED for want of a worker.
    """
    return isinstance(error, UnavailableError)


def delays(retries: int) -> Iterator[float]:
    """Exponential backoff with jitter: the more often a server could not answer, the longer it is left alone.

    Args:
      retries: How often to send again.

    Returns:
      Seconds to wait before each further attempt: half to all of 0.1, 0.2, 0.4 .. 2.0, at random, so that clients that
      failed together do not come back together.
    """
    for attempt in range(retries):
        # Beyond 2**16 the delay is at its maximum anyway.
        delay = min(MAX_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(attempt, 16))
        yield delay * random.uniform(0.5, 1.0)
