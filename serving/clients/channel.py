"""A gRPC channel as the clients use it, and how they tell what went wrong on it."""

from __future__ import annotations

import json

import grpc

from htlnet_tf.errors import InputError
from htlnet_tf.serving.clients.retries import FIRST_DELAY_SECONDS, MAX_DELAY_SECONDS
from htlnet_tf.serving.errors import ConnectionFailedError, RefusedError, ServingError, TimedOutError, UnavailableError

# A server closes the connection of a client that pings an idle one more often than every 5 minutes
# (gRPC, doc/keepalive.md: GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS).
KEEPALIVE_SECONDS = 300.0
_MAX_ATTEMPTS = 5  # gRPC makes no more (gRFC A6)


def open_channel(
    target: str, *, retries: int, credentials: grpc.ChannelCredentials | None, keepalive: float, max_message_bytes: int
) -> tuple[str, grpc.Channel]:
    """Makes a channel; it connects on the first call.

    Args:
      target: `"host:port"`, `"grpc://host:port"`, or `"grpcs://host:port"` for TLS.
      retries: How often to call again where the server is not available.
      credentials: For TLS; None for none, or the system's certificates with `grpcs://`.
      keepalive: Seconds after which an idle connection is pinged.
      max_message_bytes: The largest message to send or receive.

    Returns:
      The target without the scheme, and the channel.

    Raises:
      InputError: An argument is not usable.
    """
    address, is_secure = _parsed(target)
    if retries >= _MAX_ATTEMPTS:
        raise InputError(f"gRPC makes at most {_MAX_ATTEMPTS - 1} retries, but {retries} are wanted")
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
        ("grpc.service_config", _service_config(retries)),
    ]
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
    code, message = error.code(), error.details() or "no message"
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return TimedOutError(f"{target} did not answer within {timeout:g} s: {message}", code=code.name)
    if code is grpc.StatusCode.UNAVAILABLE:
        # The server's own answer, that its queue is full, or gRPC's, that there is none: only the text tells.
        if message.startswith("failed to connect to all addresses"):
            return ConnectionFailedError(f"no server answers at {target}: {message}", code=code.name)
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


def _service_config(retries: int) -> str:
    services = [{"service": f"tensorflow.serving.{name}"} for name in ("PredictionService", "ModelService")]
    policy = {
        "maxAttempts": retries + 1,
        "initialBackoff": f"{FIRST_DELAY_SECONDS}s",
        "maxBackoff": f"{MAX_DELAY_SECONDS}s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    return json.dumps({"methodConfig": [{"name": services, "retryPolicy": policy}]} if retries else {})
