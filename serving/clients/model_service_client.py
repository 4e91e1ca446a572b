"""TF Serving's ModelService over gRPC: which versions answer, and which configuration a server follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from htlnet_tf.serving.errors import RefusedError, ServingError

if TYPE_CHECKING:
    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

_MAX_MESSAGE_BYTES = 4 * 2**20  # a configuration and a list of versions are small


@dataclass(frozen=True)
class ServedVersion:
    """What a server tells of one version.

    Args:
      version: Its number.
      state: `"START"`, `"LOADING"`, `"AVAILABLE"`, `"UNLOADING"` or `"END"`.
      error: Why it is not available; empty if there was no error.
    """

    version: int
    state: str
    error: str


class ModelServiceClient:
    """Administers a model server.

    Args:
      server: `host:port` of the server's gRPC port; `grpcs://host:port` for TLS with the system's certificates.
      timeout: Seconds that a call may take. Loading a new version is no part of a call to `reload`.

    Raises:
      InputError: `server` is neither.

    Example:
      >>> with ModelServiceClient("localhost:8500") as client:
      ...     client.status("htlnet")
      [ServedVersion(version=2, state='AVAILABLE', error='')]
    """

    def __init__(self, server: str, *, timeout: float = 30.0) -> None:
        # These modules import TensorFlow, for its protocol buffers, so only who calls a server waits for them.
        from tensorflow_serving.apis import model_service_pb2_grpc

        from htlnet_tf.serving.clients.channel import KEEPALIVE_SECONDS, open_channel

        self._timeout = timeout
        self._server, self._channel = open_channel(
            server, credentials=None, keepalive=KEEPALIVE_SECONDS, max_message_bytes=_MAX_MESSAGE_BYTES
        )
        self._service = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def __enter__(self) -> ModelServiceClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def status(self, name: str, version: int | None = None) -> list[ServedVersion]:
        """The versions of a model, newest first.

        Args:
          name: Model name.
          version: One version; None for all.

        Raises:
          ServingError: The server knows no such model or version, or does not answer.
        """
        from tensorflow_serving.apis import get_model_status_pb2

        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = name
        if version is not None:
            request.model_spec.version.value = version
        response = self._call(self._service.GetModelStatus, request)
        states = get_model_status_pb2.ModelVersionStatus.State
        found = [
            ServedVersion(entry.version, states.Name(entry.state), entry.status.error_message)
            for entry in response.model_version_status
        ]
        return sorted(found, key=lambda served: -served.version)

    def require_available(self, name: str, version: int) -> None:
        """Checks that a version answers requests.

        Raises:
          ServingError: It does not; says what the server tells of it, and which versions answer in its place.
        """
        state, reason = "not loaded", ""
        try:
            (served,) = self.status(name, version)
            state, reason = served.state, f", {served.error}" if served.error else ""
        except RefusedError as error:
            if error.code != "NOT_FOUND":
                raise
        if state == "AVAILABLE":
            return
        message = f"version {version} of model '{name}' must be AVAILABLE on {self._server}; it is {state}{reason}"
        if not reason and state in ("not loaded", "END"):  # it has not failed: nobody wants it there
            others = ", ".join(str(one.version) for one in self.status(name) if one.state == "AVAILABLE") or "none"
            message += (
                f" (AVAILABLE: {others}). A server that follows no models.config loads the newest version alone: "
                "promote without a server, which writes MODELS/models.config, and start the server with that file"
            )
        raise ServingError(message)

    def reload(self, config: ModelServerConfig) -> None:
        """Has the server follow a configuration in place of its own, labels included.

        Raises:
          ServingError: The server refuses it, or does not answer.
        """
        from tensorflow_serving.apis import model_management_pb2

        request = model_management_pb2.ReloadConfigRequest(config=config)
        response = self._call(self._service.HandleReloadConfigRequest, request)
        if response.status.error_code:
            raise ServingError(f"{self._server} refuses the configuration: {response.status.error_message}")

    def _call(self, method: Any, request: Any) -> Any:
        import grpc

        from htlnet_tf.serving.clients.channel import told_by_kind

        try:
            return method(request, timeout=self._timeout)
        except grpc.RpcError as error:
            raise told_by_kind(error, self._server, self._timeout) from error
