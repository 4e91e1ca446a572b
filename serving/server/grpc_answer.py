"""How a gRPC method ends: with its response, or with the canonical status of a `StatusError`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import grpc
from google.protobuf.message import Message  # type: ignore[import-untyped]

from htlnet_tf.serving.errors import StatusError

_logger = logging.getLogger(__name__)

Response = TypeVar("Response", bound=Message)

# TF Serving, model_servers/grpc_status_util.cc.
_MAX_MESSAGE_BYTES = 1024


def answer(
    work: Callable[[], Response], context: grpc.ServicerContext, on_end: Callable[[str], None] | None = None
) -> Response:
    """Runs the work of a request and ends the call.

    Args:
      work: Makes the response, or raises a `StatusError`.
      context: The call.
      on_end: Called with the canonical code by name.

    Returns:
      The response. Otherwise the call ends with the error's code and message, cut as TF Serving cuts it; any other
      exception is a fault of the server: its log gets the traceback and the caller one sentence (INTERNAL).
    """
    error = StatusError("OK", "")
    try:
        return work()
    except StatusError as refusal:
        error = refusal
    except Exception:
        _logger.exception("a gRPC request failed")
        error = StatusError("INTERNAL", "Internal error; the server's log has the details.")
    finally:
        if on_end is not None:
            on_end(error.code)
    message = error.message.encode("utf-8", "replace")
    if len(message) > _MAX_MESSAGE_BYTES:
        message = message[:_MAX_MESSAGE_BYTES] + b"...TRUNCATED"
    return context.abort(grpc.StatusCode[error.code], message.decode("utf-8", "ignore"))
