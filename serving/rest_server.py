"""A server in this process that answers TF Serving's REST API, for demos, tests and machines without Docker."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import uvicorn

from htlnet_tf.errors import InputError
from htlnet_tf.serving.rest_api import create_app
from htlnet_tf.serving.servable_store import ServableStore

_logger = logging.getLogger(__name__)

# Requests under way when the server stops get this long to finish.
_SHUTDOWN_SECONDS = 5


class EmbeddedServer:
    """Serves a folder of exported models over TF Serving's REST API.

    As a context manager it runs in a background thread; `serve_forever` runs it until Ctrl-C. Status, metadata and
    predict are answered; classify, regress, version labels and gRPC are not. New versions are not picked up.

    Args:
      models: Folder with one folder per model name, each with its version folders.
      host: Address to listen on.
      port: Port to listen on; 0 takes a free one.

    Example:
      >>> with EmbeddedServer("models", port=0) as server:
      ...     scores = RestClient(server.url, "htlnet").predict(frame)

    Raises:
      InputError: The port is not one.
    """

    def __init__(self, models: str | os.PathLike[str], host: str = "127.0.0.1", port: int = 8501) -> None:
        if not 0 <= port <= 65535:
            raise InputError(f"the port must be between 0 and 65535, but is {port}")
        self._models = Path(models)
        self._host = host
        self._port = port
        self._store: ServableStore | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The base URL, such as `http://127.0.0.1:8501`; with port 0 the real port once the server is started."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @property
    def model_names(self) -> list[str]:
        """The models that are served, sorted; empty while the server is not started."""
        return self._store.names if self._store is not None else []

    def start(self) -> None:
        """Loads the models and serves from a background thread; returns once requests are answered.

        Raises:
          InputError: The folder, a model in it, or the address cannot be used.
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
        """Loads the models and serves until SIGINT (Ctrl-C) or SIGTERM.

        Args:
          on_ready: Called with one line that names the models and the address, once the models are loaded.

        Raises:
          InputError: The folder, a model in it, or the address cannot be used.
        """
        listener = self._prepare()
        assert self._server is not None
        (on_ready or _logger.info)(f"serving {', '.join(self.model_names)} at {self.url} (Ctrl-C stops it)")
        try:
            self._server.run(sockets=[listener])
        except KeyboardInterrupt:
            # uvicorn has shut down in order by now and hands on the Ctrl-C, which has done its work.
            _logger.info("stopped")
        finally:
            self.stop()

    def stop(self) -> None:
        """Stops serving and frees the models; does nothing on a server that is not running."""
        if self._server is not None:
            self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(_SHUTDOWN_SECONDS + 5)
        if self._store is not None:
            self._store.close()
        self._server = self._thread = self._store = None

    def _prepare(self) -> socket.socket:
        if self._server is not None:
            raise RuntimeError("the server is running already")
        # The cheap refusals first: a wrong path or a port in use must not cost the time to load models.
        store = ServableStore(self._models)
        listener = _listen(self._host, self._port)
        try:
            store.load()
        except InputError:
            listener.close()
            raise
        self._port = listener.getsockname()[1]
        self._store = store
        self._server = uvicorn.Server(
            uvicorn.Config(
                create_app(store),
                log_config=None,
                log_level="warning",
                access_log=False,
                lifespan="off",
                ws="none",
                server_header=False,  # TF Serving sends none
                timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
            )
        )
        return listener

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


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise InputError(f"the server cannot listen on host '{host}': {error.strerror or error}") from error
    # A port whose last connections are still closing may be taken again at once; one that is listened on may not.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise InputError(f"the server cannot listen on {host}:{port}: {error.strerror or error}") from error
    return listener
