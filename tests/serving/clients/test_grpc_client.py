"""The gRPC client against a small PredictionService and ModelService over the tiny servables."""

from __future__ import annotations

import copy
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from google.protobuf import json_format
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from htlnet_tf.errors import InputError
from htlnet_tf.serving import (
    ConnectionFailedError,
    EmbeddedServer,
    GrpcClient,
    RefusedError,
    RestClient,
    ServingError,
    TimedOutError,
    UnavailableError,
    open_client,
)
from htlnet_tf.serving.errors import StatusError
from htlnet_tf.serving.server.servables import LoadedVersion

USER = {"age": 2.0, "user": "anna"}
ITEMS = [{"item": 1, "price": 10.0}, {"item": 7, "price": 0.5}, {"item": -1, "price": 3.0}]
ROWS = [USER | item for item in ITEMS]


class Service(prediction_service_pb2_grpc.PredictionServiceServicer, model_service_pb2_grpc.ModelServiceServicer):
    """Answers with one servable; `behaviours` are run first, one per call of Predict."""

    def __init__(self, servable: LoadedVersion) -> None:
        self.servable = servable
        self.requests: list[predict_pb2.PredictRequest] = []
        self.metadata_requests = 0
        self.behaviours: list[Callable[[grpc.ServicerContext], None]] = []

    def Predict(self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext) -> Any:
        self.requests.append(request)
        if self.behaviours:
            self.behaviours.pop(0)(context)
        try:
            feeds = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
            outputs = self.servable.run(request.model_spec.signature_name, feeds)
        except StatusError as error:
            context.abort(grpc.StatusCode[error.code], error.message)
        reply = predict_pb2.PredictResponse()
        for name, values in outputs.items():
            reply.outputs[name].CopyFrom(tf.make_tensor_proto(values))
        return reply

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.metadata_requests += 1
        if request.model_spec.name != "ranker":
            name = request.model_spec.name
            context.abort(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: Latest({name})")
        assert list(request.metadata_field) == ["signature_def"]
        signatures = json_format.ParseDict(
            {"signature_def": self.servable.signature_defs}, get_model_metadata_pb2.SignatureDefMap()
        )
        reply = get_model_metadata_pb2.GetModelMetadataResponse()
        reply.model_spec.name = "ranker"
        reply.model_spec.version.value = 1
        reply.metadata["signature_def"].Pack(signatures)
        return reply

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:
        reply = get_model_status_pb2.GetModelStatusResponse()
        reply.model_version_status.add(version=1, state="AVAILABLE").status.SetInParent()
        return reply


@pytest.fixture(scope="module")
def servable(ranker_models: Path) -> Iterator[LoadedVersion]:
    loaded = LoadedVersion(ranker_models / "ranker" / "1")
    yield loaded
    loaded.close()


@pytest.fixture
def served(servable: LoadedVersion) -> Iterator[tuple[str, Service]]:
    service = Service(servable)
    server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", -1)])
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}", service
    server.stop(None)


@pytest.fixture
def client(served: tuple[str, Service]) -> Iterator[GrpcClient]:
    with GrpcClient(served[0], "ranker") as running:
        yield running


@pytest.mark.parametrize(
    "rows",
    [ROWS, pd.DataFrame(ROWS), {name: [row[name] for row in ROWS] for name in ROWS[0]}],
    ids=["rows", "frame", "columns"],
)
def test_it_gives_what_the_rest_client_gives(client: GrpcClient, ranker_server: EmbeddedServer, rows: Any) -> None:
    with RestClient(ranker_server.url, "ranker") as rest:
        expected, status, metadata = rest.predict(rows), rest.status(), rest.metadata()
        assert {name: client.signature(name) for name in ("candidates", "serving_default", "examples")} == {
            name: rest.signature(name) for name in ("candidates", "serving_default", "examples")
        }
    scores = client.predict(rows)
    # By hand: age * price + item; 4 letters + 2 age.
    assert scores["buy"].tolist() == [21.0, 8.0, 5.0] and scores["click"].tolist() == [8.0] * 3
    assert scores["name"].tolist() == ["anna1", "anna7", "anna-1"]
    pd.testing.assert_frame_equal(scores, expected)
    assert client.status() == status
    assert client.metadata() == metadata


