"""TF Serving's gRPC API on a port of this process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc
from google.protobuf import wrappers_pb2  # type: ignore[import-untyped]
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from htlnet_tf.errors import InputError
from htlnet_tf.serving.server.grpc_answer import FullServer, MalformedRequests
from htlnet_tf.serving.server.grpc_services import ModelService, PredictionService
from htlnet_tf.serving.server.limits import Limits
from htlnet_tf.serving.server.monitoring import Metrics
from htlnet_tf.serving.server.servable_store import ServableStore

# Requests that only look things up are answered even while every worker and every place in the queue is taken.
_SPARE_THREADS = 8

_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),  # else two servers on one port share its requests, and neither says so
    # A dead peer is noticed after 80 seconds; clients may ping every 10 seconds, with or without a request.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
]

# TF Serving's names for its services here, and "" for the server as a whole (model_servers/server.cc).
_HEALTHY = {"", "ModelService", "PredictionService"}
_SERVING = 1


class GrpcServer:
    """Serves PredictionService, ModelService and the standard health check.

    Args:
      store: The servables to answer with.
      host: Address to listen on.
      port: Port to listen on; 0 takes a free one.
      max_workers: Threads that take requests; None for as many as `limits` lets run or wait, and a few more.
      max_threads: How many requests may be under way; further ones are refused at once, as TF Serving refuses them with
        its `--grpc_max_threads`. None for no such limit: they wait for a thread.
      limits: Where graphs are run; None for limits of its own.
      metrics: Where requests are counted; None for a page of its own.

    Attributes:
      metrics: Where requests are counted.

    Example:
      >>> server = GrpcServer(store, port=0)
      >>> port = server.start()
      >>> server.stop(grace_seconds=5)
    """

    def __init__(
        self,
        store: ServableStore,
        *,
        host: str = "127.0.0.1",
        port: int = 8500,
        max_workers: int | None = None,
        max_threads: int | None = None,
        limits: Limits | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        if not 0 <= port <= 65535:
            raise InputError(f"the port must be between 0 and 65535, but is {port}")
        if max_threads is not None and max_threads < 1:
            raise InputError(f"max_threads must be at least 1, but is {max_threads}")
        self.metrics = metrics or Metrics()
        self._store = store
        self._host = host
        self._port = port
        self._limits = limits or Limits()
        self._owns_limits = limits is None
        self._threads = max_workers or self._limits.max_workers + self._limits.max_queue + _SPARE_THREADS
        self._interceptors: list[grpc.ServerInterceptor] = [MalformedRequests()]
        if max_threads is not None:
            self._threads = max(self._threads, max_threads + _SPARE_THREADS)  # someone must be there to refuse
            self._interceptors.insert(0, FullServer(max_threads))
        self._server: grpc.Server | None = None

    def start(self) -> int:
        """Begins to listen and returns at once.

        Returns:
          The port.

        Raises:
          InputError: The address cannot be used.
        """
        if self._server is not None:
            raise RuntimeError("the server is running already")
        threads = ThreadPoolExecutor(self._threads, thread_name_prefix="htlnet-grpc")
        server = grpc.server(threads, interceptors=self._interceptors, options=_OPTIONS)
        prediction = PredictionService(self._store, self._limits, self.metrics)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(prediction, server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(self._store), server)
        server.add_generic_rpc_handlers((_health(),))
        host = f"[{self._host}]" if ":" in self._host else self._host
        try:
            port = server.add_insecure_port(f"{host}:{self._port}")
        except RuntimeError as error:
            raise InputError(f"the server cannot listen on {host}:{self._port} for gRPC") from error
        server.start()
        self._server = server
        return port

    def stop(self, grace_seconds: float = 5.0) -> None:
        """Takes no more requests and returns when those under way are finished; does nothing if not running.

        Args:
          grace_seconds: What is not finished by then is cancelled.
        """
        if self._server is None:
            return
        self._server.stop(grace_seconds).wait()
        self._server = None
        if self._owns_limits:
            self._limits.close(wait=False)  # what is left has had its grace


def _health() -> grpc.GenericRpcHandler:
    # grpc.health.v1: one string in, one enum out, both field 1. The wrapper messages of protobuf are the same bytes,
    # and grpcio-health-checking answers without TF Serving's message. Watch is unimplemented: clients then ask no more.
    def check(request: wrappers_pb2.StringValue, context: grpc.ServicerContext) -> wrappers_pb2.Int32Value:
        if request.value not in _HEALTHY:
            context.abort(grpc.StatusCode.NOT_FOUND, "service name unknown")
        return wrappers_pb2.Int32Value(value=_SERVING)

    handler = grpc.unary_unary_rpc_method_handler(
        check,
        request_deserializer=wrappers_pb2.StringValue.FromString,
        response_serializer=wrappers_pb2.Int32Value.SerializeToString,
    )
    return grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": handler})
