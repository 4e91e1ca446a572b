"""Recorded gRPC exchanges with the genuine TensorFlow Serving, put to the embedded server.

The recordings and the models that answered them lie beside the checkout (`../shared/tfserving`); without them the tests
are skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import json_format, text_format, wrappers_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)
from tensorflow_serving.config import model_server_config_pb2

import htlnet_tf  # noqa: F401  # before TensorFlow: it makes tf.keras mean Keras 2
from htlnet_tf.serving.server.grpc_server import GrpcServer
from htlnet_tf.serving.server.servable_store import ServableStore
from tests.serving.server.recordings import MODELS, RECORDINGS, recorded, same, stable_beginning

PREDICTION = "/tensorflow.serving.PredictionService/"
MODEL = "/tensorflow.serving.ModelService/"
RELOAD = f"{MODEL}HandleReloadConfigRequest"
TYPES: dict[str, tuple[Any, Any]] = {
    f"{PREDICTION}Predict": (predict_pb2.PredictRequest, predict_pb2.PredictResponse),
    f"{PREDICTION}Classify": (classification_pb2.ClassificationRequest, classification_pb2.ClassificationResponse),
    f"{PREDICTION}Regress": (regression_pb2.RegressionRequest, regression_pb2.RegressionResponse),
    f"{PREDICTION}MultiInference": (inference_pb2.MultiInferenceRequest, inference_pb2.MultiInferenceResponse),
    f"{PREDICTION}GetModelMetadata": (
        get_model_metadata_pb2.GetModelMetadataRequest,
        get_model_metadata_pb2.GetModelMetadataResponse,
    ),
    f"{MODEL}GetModelStatus": (
        get_model_status_pb2.GetModelStatusRequest,
        get_model_status_pb2.GetModelStatusResponse,
    ),
    RELOAD: (model_management_pb2.ReloadConfigRequest, model_management_pb2.ReloadConfigResponse),
    # One string in, one enum out, both field 1: the same bytes as protobuf's wrapper messages.
    "/grpc.health.v1.Health/Check": (wrappers_pb2.StringValue, wrappers_pb2.Int32Value),
}


EXCHANGES = recorded("grpc.jsonl")

pytestmark = pytest.mark.skipif(not EXCHANGES, reason=f"no recorded exchanges in {RECORDINGS}")


def config(stable: int) -> model_server_config_pb2.ModelServerConfig:
    message = model_server_config_pb2.ModelServerConfig()
    for name in ("ctr", "types", "examples"):
        base_path = str(MODELS / name)
        message.model_config_list.config.add(name=name, base_path=base_path, model_platform="tensorflow")
    ctr = message.model_config_list.config[0]
    ctr.model_version_policy.specific.versions.extend([1, 2])
    ctr.version_labels.update({"stable": stable, "canary": 2})
    return message


@pytest.fixture(scope="module")
def store() -> Iterator[ServableStore]:
    store = ServableStore(MODELS, config(stable=1))
    store.load()
    yield store
    store.close()


@pytest.fixture(scope="module")
def channel(store: ServableStore) -> Iterator[grpc.Channel]:
    server = GrpcServer(store, port=0)
    port = server.start()
    limits = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=limits) as open_channel:
        yield open_channel
    server.stop(grace_seconds=1)


def twice(rows: int) -> predict_pb2.PredictRequest:
    """What the two requests that were too long to record were: signature `twice`, x float32 [rows, 2]."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "ctr"
    request.model_spec.signature_name = "twice"
    tensor = request.inputs["x"]
    tensor.dtype = 1
    for size in (rows, 2):
        tensor.tensor_shape.dim.add(size=size)
    tensor.tensor_content = np.ones((rows, 2), np.float32).tobytes()
    return request


def _request(exchange: dict[str, Any]) -> Any:
    request_type, _ = TYPES[exchange["method"]]
    if exchange["name"] == "large_4MB_roundtrip":
        return twice(500_000)
    if exchange["name"] == "deadline_exceeded":
        return twice(2_000_000)
    if request_type is wrappers_pb2.StringValue:
        return request_type(value=exchange["request"].removeprefix('service: "').removesuffix('"\n'))
    text = exchange["request"].replace('base_path: "/models/', f'base_path: "{MODELS}/')
    return text_format.Parse(text, request_type())


@pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange["name"] for exchange in EXCHANGES])
def test_same_answer_as_tensorflow_serving(
    channel: grpc.Channel, store: ServableStore, exchange: dict[str, Any]
) -> None:
    request_type, response_type = TYPES[exchange["method"]]
    call = channel.unary_unary(exchange["method"], request_type.SerializeToString, response_type.FromString)
    request = _request(exchange)
    name = exchange["name"]
    # Between the recorded lines the label was moved and moved back; each test here stands alone.
    store.reload(config(stable=2 if name == "predict_label_after_move" else 1))
    timeout = 0.001 if name == "deadline_exceeded" else 20
    if exchange["code"] != "OK":
        with pytest.raises(grpc.RpcError) as failed:
            call(request, timeout=timeout)
        assert failed.value.code().name == exchange["code"]
        if name == "deadline_exceeded":  # the client's own words; they differ between versions of grpc
            assert "deadline exceeded" in failed.value.details().lower()
            return
        assert failed.value.details().startswith(stable_beginning(exchange["details"]))
        assert "\n\t [[" in exchange["details"] or failed.value.details() == exchange["details"]
        assert not failed.value.trailing_metadata()
        return
    response = call(request, timeout=timeout)
    if name == "large_4MB_roundtrip":
        assert f"[{len(request.SerializeToString())} bytes]" == exchange["request"]
        assert f"[{len(response.SerializeToString())} bytes]" == exchange["response"]
        (tensor,) = response.outputs.values()
        assert set(tensor.float_val) == {2.0}
    elif response_type is wrappers_pb2.Int32Value:
        assert exchange["response"] == "status: SERVING\n"
        assert response.value == 1
    else:
        expected = text_format.Parse(exchange["response"], response_type())
        assert same(json_format.MessageToDict(response), json_format.MessageToDict(expected)), response