def test_the_embedded_server_answers_alike(ranker_server: EmbeddedServer) -> None:
    assert ranker_server.grpc_target is not None
    with RestClient(ranker_server.url, "ranker") as rest, GrpcClient(ranker_server.grpc_target, "ranker") as client:
        pd.testing.assert_frame_equal(client.predict(ROWS), rest.predict(ROWS))
        pd.testing.assert_frame_equal(client.predict(ROWS, "examples"), rest.predict(ROWS))
        items = pd.DataFrame(ITEMS)
        pd.testing.assert_frame_equal(client.predict_candidates(USER, items), rest.predict_candidates(USER, items))
        assert client.status() == rest.status()
        assert client.metadata() == rest.metadata()


def test_missing_values_and_bytes(client: GrpcClient, served: tuple[str, Service]) -> None:
    columns = {"age": [None, 1.0], "user": [b"\xff", None], "item": [None, 3.0], "price": [1, 2]}
    frame = pd.DataFrame(columns, index=[8, 9])
    scores = client.predict(frame)
    assert np.isnan(scores["click"][8]) and scores["click"][9] == 2.0
    sent = {name: tf.make_ndarray(tensor).tolist() for name, tensor in served[1].requests[-1].inputs.items()}
    assert sent["user"] == [b"\xff", b""] and sent["item"] == [-(2**63), 3] and sent["price"] == [1.0, 2.0]


def test_candidates_send_the_user_once(client: GrpcClient, served: tuple[str, Service]) -> None:
    scores = client.predict_candidates(USER, pd.DataFrame(ITEMS, index=[5, 3, 4]))
    assert scores["buy"].tolist() == [21.0, 8.0, 5.0] and scores.index.tolist() == [5, 3, 4]
    assert tf.make_ndarray(served[1].requests[-1].inputs["user"]).tolist() == [b"anna"]


def test_examples_are_made_of_rows(client: GrpcClient, served: tuple[str, Service]) -> None:
    expected = client.predict(ROWS)
    pd.testing.assert_frame_equal(client.predict(ROWS, "examples"), expected)
    serialized = tf.make_ndarray(served[1].requests[-1].inputs["examples"]).tolist()
    first = tf.train.Example.FromString(serialized[0]).features.feature
    assert first["user"].bytes_list.value == [b"anna"] and first["item"].int64_list.value == [1]
    assert first["age"].float_list.value == [2.0] and len(serialized) == 3
    pd.testing.assert_frame_equal(client.predict({"examples": serialized}, "examples"), expected)
    pd.testing.assert_frame_equal(client.predict([{"examples": one} for one in serialized], "examples"), expected)


def test_version_and_label_are_named(served: tuple[str, Service]) -> None:
    for option in ({"version": 7}, {"label": "stable"}, {}):
        with GrpcClient(f"grpc://{served[0]}/", "ranker", **option) as client:
            client.predict(ROWS)
        spec = served[1].requests[-1].model_spec
        assert (spec.name, spec.signature_name) == ("ranker", "serving_default")
        assert spec.version.value == option.get("version", 0) and spec.version_label == option.get("label", "")


