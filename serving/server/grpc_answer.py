"""How a gRPC method ends: with its response, or with the canonical status of a `StatusError`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]

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


class MalformedRequests(grpc.ServerInterceptor):  # type: ignore[misc, unused-ignore]
    """Refuses bytes that are not the method's message with INVALID_ARGUMENT.

    grpc itself would write a traceback to the log for each of them, and call it a fault of the server (INTERNAL).
    """

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler | None:
        """Reads the message of a method with one request and one response in the method, and not before it."""
        handler = continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler
        behavior, parse = handler.unary_unary, handler.request_deserializer

        def parsed(content: bytes, context: grpc.ServicerContext) -> Any:
            try:
                request = parse(content)
            except DecodeError:
                request = None
            if request is None:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "Failed to parse the request message.")
            return behavior(request, context)

        return grpc.unary_unary_rpc_method_handler(parsed, response_serializer=handler.response_serializer)


class FullServer(grpc.ServerInterceptor):  # type: ignore[misc, unused-ignore]
    """Refuses a request that finds all workers taken, as a gRPC server in C++ does: RESOURCE_EXHAUSTED.

    Source: gRPC, src/cpp/server/server_cc.cc; TF Serving's `--grpc_max_threads` is that number of workers. Such a
    request comes to no service, so no metric counts it.

    Args:
      workers: How many requests may be under way.
    """

    def __init__(self, workers: int) -> None:
        self._free = threading.Semaphore(workers)

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler | None:
        """Has a method with one request and one response take a worker while it runs."""
        handler = continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler
        behavior = handler.unary_unary

        def counted(request: Any, context: grpc.ServicerContext) -> Any:
            if not self._free.acquire(blocking=False):
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted")
            try:
                return behavior(request, context)
            finally:
                self._free.release()

        return grpc.unary_unary_rpc_method_handler(counted, handler.request_deserializer, handler.response_serializer)
