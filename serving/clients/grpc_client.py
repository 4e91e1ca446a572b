"""Client of TF Serving's gRPC API, with the methods of `RestClient`.

Unlike the REST clients it imports TensorFlow (3 s and 0.5 GB): the messages of tensorflow-serving-api refer to
protocol buffers that come with the tensorflow package and cannot be imported without it.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pandas as pd

from htlnet_tf.serving.clients.address import ModelAddress, check_limits
from htlnet_tf.serving.clients.calls import Call, Calls, Question, ScoresOf, StatusOf, run
from htlnet_tf.serving.clients.connections import OwnConnections
from htlnet_tf.serving.clients.replies import OtherOutputsError
from htlnet_tf.serving.clients.retries import delays, is_retryable
from htlnet_tf.serving.clients.rows import Rows, User
from htlnet_tf.serving.clients.shadow import shadow_of
from htlnet_tf.serving.errors import ServingError
from htlnet_tf.serving.signatures import CANDIDATES_SIGNATURE, DEFAULT_SIGNATURE, EXCEEDANCE_SIGNATURE, Signature

try:
    import grpc
    import tensorflow as tf
    from google.protobuf import json_format  # type: ignore[import-untyped]
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        get_model_status_pb2,
        model_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_service_pb2_grpc,
    )

    from htlnet_tf.serving.clients.channel import KEEPALIVE_SECONDS, open_channel, require_threads, told_by_kind
    from htlnet_tf.serving.clients.tensors import tensor_of
except ImportError as error:
    raise ImportError(
        f"GrpcClient needs tensorflow-serving-api and the tensorflow package that it imports ({error}); "
        "RestClient needs neither"
    ) from error

if TYPE_CHECKING:
    from htlnet_tf.schema import Schema


@dataclass(frozen=True)
class _Connection:
    channel: grpc.Channel
    predictions: Any
    models: Any


class GrpcClient:
    """Scores rows with a model behind TF Serving's gRPC API (or an `EmbeddedServer`).

    The methods are those of `RestClient`, with the same results. The signatures are read from the server and kept, so
    input that does not fit is refused before any row is sent; they are read again where a new version may be served, as
    in `RestClient`. The client may be used by several threads. Close it, or use it as a context manager. It imports
    TensorFlow, whose protocol buffers tensorflow-serving-api needs.

    A request is sent again, after a wait that doubles each time, where there is no connection, it breaks, or the server
    is too busy: UNAVAILABLE, or RESOURCE_EXHAUSTED for want of a worker. What is too large is RESOURCE_EXHAUSTED too,
    and refused at once.

    gRPC does not outlive a fork: in a process that was forked after gRPC was used, the client opens connections of its
    own where `GRPC_ENABLE_FORK_SUPPORT=1` was set before the import of grpc and no call was under way, and else refuses
    with an `InputError`. `RestClient` has no such condition.

    Args:
      target: `"host:port"`, `"grpc://host:port"`, or `"grpcs://host:port"` for TLS.
      model_name: Name of the model on the server.
      version: Version to ask; None for the one that `label` names, or the latest.
      label: Version label to ask, such as `"stable"`; None for none.
      timeout: Deadline of a call in seconds, further attempts included. The server knows it too.
      retries: How often to call again. No wait goes beyond the deadline.
      credentials: Of a channel with TLS, such as `grpc.ssl_channel_credentials(root_certificates)`; None for a channel
        without, or with the system's certificates for `grpcs://`.
      keepalive: Seconds after which an idle connection is pinged, so that nothing on the way forgets it. TF Serving
        closes the connection of a client that does so more often than every 300 s.
      max_message_bytes: The largest message to send or receive.
      schema: As of `RestClient`.
      shadow: A label or version to ask the same in the background, as of `RestClient`.
      shadow_log: As of `RestClient`.
      shadow_keys: As of `RestClient`.

    Example:
      >>> with GrpcClient("localhost:8500", "htlnet") as client:
      ...     scores = client.predict(frame)

    Raises:
      InputError: An argument is not usable.
    """

    def __init__(
        self,
        target: str,
        model_name: str,
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float = 10.0,
        retries: int = 2,
        credentials: grpc.ChannelCredentials | None = None,
        keepalive: float = KEEPALIVE_SECONDS,
        max_message_bytes: int = 256 * 2**20,
        schema: Schema | str | Path | None = None,
        shadow: str | int | None = None,
        shadow_log: str | Path | None = None,
        shadow_keys: Sequence[str] = (),
    ) -> None:
        check_limits(timeout=timeout, retries=retries, max_message_bytes=max_message_bytes)
        self._address = ModelAddress(model_name, version, label)
        self._target = target

        def connect() -> _Connection:
            self._target, channel = open_channel(
                target, credentials=credentials, keepalive=keepalive, max_message_bytes=max_message_bytes
            )
            predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            return _Connection(channel, predictions, model_service_pb2_grpc.ModelServiceStub(channel))

        # To free a channel of the parent is to call gRPC, which is not there.
        self._connections = OwnConnections(connect, keep_inherited=True)
        self._connections.get()  # refuses what is not usable
        self._timeout = timeout
        self._retries = retries
        self._calls = Calls(self._target, schema)

        open_shadow = functools.partial(
            GrpcClient,
            target,
            model_name,
            timeout=timeout,
            retries=0,
            credentials=credentials,
            keepalive=keepalive,
            max_message_bytes=max_message_bytes,
            schema=schema,
        )
        self._shadow = shadow_of(shadow, shadow_log, shadow_keys, self._address, open_shadow, timeout=timeout)

    def predict(self, rows: Rows, signature_name: str = DEFAULT_SIGNATURE) -> pd.DataFrame:
        """Scores rows.

        Args:
          rows: As of `RestClient.predict`.
          signature_name: Signature to call.

        Returns:
          As of `RestClient.predict`: one row per input row, one column per output in funnel order.

        Raises:
          InputError: The rows do not fit the signature, or the model has no such signature; no row was sent.
          ServingError: The server refused the request (`RefusedError`), took too long (`TimedOutError`), or could not
            be reached or was too busy (`UnavailableError`).
        """
        return self._watched(self._calls.predict(rows, signature_name), "predict", rows, signature_name)

    def predict_candidates(self, user: User, items: Rows, signature_name: str = CANDIDATES_SIGNATURE) -> pd.DataFrame:
        """Scores many items for one user, sending what belongs to the user once.

        Args:
          user: Column -> value, for the columns of user and context: those whose declared shape is `[1]`; or a
            DataFrame of one row, whose further columns are left out.
          items: The other columns, one row per item, in any form that `predict` takes.
          signature_name: Signature to call.

        Returns:
          One row per item, as from `predict`.

        Raises:
          InputError: As in `predict`.
          ServingError: As in `predict`.
        """
        call = self._calls.predict_candidates(user, items, signature_name)
        return self._watched(call, "predict_candidates", user, items, signature_name)

    def rank(self, user: User, items: Rows, k: int = 10) -> pd.DataFrame:
        """The best items for one user, sorted on the server by the score of the model's ranking.

        Args:
          user: Column -> value, for the columns of user and context; or a DataFrame of one row, whose further columns
            are left out.
          items: The other columns, one row per item, in any form that `predict` takes.
          k: How many items are wanted.

        Returns:
          The `k` best items, or all if there are fewer, best first: `score` and a column per target, in funnel order;
          the index is that of the items' own rows, so that `items.loc[ranked.index]` or a join finds them. Of items
          with equal scores the one that stands first comes first.

        Raises:
          InputError: `k` is below 1, or the model has no signature `ranked`, which needs a `ranking` in its schema; and
            as in `predict`.
          ServingError: As in `predict`.
        """
        return self._watched(self._calls.rank(user, items, k), "rank", user, items, k)

    def exceedance(
        self, rows: Rows, thresholds: float | Iterable[float], signature_name: str = EXCEEDANCE_SIGNATURE
    ) -> pd.DataFrame:
        """The probabilities that amounts exceed thresholds, of a model whose schema has `quantiles`.

        Args:
          rows: As of `predict`.
          thresholds: In the amounts' unit, one or several; all rows share them.
          signature_name: Signature to call.

        Returns:
          One row per input row, as from `predict`; per amount P(y > t) as `{name}_above_{t}` for each threshold, and
          P(y > 0) as `{name}_positive`: what `htlnet_tf.exceedance` gives of the model in memory.

        Raises:
          InputError: As in `predict`; or a threshold is no finite number.
          ServingError: As in `predict`.
        """
        call = self._calls.exceedance(rows, thresholds, signature_name)
        return self._watched(call, "exceedance", rows, thresholds, signature_name)

    def signature(self, name: str = DEFAULT_SIGNATURE) -> Signature:
        """The inputs and outputs of a signature, read from the server on first use.

        Args:
          name: Signature name.

        Returns:
          The signature.

        Raises:
          InputError: The model has no signature of this name with inputs.
          ServingError: The server refused the request or did not answer.
        """
        return run(self._calls.signature(name), self._answer)

    def status(self) -> dict[str, Any]:
        """The state of the model's versions; a label is not regarded by TF Serving here.

        Returns:
          The same document as from `RestClient.status`.

        Raises:
          ServingError: The server refused the request or did not answer.
        """
        return run(self._calls.status(), self._answer)

    def metadata(self) -> dict[str, Any]:
        """The model's name, version and signatures.

        Returns:
          The same document as from `RestClient.metadata`.

        Raises:
          ServingError: The server refused the request or did not answer.
        """
        return run(self._calls.metadata(), self._answer)

    def close(self) -> None:
        """Closes the channel; a shadow first ends what waits, for `timeout` seconds at most."""
        if self._shadow is not None:
            self._shadow.close()
        for connection, _ in self._connections.close():
            connection.channel.close()

    def __enter__(self) -> GrpcClient:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _watched(self, call: Call[pd.DataFrame], method: str, *arguments: Any, **named: Any) -> pd.DataFrame:
        if self._shadow is None:
            return run(call, self._answer)
        with self._shadow.watch(method, arguments, named) as first:
            scores = first.scores = run(call, self._answer)
        return scores

    def _answer(self, question: Question) -> Any:
        if isinstance(question, ScoresOf):
            return self._outputs(question)
        if isinstance(question, StatusOf):
            asked = get_model_status_pb2.GetModelStatusRequest(model_spec=self._spec())
            return _as_json(self._call(lambda own: own.models.GetModelStatus, asked))
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=self._spec(), metadata_field=["signature_def"]
        )
        reply = self._call(lambda own: own.predictions.GetModelMetadata, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        if not reply.metadata["signature_def"].Unpack(signatures):
            raise ServingError(f"{self._target} gives metadata that is not TF Serving's")
        return {"model_spec": _as_json(reply.model_spec), "metadata": {"signature_def": _as_json(signatures)}}

    def _outputs(self, question: ScoresOf) -> dict[str, Any]:
        request = predict_pb2.PredictRequest(model_spec=self._spec(question.signature_name))
        for name, values in question.columns.items():
            request.inputs[name].CopyFrom(tensor_of(name, values, question.signature.inputs[name]))
        reply = self._call(lambda own: own.predictions.Predict, request)
        if reply.outputs.keys() != question.signature.outputs.keys():
            raise OtherOutputsError(f"the reply of {self._target} has not the outputs that the model declares")
        return {name: tf.make_ndarray(tensor) for name, tensor in reply.outputs.items()}

    def _spec(self, signature_name: str = "") -> model_pb2.ModelSpec:
        spec = model_pb2.ModelSpec(name=self._address.name, signature_name=signature_name)
        if self._address.version is not None:
            spec.version.value = self._address.version
        elif self._address.label is not None:
            spec.version_label = self._address.label
        return spec

    def _call(self, method: Callable[[_Connection], Callable[..., Any]], request: Any) -> Any:
        require_threads()
        call = method(self._connections.get())
        deadline = time.monotonic() + self._timeout
        for delay in (*delays(self._retries), None):
            left = deadline - time.monotonic()
            try:
                return call(request, timeout=left)
            except grpc.RpcError as error:
                told = told_by_kind(error, self._target, self._timeout)
                if delay is None or not is_retryable(told) or time.monotonic() + delay >= deadline:
                    raise told from error
            time.sleep(delay)
        raise AssertionError("the last attempt ends in an answer or an error")


def _as_json(message: Any) -> dict[str, Any]:
    return dict(
        json_format.MessageToDict(message, always_print_fields_with_no_presence=True, preserving_proto_field_name=True)
    )
