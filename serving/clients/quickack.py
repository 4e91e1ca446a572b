"""TCP that acknowledges at once: TF Serving's large answers over a kept connection without a wait of 40 ms.

TF Serving writes an answer of more than 16 KiB in two pieces. Nagle's algorithm on its side holds the second back until
the first is acknowledged, and on a connection that is used again and again Linux delays that by 40 ms, unless the
receiver has set TCP_QUICKACK. The kernel takes the option back by itself (tcp(7)), so it is set for every exchange.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx

# Linux only; elsewhere nothing is set, and answers are as fast as they are.
TCP_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)

_Options = Iterable[httpcore.SOCKET_OPTION] | None


class QuickAckTransport(httpx.HTTPTransport):
    """An `httpx.HTTPTransport` whose sockets acknowledge at once.

    Args:
      limits: Of the connection pool.
      verify: With what to verify certificates. Made before: OpenSSL may wait for ever where several threads of a
        process that was forked make contexts at once.
    """

    def __init__(self, limits: httpx.Limits, verify: ssl.SSLContext) -> None:
        super().__init__(verify=verify)  # its own pool is not used
        self._pool = httpcore.ConnectionPool(
            ssl_context=verify,
            network_backend=_Backend(),
            **_pool_options(limits),
        )


class AsyncQuickAckTransport(httpx.AsyncHTTPTransport):
    """An `httpx.AsyncHTTPTransport` whose sockets acknowledge at once.

    Args:
      limits: Of the connection pool.
      verify: With what to verify certificates. Made before: OpenSSL may wait for ever where several threads of a
        process that was forked make contexts at once.
    """

    def __init__(self, limits: httpx.Limits, verify: ssl.SSLContext) -> None:
        super().__init__(verify=verify)  # its own pool is not used
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=verify,
            network_backend=_AsyncBackend(),
            **_pool_options(limits),
        )


def _pool_options(limits: httpx.Limits) -> dict[str, Any]:
    return {
        "max_connections": limits.max_connections,
        "max_keepalive_connections": limits.max_keepalive_connections,
        "keepalive_expiry": limits.keepalive_expiry,
    }


def _acknowledge_at_once(stream: httpcore.NetworkStream | httpcore.AsyncNetworkStream) -> None:
    connection = stream.get_extra_info("socket")
    if TCP_QUICKACK is None or connection is None:
        return
    with contextlib.suppress(OSError):  # no TCP, or closed meanwhile: reading will tell
        connection.setsockopt(socket.IPPROTO_TCP, TCP_QUICKACK, 1)


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        _acknowledge_at_once(self._stream)
        return self._stream.read(max_bytes, timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _AsyncStream(httpcore.AsyncNetworkStream):
    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        _acknowledge_at_once(self._stream)
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        return _AsyncStream(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    def __init__(self) -> None:
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: _Options = None,
    ) -> httpcore.NetworkStream:
        return _Stream(self._backend.connect_tcp(host, port, timeout, local_address, socket_options))

    def sleep(self, seconds: float) -> None:
        self._backend.sleep(seconds)


class _AsyncBackend(httpcore.AsyncNetworkBackend):
    def __init__(self) -> None:
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: _Options = None,
    ) -> httpcore.AsyncNetworkStream:
        return _AsyncStream(await self._backend.connect_tcp(host, port, timeout, local_address, socket_options))

    async def sleep(self, seconds: float) -> None:
        await self._backend.sleep(seconds)