def test_the_url_says_which_client_it_is(served: tuple[str, Service]) -> None:
    with open_client(f"grpc://{served[0]}", "ranker", label="stable") as client:
        assert isinstance(client, GrpcClient) and len(client.predict(ROWS)) == 3
    with open_client("http://localhost:1", "ranker") as other:
        assert isinstance(other, RestClient)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{**ROWS[0], "item": 1.5}], "column 'item' must hold int64 values, but row 0 holds 1.5"),
        ([{**ROWS[0], "user": "\ud800"}], "column 'user' must hold text that UTF-8 can carry, but row 0"),
        ([{**ROWS[0], "user": ["a", "b"]}], "but row 0 holds .* joined by the separator"),
        (ITEMS, "column 'age' is missing in row 0"),
    ],
)
@pytest.mark.parametrize("signature_name", ["serving_default", "examples"])
def test_input_that_does_not_fit_is_refused_before_sending(
    client: GrpcClient, served: tuple[str, Service], rows: Any, message: str, signature_name: str
) -> None:
    with pytest.raises(InputError, match=message):
        client.predict(rows, signature_name)
    assert served[1].requests == []


def aborting(code: grpc.StatusCode, message: str) -> Callable[[grpc.ServicerContext], None]:
    return lambda context: context.abort(code, message)


def test_unavailable_is_tried_again(client: GrpcClient, served: tuple[str, Service]) -> None:
    busy = aborting(grpc.StatusCode.UNAVAILABLE, "queue is full")
    served[1].behaviours = [busy, busy]
    assert len(client.predict(ROWS)) == 3
    assert len(served[1].requests) == 3
    served[1].behaviours = [busy, busy, busy]
    with pytest.raises(UnavailableError, match=r"^queue is full \(UNAVAILABLE\)$"):
        client.predict(ROWS)
    assert len(served[1].requests) == 6


@pytest.mark.parametrize("message", ["Server Threadpool Exhausted", "Concurrent RPC limit exceeded!", ""])
def test_a_server_without_a_free_worker_is_asked_again(
    client: GrpcClient, served: tuple[str, Service], message: str
) -> None:
    full = aborting(grpc.StatusCode.RESOURCE_EXHAUSTED, message)
    served[1].behaviours = [full, full]
    assert len(client.predict(ROWS)) == 3 and len(served[1].requests) == 3
    served[1].behaviours = [full] * 3
    with pytest.raises(UnavailableError, match=message or "no message") as caught:
        client.predict(ROWS)
    assert caught.value.code == "RESOURCE_EXHAUSTED" and len(served[1].requests) == 6


def test_no_wait_goes_beyond_the_deadline(served: tuple[str, Service]) -> None:
    full = aborting(grpc.StatusCode.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted")
    with GrpcClient(served[0], "ranker", timeout=0.5, retries=1000) as client:
        client.signature()
        served[1].behaviours = [full] * 1000
        start = time.monotonic()
        with pytest.raises(UnavailableError, match="Server Threadpool Exhausted"):
            client.predict(ROWS)
        # The waits are 0.05 to 0.1 s, twice as long, and so on: the fifth would go beyond.
        assert time.monotonic() - start < 0.5 and 2 <= len(served[1].requests) <= 5


def test_a_burst_beyond_the_workers_of_the_server(ranker_models: Path) -> None:
    with EmbeddedServer(ranker_models, port=0, grpc_port=0, grpc_max_threads=1) as server:
        assert server.grpc_target is not None
        rows = pd.DataFrame(ROWS * 2000)

        def burst(client: GrpcClient) -> list[BaseException | None]:
            client.signature()
            with futures.ThreadPoolExecutor(8) as pool:
                asked = [pool.submit(client.predict, rows) for _ in range(8)]
                assert all(len(one.result()) == len(rows) for one in asked if one.exception() is None)
                return [one.exception() for one in asked]

        with GrpcClient(server.grpc_target, "ranker", retries=0) as client:
            refused = [error for error in burst(client) if error is not None]
        assert refused and all(isinstance(error, UnavailableError) for error in refused)
        assert all(str(error) == "Server Threadpool Exhausted (RESOURCE_EXHAUSTED)" for error in refused)
        with GrpcClient(server.grpc_target, "ranker", retries=30, timeout=30.0) as client:
            assert burst(client) == [None] * 8
        # As on the genuine server, no metric tells of them.
        metrics = httpx.get(f"{server.url}/monitoring/prometheus/metrics", trust_env=False).text
        assert "RESOURCE_EXHAUSTED" not in metrics


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, RefusedError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, RefusedError),
        (grpc.StatusCode.INTERNAL, RefusedError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, TimedOutError),
    ],
)
def test_what_will_not_pass_is_not_tried_again(
    client: GrpcClient, served: tuple[str, Service], code: grpc.StatusCode, kind: type[ServingError]
) -> None:
    served[1].behaviours = [aborting(code, "no good")]
    with pytest.raises(kind, match="no good") as caught:
        client.predict(ROWS)
    assert (caught.value.code, caught.value.status) == (code.name, None)
    assert len(served[1].requests) == 1


