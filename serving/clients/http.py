"""What the blocking and the asynchronous REST client ask of httpx, and how they tell what went wrong."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from htlnet_tf.serving.clients.address import is_proxied
from htlnet_tf.serving.errors import ConnectionFailedError, TimedOutError

# Idle connections are kept for so long; a new one costs a round trip.
_KEEPALIVE_SECONDS = 60.0

_MakeTransport = Callable[[httpx.Limits, ssl.SSLContext], Any]


def http_options(
    url: httpx.URL,
    make_transport: _MakeTransport,
    *,
    timeout: float,
    max_connections: int,
    verify: ssl.SSLContext,
) -> dict[str, Any]:
    """The arguments of `httpx.Client` or `httpx.AsyncClient`.

    Args:
      url: Of the server.
      make_transport: What carries requests where no proxy does.
      timeout: Seconds to wait for a connection, and for each part of an answer.
      max_connections: At most so many at once.
      verify: With what to verify certificates.

    Returns:
      Keyword arguments.
    """
    limits = httpx.Limits(
        max_connections=max_connections,
        max_keepalive_connections=max_connections,
        keepalive_expiry=_KEEPALIVE_SECONDS,
    )
    if is_proxied(url):  # how TCP behaves beyond it is the proxy's affair
        return {"timeout": timeout, "limits": limits, "verify": verify}
    return {"timeout": timeout, "transport": make_transport(limits, verify), "trust_env": False}


@contextlib.contextmanager
def told_by_kind(server: str, timeout: float) -> Iterator[None]:
    """Raises httpx's errors as this package's.

    Args:
      server: URL, for messages.
      timeout: The client's, in seconds, for messages.

    Raises:
      ConnectionFailedError: There is no connection, or it broke.
      TimedOutError: There is one, but no answer in time; or all connections of the pool were taken for that long.
    """
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise ConnectionFailedError(f"no server answers at {server}: {error or 'timed out'}") from error
    except httpx.PoolTimeout as error:
        raise TimedOutError(f"all connections to {server} were taken for {timeout:g} s") from error
    except httpx.TimeoutException as error:
        raise TimedOutError(f"{server} did not answer within {timeout:g} s") from error
    except httpx.HTTPError as error:
        raise ConnectionFailedError(f"the connection to {server} broke: {error or type(error).__name__}") from error
