"""A gRPC channel as the clients use it, and how they tell what went wrong on it."""

from __future__ import annotations

import os

import grpc
from grpc._cython import cygrpc

from htlnet_tf.errors import InputError
from htlnet_tf.serving.clients.retries import FIRST_DELAY_SECONDS, MAX_DELAY_SECONDS
from htlnet_tf.serving.errors import ConnectionFailedError, RefusedError, ServingError, TimedOutError, UnavailableError

# A server closes the connection of a client that pings an idle one more often than every 5 minutes
# (gRPC, doc/keepalive.md: GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS).
KEEPALIVE_SECONDS = 300.0

# A server that runs out of workers refuses with RESOURCE_EXHAUSTED, as a message that is too large or a tensor that
# memory does not hold is refused: of those nothing changes by waiting. gRPC's own servers say it so: C++
# (src/cpp/server/server_cc.cc), TF Serving's; Python (grpc/_server.py). Older ones in C++ say nothing at all.
_OUT_OF_WORKERS = ("", "Server Threadpool Exhausted", "Concurrent RPC limit exceeded!")

# The process that gRPC's threads are in; None while there are none.
_threads: int | None = None


def require_threads() -> None:
    """Refuses to go on in a process in which gRPC would wait for ever, even beyond the deadline of a call.

    gRPC works with threads, which a fork does not copy. `GRPC_ENABLE_FORK_SUPPORT=1` has it start new ones
    (gRPC, doc/fork_support.md).

    Raises:
      InputError: The process was forked after gRPC had been used in it, without that support.
    """
    if _threads not in (None, os.getpid()) and not cygrpc.is_fork_support_enabled():
        raise InputError(
            "gRPC was used before this process was forked, and does not work in it: make the first GrpcClient after "
            "the fork, set GRPC_ENABLE_FORK_SUPPORT=1 before grpc is imported, or use RestClient"
        )


def open_channel(
    target: str, *, credentials: grpc.ChannelCredentials | None, keepalive: float, max_message_bytes: int
) -> tuple[str, grpc.Channel]:
    """Makes a channel; it connects on the first call.

    Args:
      target: `"host:port"`, `"grpc://host:port"`, or `"grpcs://host:port"` for TLS.
      credentials: For TLS; None for none, or the system's certificates with `grpcs://`.
      keepalive: Seconds after which an idle connection is pinged.
      max_message_bytes: The largest message to send or receive.

    Returns:
      The target without the scheme, and the channel.

    Raises:
      InputError: An argument is not usable, or gRPC is not in this process (`require_threads`).
    """
    global _threads  # noqa: PLW0603
    address, is_secure = _parsed(target)
    if not keepalive > 0:
        raise InputError(f"keepalive must be a positive number of seconds, but is {keepalive!r}")
    options = [
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.keepalive_time_ms", int(1000 * keepalive)),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        # Of the channel itself; at first it waits 1 s otherwise, longer than all retries together.
        ("grpc.initial_reconnect_backoff_ms", int(1000 * FIRST_DELAY_SECONDS)),
        ("grpc.max_reconnect_backoff_ms", int(1000 * MAX_DELAY_SECONDS)),
    ]
    require_threads()
    _threads = os.getpid()
    if credentials is None and not is_secure:
        return address, grpc.insecure_channel(address, options)
    return address, grpc.secure_channel(address, credentials or grpc.ssl_channel_credentials(), options)


def told_by_kind(error: grpc.RpcError, target: str, timeout: float) -> ServingError:
    """Makes this package's error of gRPC's.

    Args:
      error: What a call raised.
      target: Of the channel, for messages.
      timeout: The call's deadline in seconds, for messages.

    Returns:
      A `TimedOutError`, `UnavailableError` or `RefusedError`.
    """
    code, details = error.code(), error.details() or ""
    message = details or "no message"
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return TimedOutError(f"{target} did not answer within {timeout:g} s: {message}", code=code.name)
    if code is grpc.StatusCode.UNAVAILABLE:
        # The server's own answer, that its queue is full, or gRPC's, that there is none: only the text tells.
        if message.startswith("failed to connect to all addresses"):
            return ConnectionFailedError(f"no server answers at {target}: {message}", code=code.name)
        return UnavailableError(message, code=code.name)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and details in _OUT_OF_WORKERS:
        return UnavailableError(message, code=code.name)
    return RefusedError(message, code=code.name)


def _parsed(target: str) -> tuple[str, bool]:
    if isinstance(target, str):
        scheme, separator, address = target.rpartition("://")
        if not separator or scheme in ("grpc", "grpcs"):
            address = address.rstrip("/")
            if address:
                return address, scheme == "grpcs"
    raise InputError(f"the server's target must be like localhost:8500 or grpc://localhost:8500, but is {target!r}")
