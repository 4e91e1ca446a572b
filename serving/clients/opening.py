"""The client that a URL asks for: REST or gRPC."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from htlnet_tf.serving.clients.rest_client import RestClient

if TYPE_CHECKING:
    from htlnet_tf.schema import Schema
    from htlnet_tf.serving.clients.grpc_client import GrpcClient


def open_client(
    url: str,
    model_name: str,
    *,
    version: int | None = None,
    label: str | None = None,
    timeout: float = 10.0,
    schema: Schema | str | Path | None = None,
) -> RestClient | GrpcClient:
    """Makes the client for a server's URL.

    Args:
      url: `http://host:port` or `https://host:port` for REST, `grpc://host:port` or `grpcs://host:port` for gRPC.
      model_name: Name of the model on the server.
      version: Version to ask; None for the one that `label` names, or the latest.
      label: Version label to ask; None for none.
      timeout: Seconds to wait for an answer.
      schema: As of `RestClient`.

    Returns:
      A client with `predict`, `predict_candidates`, `rank`, `signature`, `status`, `metadata` and `close`.

    Raises:
      InputError: The URL or another argument is not usable.
    """
    if isinstance(url, str) and url.startswith(("grpc://", "grpcs://")):
        from htlnet_tf.serving.clients.grpc_client import GrpcClient

        return GrpcClient(url, model_name, version=version, label=label, timeout=timeout, schema=schema)
    return RestClient(url, model_name, version=version, label=label, timeout=timeout, schema=schema)