def test_the_signatures_are_read_again_after_a_refusal(client: GrpcClient, served: tuple[str, Service]) -> None:
    client.predict(ROWS)
    client.predict(ROWS)
    assert served[1].metadata_requests == 1
    served[1].behaviours = [aborting(grpc.StatusCode.INVALID_ARGUMENT, "input size does not match signature")]
    with pytest.raises(RefusedError, match="input size does not match"):
        client.predict(ROWS)
    client.predict(ROWS)
    assert served[1].metadata_requests == 2


class Version:
    """A servable whose metadata lacks an input or an output until `is_new`, as a version did before it."""

    def __init__(self, servable: LoadedVersion, kind: str, lacks: str) -> None:
        self.servable, self.kind, self.lacks, self.is_new = servable, kind, lacks, False

    @property
    def signature_defs(self) -> dict[str, Any]:
        definitions = copy.deepcopy(dict(self.servable.signature_defs))
        if not self.is_new:
            del definitions["serving_default"][self.kind][self.lacks]
        return definitions

    def run(self, name: str, feeds: Any) -> Any:
        if not self.is_new and self.kind == "inputs":
            feeds = {**feeds, self.lacks: np.zeros(len(next(iter(feeds.values()))), np.float32)}
        outputs = dict(self.servable.run(name, feeds))
        if not self.is_new and self.kind == "outputs":
            del outputs[self.lacks]
        return outputs


def test_a_new_version_with_one_more_output(
    client: GrpcClient, served: tuple[str, Service], servable: LoadedVersion
) -> None:
    service, version = served[1], Version(servable, "outputs", "buy")
    service.servable = version  # type: ignore[assignment]
    assert client.predict(ROWS).columns.tolist() == ["click", "name"]
    version.is_new = True
    assert client.predict(ROWS)["buy"].tolist() == [21.0, 8.0, 5.0]
    assert (service.metadata_requests, len(service.requests)) == (2, 3)


def test_a_new_version_with_one_more_input(
    client: GrpcClient, served: tuple[str, Service], servable: LoadedVersion
) -> None:
    service, version = served[1], Version(servable, "inputs", "price")
    service.servable = version  # type: ignore[assignment]
    assert len(client.predict([{name: row[name] for name in row if name != "price"} for row in ROWS])) == 3
    with pytest.raises(InputError, match="column 'price' in row 0 is unknown"):
        client.predict(ROWS)
    version.is_new = True
    assert client.predict(ROWS)["buy"].tolist() == [21.0, 8.0, 5.0]
    assert client.predict(ROWS, "examples")["buy"].tolist() == [21.0, 8.0, 5.0]


