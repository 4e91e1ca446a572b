"""A server in this process that answers TF Serving's API, for demos, tests and machines without Docker."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import uvicorn

from htlnet_tf.errors import InputError
from htlnet_tf.files import checkpoint_path, local_path
from htlnet_tf.serving.errors import StatusError
from htlnet_tf.serving.server.limits import Limits
from htlnet_tf.serving.server.model_config import read_model_config
from htlnet_tf.serving.server.monitoring import Metrics
from htlnet_tf.serving.server.polling import Poller
from htlnet_tf.serving.server.process import listen, postponed_sigterm
from htlnet_tf.serving.server.rest_api import create_app
from htlnet_tf.serving.server.servable_store import ServableStore
from htlnet_tf.serving.server.version_loading import VersionLoader

if TYPE_CHECKING:
    from htlnet_tf.serving.server.grpc_server import GrpcServer

_logger = logging.getLogger(__name__)

# Half of the files that a process may usually have open.
_LEAST_CONNECTIONS = 512


class EmbeddedServer:
    """Serves a folder of exported models over TF Serving's REST API and, if asked to, its gRPC API.

    As a context manager it runs in a background thread; `serve_forever` runs it until Ctrl-C. New versions are picked
    up while it runs: a version is loaded and warmed up before it answers, and the one before it answers until then.

    Args:
      models: Folder with one folder per model name, each with its version folders.
      host: Address to listen on.
      port: Port of the REST API; 0 takes a free one.
      grpc_port: Port of the gRPC API; 0 takes a free one, None offers none.
      model_config_file: models.config, with the models to serve, their version policies and labels; None for that in
        `models`, or, if there is none, the latest version of every model in `models`. A `base_path` `/models/NAME` that
        is not there, as in the container, means NAME in `models`.
      model_config_file_poll_wait_seconds: Time between two looks at that file; 0 for none after the start.
      file_system_poll_wait_seconds: Time between two looks for new versions; 0 for none after the start.
      allow_version_labels_for_unavailable_models: Lets a new label name a version that is not available.
      batching_parameters_file: Batching parameters of TF Serving, whose limits on a request are then kept; None for
        no such limits. Requests are not merged.
      enable_model_warmup: Replay a version's warm-up requests before it answers.
      request_timeout_seconds: How long a request may wait and run, and how long the body of a REST request may take
        to arrive (408 after that).
      max_workers: How many requests run at once; None for four per processor.
      max_queue: How many more may wait; further ones are refused.
      grpc_max_threads: How many gRPC requests may be under way; further ones are refused with RESOURCE_EXHAUSTED, as
        the genuine server refuses them with `--grpc_max_threads`. None for no such limit.
      max_body_bytes: The largest body of a REST request, inflated if it comes compressed.
      shutdown_grace_seconds: How long requests under way may take when the server stops.

    Example:
      >>> with EmbeddedServer("models", port=0) as server:
      ...     scores = RestClient(server.url, "htlnet").predict(frame)

    Raises:
      InputError: An argument is out of range.
    """

    def __init__(
        self,
        models: str | os.PathLike[str],
        host: str = "127.0.0.1",
        port: int = 8501,
        *,
        grpc_port: int | None = None,
        model_config_file: str | os.PathLike[str] | None = None,
        model_config_file_poll_wait_seconds: float = 0.0,
        file_system_poll_wait_seconds: float = 1.0,
        allow_version_labels_for_unavailable_models: bool = False,
        batching_parameters_file: str | os.PathLike[str] | None = None,
        enable_model_warmup: bool = True,
        request_timeout_seconds: float = 30.0,
        max_workers: int | None = None,
        max_queue: int = 128,
        grpc_max_threads: int | None = None,
        max_body_bytes: int = 64 * 2**20,
        shutdown_grace_seconds: float = 30.0,
    ) -> None:
        for number in (port, 0 if grpc_port is None else grpc_port):
            if not 0 <= number <= 65535:
                raise InputError(f"the port must be between 0 and 65535, but is {number}")
        for name, seconds in (
            ("model_config_file_poll_wait_seconds", model_config_file_poll_wait_seconds),
            ("file_system_poll_wait_seconds", file_system_poll_wait_seconds),
            ("shutdown_grace_seconds", shutdown_grace_seconds),
        ):
            if not seconds >= 0:
                raise InputError(f"{name} must be at least 0, but is {seconds}")
        self._models = checkpoint_path(models)
        self._host = host
        self._port = port
        self._grpc_port = grpc_port
        if grpc_max_threads is not None and grpc_max_threads < 1:
            raise InputError(f"grpc_max_threads must be at least 1, but is {grpc_max_threads}")
        self._grpc_max_threads = grpc_max_threads
        beside = self._models / "models.config"
        chosen = beside if model_config_file is None and beside.is_file() else model_config_file
        self._config_file = None if chosen is None else local_path(chosen)
        self._config_poll_seconds = model_config_file_poll_wait_seconds
        self._poll_seconds = file_system_poll_wait_seconds
        self._allow_labels = allow_version_labels_for_unavailable_models
        self._batching_file = None if batching_parameters_file is None else local_path(batching_parameters_file)
        self._warmup = enable_model_warmup
        self._new_limits: Callable[[], Limits] = lambda: Limits(
            timeout_seconds=request_timeout_seconds,
            max_workers=max_workers,
            max_queue=max_queue,
            max_body_bytes=max_body_bytes,
        )
        self._timeout_seconds = request_timeout_seconds
        self._grace_seconds = shutdown_grace_seconds
        self._limits: Limits | None = None
        self._store: ServableStore | None = None
        self._server: uvicorn.Server | None = None
        self._grpc: GrpcServer | None = None
        self._thread: threading.Thread | None = None
        self._pollers: list[Poller] = []
        self._config_complaint = ""
        self._new_limits().close()  # refuses what is out of range

    @property
    def url(self) -> str:
        """The base URL, such as `http://127.0.0.1:8501`; with port 0 the real port once the server is started."""
        return f"http://{self._address(self._port)}"

    @property
    def grpc_target(self) -> str | None:
        """The target for gRPC, such as `127.0.0.1:8500`; None if there is none."""
        return None if self._grpc_port is None else self._address(self._grpc_port)

    @property
    def model_names(self) -> list[str]:
        """The models that are served, sorted; empty while the server is not started."""
        return self._store.names if self._store is not None else []

    def start(self) -> None:
        """Loads the models and serves from a background thread; returns once requests are answered.

        Raises:
          InputError: The folder, a model in it, a file, or an address cannot be used.
        """
        listener = self._prepare()
        assert self._server is not None
        server = self._server
        self._thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listener]}, name="htlnet-serving", daemon=True
        )
        self._thread.start()
        while not server.started:
            if not self._thread.is_alive():
                self.stop()
                raise InputError(f"the server could not be started on {self.url}: see the log")
            time.sleep(0.005)

    def serve_forever(self, on_ready: Callable[[str], None] | None = None) -> None:
        """Loads the models and serves until SIGINT (Ctrl-C) or SIGTERM, then finishes the requests under way.

        SIGTERM ends the process as it ends any other, once that is done.

        Args:
          on_ready: Called with one line that names the models and the address, once the models are loaded.

        Raises:
          InputError: The folder, a model in it, a file, or an address cannot be used.
        """
        listener = self._prepare()
        assert self._server is not None
        where = self.url if self.grpc_target is None else f"{self.url}, gRPC at {self.grpc_target}"
        (on_ready or _logger.info)(f"serving {', '.join(self.model_names)} at {where} (Ctrl-C stops it)")
        with postponed_sigterm():
            try:
                self._server.run(sockets=[listener])
            except KeyboardInterrupt:
                # uvicorn has shut down in order by now and hands on the Ctrl-C, which has done its work.
                _logger.info("stopped")
            finally:
                self.stop()

    def stop(self) -> None:
        """Finishes the requests under way, stops and frees the models; does nothing on a server that is not running."""
        for poller in self._pollers:
            poller.stop()
        if self._server is not None:
            self._server.should_exit = True
        if self._grpc is not None:
            self._grpc.stop(grace_seconds=self._grace_seconds)
        if self._thread is not None:
            self._thread.join(self._grace_seconds + 5)
        if self._limits is not None:
            self._limits.close()
        if self._store is not None:
            self._store.close()
        self._pollers = []
        self._server = self._thread = self._store = self._limits = self._grpc = None

    def _prepare(self) -> socket.socket:
        if self._server is not None:
            raise RuntimeError("the server is running already")
        # The cheap refusals first: a wrong path or a port in use must not cost the time to load models.
        config = None if self._config_file is None else read_model_config(self._config_file)
        metrics = Metrics()
        store = ServableStore(
            self._models,
            config,
            allow_version_labels_for_unavailable_models=self._allow_labels,
            loader=VersionLoader(
                timeout_seconds=self._timeout_seconds,
                warmup=self._warmup,
                batching_parameters_file=self._batching_file,
                metrics=metrics,
            ),
        )
        listener = listen(self._host, self._port)
        limits = self._new_limits()
        try:
            store.load()
            if self._grpc_port is not None:
                self._start_grpc(store, limits, metrics)
        except BaseException:
            listener.close()
            limits.close()
            store.close()
            raise
        self._port = listener.getsockname()[1]
        self._store, self._limits = store, limits
        self._server = uvicorn.Server(
            uvicorn.Config(
                create_app(store, limits, metrics),
                log_config=None,
                log_level="warning",
                access_log=False,
                lifespan="off",
                ws="none",
                server_header=False,  # TF Serving sends none
                # Many more than are answered at once, for idle ones count too; each may hold a part of a body.
                limit_concurrency=max(_LEAST_CONNECTIONS, 2 * (limits.max_workers + limits.max_queue)),
                timeout_graceful_shutdown=max(1, round(self._grace_seconds)),
            )
        )
        self._start_polling(store)
        return listener

    def _start_grpc(self, store: ServableStore, limits: Limits, metrics: Metrics) -> None:
        from htlnet_tf.serving.server.grpc_server import (
            GrpcServer,  # REST does without gRPC's threads and start-up time
        )

        server = GrpcServer(
            store,
            host=self._host,
            port=self._grpc_port or 0,
            max_threads=self._grpc_max_threads,
            limits=limits,
            metrics=metrics,
        )
        self._grpc_port = server.start()
        self._grpc = server

    def _start_polling(self, store: ServableStore) -> None:
        if self._poll_seconds > 0:
            self._pollers.append(Poller(store.refresh, self._poll_seconds, "htlnet-version-polling"))
        if self._config_file is not None and self._config_poll_seconds > 0:
            file = self._config_file
            self._pollers.append(
                Poller(lambda: self._reload(store, file), self._config_poll_seconds, "htlnet-config-polling")
            )
        for poller in self._pollers:
            poller.start()

    def _reload(self, store: ServableStore, file: Path) -> None:
        try:
            store.reload(read_model_config(file))
            complaint = ""
        except (InputError, StatusError) as error:
            complaint = f"{file} is not taken, the models before stay in force: {error}"
        if complaint and complaint != self._config_complaint:  # once, not at every poll
            _logger.error("%s", complaint)
        self._config_complaint = complaint

    def _address(self, port: int) -> str:
        return f"[{self._host}]:{port}" if ":" in self._host else f"{self._host}:{port}"

    def __enter__(self) -> EmbeddedServer:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