def test_outputs_that_the_metadata_does_not_explain(
    client: GrpcClient, served: tuple[str, Service], servable: LoadedVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, version = served[1], Version(servable, "outputs", "buy")
    service.servable = version  # type: ignore[assignment]
    monkeypatch.setattr(version, "run", servable.run)
    with pytest.raises(ServingError, match="has not the outputs that the model declares"):
        client.predict(ROWS)
    assert (service.metadata_requests, len(service.requests)) == (2, 1)


def test_threads_that_ask_a_silent_server_wait_at_the_same_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        target = f"127.0.0.1:{silent.getsockname()[1]}"
        with GrpcClient(target, "ranker", timeout=0.5, retries=0) as client, futures.ThreadPoolExecutor(6) as pool:
            start = time.monotonic()
            asked = [pool.submit(client.predict, ROWS) for _ in range(6)]
            assert all(isinstance(one.exception(), ServingError) for one in asked)
            assert time.monotonic() - start < 1.5  # one after the other it would be 3 s


@pytest.mark.parametrize("signature_name", ["serving_default", "examples"])
def test_numbers_beyond_all_floats(client: GrpcClient, signature_name: str) -> None:
    with pytest.raises(InputError, match="column 'price' must hold float values, but row 0 holds 1000"):
        client.predict([{**ROWS[0], "price": 10**400}], signature_name)
    assert client.predict([{**ROWS[0], "price": 10**300}], signature_name)["buy"].tolist() == [np.inf]


def test_the_deadline(served: tuple[str, Service]) -> None:
    with GrpcClient(served[0], "ranker", timeout=0.2) as client:
        client.signature()
        served[1].behaviours = [lambda context: time.sleep(0.5)]
        with pytest.raises(TimedOutError, match=r"did not answer within 0\.2 s"):
            client.predict(ROWS)


def test_no_server(served: tuple[str, Service]) -> None:
    with (
        GrpcClient("127.0.0.1:1", "ranker", retries=1) as client,
        pytest.raises(ConnectionFailedError, match="no server answers at 127"),
    ):
        client.status()
    with GrpcClient(served[0], "nope") as client, pytest.raises(RefusedError, match=r"Latest\(nope\).*NOT_FOUND"):
        client.predict(ROWS)


def test_the_size_of_messages(served: tuple[str, Service]) -> None:
    frame = pd.DataFrame({"age": 1.0, "user": "x" * 1000, "item": 1, "price": 1.0}, index=range(6000))
    with GrpcClient(served[0], "ranker") as client:  # 6 MB there and back, more than gRPC takes by itself
        assert len(client.predict(frame)) == 6000
    with (
        GrpcClient(served[0], "ranker", max_message_bytes=100_000) as client,
        pytest.raises(RefusedError, match=r"larger than max.*RESOURCE_EXHAUSTED"),
    ):
        client.predict(frame)


def test_tls(servable: LoadedVersion, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("openssl is not there to make a certificate")
    server = grpc.server(futures.ThreadPoolExecutor(2))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(servable), server)
    own = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
    port = server.add_secure_port("localhost:0", own)
    server.start()
    try:
        trusted = grpc.ssl_channel_credentials(certificate.read_bytes())
        with GrpcClient(f"localhost:{port}", "ranker", credentials=trusted) as client:
            assert len(client.predict(ROWS)) == 3
        # The system does not know the certificate.
        with GrpcClient(f"grpcs://localhost:{port}", "ranker", retries=0) as client, pytest.raises(UnavailableError):
            client.predict(ROWS)
    finally:
        server.stop(None)


@pytest.mark.parametrize(
    ("target", "options"),
    [
        ("", {}),
        ("grpc://", {}),
        ("http://localhost:8500", {}),
        (None, {}),
        ("localhost:1", {"retries": -1}),
        ("localhost:1", {"keepalive": 0}),
        ("localhost:1", {"timeout": 0}),
        ("localhost:1", {"max_message_bytes": 0}),
        ("localhost:1", {"version": 1, "label": "stable"}),
    ],
)
def test_arguments_that_cannot_be_used(target: Any, options: Any) -> None:
    with pytest.raises(InputError):
        GrpcClient(target, "m", **options)


def test_without_tensorflow_it_says_what_it_needs() -> None:
    program = """
import sys
sys.modules["tensorflow"] = None
import htlnet_tf as htl
try:
    htl.serving.GrpcClient
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.startswith("GrpcClient needs tensorflow-serving-api and the tensorflow package"), done.stderr
