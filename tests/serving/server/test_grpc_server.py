"""The gRPC server: tensors in and out, refusals, load, and its end. What TF Serving answers is in test_grpc_replay."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import wrappers_pb2
from hypothesis import given
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    input_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from htlnet_tf.errors import InputError
from htlnet_tf.serving.errors import StatusError
from htlnet_tf.serving.server.grpc_codec import decode_tensor, encode_tensor, serialized_examples
from htlnet_tf.serving.server.grpc_server import GrpcServer
from htlnet_tf.serving.server.inference import Classifications, classify, regress
from htlnet_tf.serving.server.limits import Limits
from htlnet_tf.serving.server.monitoring import Metrics
from htlnet_tf.serving.server.servable_store import ResolvedVersion, ServableStore
from htlnet_tf.serving.signatures import Signature, TensorInfo

ARRAYS = [
    *(
        np.array([[1, 2, 3], [4, 5, 100]], dtype)
        for dtype in [
            "float16",
            "float32",
            "float64",
            "int8",
            "int16",
            "int32",
            "int64",
            "uint8",
            "uint16",
            "uint32",
            "uint64",
        ]
    ),
    np.array([-1.5, 2.0, np.inf], tf.bfloat16.as_numpy_dtype),
    np.array([-0.0, np.inf, np.nan], np.float32),
    np.array([1 + 2j, -3.5j], np.complex64),
    np.array([[1 + 2j], [-3.5j]], np.complex128),
    np.array([True, False, True]),
    np.array([-128, 127], np.int8),
    np.array([-(2**63), 2**63 - 1]),
    np.array([2**64 - 1], np.uint64),
    np.array([[b"a", b""], [b"\xff\x00", "☃".encode()]], object),
    np.array(2.5, np.float32),
    np.array(b"one", object),
    np.zeros((0, 3), np.float32),
    np.zeros(0, object),
]
IDS = [f"{array.dtype}-{array.shape}" for array in ARRAYS]


@pytest.mark.parametrize("array", ARRAYS, ids=IDS)
def test_tensors_survive_both_ways_as_tensorflow_reads_and_writes_them(array: np.ndarray) -> None:
    read = decode_tensor("x", tf.make_tensor_proto(array, dtype=tf.as_dtype(array.dtype), shape=array.shape))
    written = encode_tensor(array)
    back = tf.make_ndarray(written)
    for received in (read, back, decode_tensor("x", written)):
        assert received.dtype == array.dtype
        assert received.shape == array.shape
        np.testing.assert_array_equal(received, array)
    assert not written.tensor_content  # clients look into `float_val` and its like


@pytest.mark.parametrize("dtype", [tf.float32, tf.int8, tf.bool, tf.string, tf.half, tf.complex64], ids=str)
def test_missing_values_repeat_the_last_or_are_zero(dtype: tf.DType) -> None:
    # TensorFlow, core/framework/tensor.cc, FromProtoField.
    one = encode_tensor(np.array([b"x"], object) if dtype == tf.string else np.ones(1, dtype.as_numpy_dtype))
    none = encode_tensor(np.zeros(0, dtype.as_numpy_dtype))
    for proto in (one, none):
        proto.tensor_shape.dim[0].size = 3
    assert decode_tensor("x", one).tolist() == [b"x" if dtype == tf.string else 1] * 3
    assert decode_tensor("x", none).tolist() == [b"" if dtype == tf.string else 0] * 3


def test_a_few_bytes_cannot_fill_the_memory() -> None:
    proto = tf.make_tensor_proto([1.0])
    proto.tensor_shape.dim[0].size = 10**12
    with pytest.raises(StatusError, match="RESOURCE_EXHAUSTED: tensor x has 1000000000000 elements but 1 values"):
        decode_tensor("x", proto)


@pytest.mark.parametrize("fault", ["type", "rank", "negative", "short content", "string content", "resource"])
def test_tensors_that_contradict_themselves_are_refused(fault: str) -> None:
    proto = tf.make_tensor_proto(np.ones(3, np.float32))
    if fault == "type":
        proto.dtype = 0
    elif fault == "resource":
        proto.dtype = 20
    elif fault == "rank":
        proto.tensor_shape.unknown_rank = True
    elif fault == "negative":
        proto.tensor_shape.dim[0].size = -1
    elif fault == "short content":
        proto.tensor_content = proto.tensor_content[:-1]
    else:
        proto.dtype = 7
    with pytest.raises(StatusError, match="INVALID_ARGUMENT: tensor parsing error: x"):
        decode_tensor("x", proto)


@given(
    st.builds(
        dict,
        dtype=st.sampled_from([*range(24), 101]),
        shape=st.lists(st.sampled_from([-1, 0, 1, 2, 3, 2**40, 2**62]), max_size=4) | st.just([1] * 70),
        tensor_content=st.binary(max_size=24),
        float_val=st.lists(st.floats(width=32), max_size=3),
        half_val=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3),
        int_val=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3),
        scomplex_val=st.lists(st.floats(width=32), max_size=3),
        bool_val=st.lists(st.booleans(), max_size=3),
        string_val=st.lists(st.binary(max_size=3), max_size=3),
    )
)
def test_any_tensor_message_is_read_or_refused(fields: dict[str, Any]) -> None:
    shape = fields.pop("shape")
    proto = tensor_pb2.TensorProto(**fields)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    try:
        array = decode_tensor("x", proto)
    except StatusError as error:
        assert error.code in ("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED")
    else:
        assert list(array.shape) == shape
        assert array.dtype == tf.as_dtype(fields["dtype"]).as_numpy_dtype


def example(**features: float) -> tf.train.Example:
    return tf.train.Example(
        features=tf.train.Features(
            feature={key: tf.train.Feature(float_list=tf.train.FloatList(value=[v])) for key, v in features.items()}
        )
    )


def test_a_context_is_merged_into_every_example_and_the_example_wins() -> None:
    message = input_pb2.Input()
    message.example_list_with_context.context.CopyFrom(example(a=1.0, b=2.0))
    message.example_list_with_context.examples.extend([example(a=5.0), example(c=7.0)])
    merged = [tf.train.Example.FromString(one).features.feature for one in serialized_examples(message)]
    values = [{key: feature.float_list.value[0] for key, feature in one.items()} for one in merged]
    assert values == [{"a": 5.0, "b": 2.0}, {"a": 1.0, "b": 2.0, "c": 7.0}]
    with pytest.raises(StatusError, match="INVALID_ARGUMENT: Input is empty"):
        serialized_examples(input_pb2.Input())


class Fixed:
    """A servable with one signature and the outputs it is told."""

    def __init__(self, inputs: dict[str, str], **outputs: np.ndarray) -> None:
        infos = {
            alias: TensorInfo(alias, "DT_STRING" if value.dtype == object else f"DT_{_short(value)}", None)
            for alias, value in outputs.items()
        }
        self.signatures = {
            "serving_default": Signature({alias: TensorInfo(alias, t, None) for alias, t in inputs.items()}, infos)
        }
        self.definitions = {"serving_default": "<definition>"}
        self.outputs = outputs

    def signature(self, name: str) -> Signature:
        return self.signatures[name]

    def run(self, name: str, feeds: Any) -> dict[str, np.ndarray]:
        return self.outputs


def _short(value: np.ndarray) -> str:
    return {"float32": "FLOAT", "float64": "DOUBLE"}[value.dtype.name]


SCORES = np.array([[0.25, 0.75]], np.float32)
LABELS = np.array([[b"no", b"yes"]], object)
ONE = np.array([b""], object)
INPUTS = {"inputs": "DT_STRING"}


def test_classes_may_lack_labels_or_scores() -> None:
    assert classify(Fixed(INPUTS, scores=SCORES), "", ONE).rows() == [[(b"", 0.25), (b"", 0.75)]]
    assert classify(Fixed(INPUTS, classes=LABELS), "", ONE).rows() == [[(b"no", 0.0), (b"yes", 0.0)]]
    both = classify(Fixed(INPUTS, classes=LABELS, scores=SCORES), "", ONE)
    assert both.rows() == [[(b"no", 0.25), (b"yes", 0.75)]]
    assert Classifications(None, None).rows() == []


@pytest.mark.parametrize(
    ("servable", "message"),
    [
        (Fixed({**INPUTS, "x": "DT_FLOAT"}, scores=SCORES), "Expected one input Tensor."),
        (Fixed({"examples": "DT_STRING"}, scores=SCORES), "No classification inputs found in SignatureDef: <def"),
        (Fixed(INPUTS, a=SCORES, b=SCORES, c=SCORES), "Expected one or two output Tensors, found 3"),
        (Fixed(INPUTS, outputs=SCORES), "Expected classification signature outputs to contain at least one of"),
        (Fixed(INPUTS, scores=SCORES[0]), "Expected Tensor shape: [batch_size num_classes] but got [2]"),
        (Fixed(INPUTS, scores=SCORES.astype(float)), "Expected scores Tensor of DT_FLOAT. Got: DT_DOUBLE"),
        (Fixed(INPUTS, classes=LABELS.repeat(2, 0)), "Expected classes output batch size of 1. Got: 2"),
        (Fixed(INPUTS, classes=LABELS, scores=SCORES[:, :1]), "Tensors class and score should match in dim_size(1)."),
    ],
)
def test_signatures_that_do_not_classify(servable: Any, message: str) -> None:
    with pytest.raises(StatusError) as refused:
        classify(servable, "", ONE)
    assert refused.value.code == "INVALID_ARGUMENT"
    assert refused.value.message.startswith(message)


@pytest.mark.parametrize(
    ("servable", "message"),
    [
        (Fixed({**INPUTS, "x": "DT_FLOAT"}, outputs=SCORES), "Expected one input Tensor."),
        (Fixed(INPUTS, outputs=SCORES, scores=SCORES), "Expected one output Tensor."),
        (Fixed({"examples": "DT_STRING"}, outputs=SCORES), "No regression inputs found in SignatureDef: <def"),
        (Fixed(INPUTS, scores=SCORES), "No regression outputs found in SignatureDef: <def"),
        (Fixed(INPUTS, outputs=SCORES), "Expected output Tensor shape to be either [batch_size] or [batch_size, 1]"),
        (Fixed(INPUTS, outputs=SCORES[0]), "Input batch size did not match output batch size: 1 vs. 2"),
        (Fixed(INPUTS, outputs=np.ones(1)), "Expected output Tensor of DT_FLOAT.  Got: DT_DOUBLE"),
    ],
)
def test_signatures_that_do_not_regress(servable: Any, message: str) -> None:
    with pytest.raises(StatusError) as refused:
        regress(servable, "", ONE)
    assert refused.value.code == "INVALID_ARGUMENT"
    assert refused.value.message.startswith(message)


class Running:
    """A server and stubs to call it with."""

    def __init__(self, store: Any, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.server = GrpcServer(store, port=0, limits=limits)
        self.port = self.server.start()
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.port}")
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.model = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def close(self) -> None:
        self.channel.close()
        self.server.stop(1)


@pytest.fixture(scope="module")
def tiny(models: Path) -> Iterator[Running]:
    store = ServableStore(models)
    store.load()
    running = Running(store)
    yield running
    running.close()
    store.close()


def request(signature: str = "", /, **inputs: Any) -> predict_pb2.PredictRequest:
    message = predict_pb2.PredictRequest()
    message.model_spec.name = "tiny"
    message.model_spec.signature_name = signature
    for alias, value in inputs.items():
        message.inputs[alias].CopyFrom(tf.make_tensor_proto(value))
    return message


def refusal(call: Any, message: Any, timeout: float = 10) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as failed:
        call(message, timeout=timeout)
    return failed.value.code().name, failed.value.details()


def test_predict_gives_every_output_in_its_own_type(tiny: Running) -> None:
    columns = {"city": [b"rome", b"\xff"], "count": np.array([1, 2]), "price": np.array([1.5, 2.0], np.float32)}
    answer = tiny.prediction.Predict(request(**columns))
    outputs = {alias: tf.make_ndarray(tensor) for alias, tensor in answer.outputs.items()}
    # Version 2: click = 10 * price, length = bytes of city + count, probs = [price, 2 price].
    np.testing.assert_allclose(outputs["click"], [15.0, 20.0])
    assert outputs["length"].tolist() == [5, 3]
    np.testing.assert_allclose(outputs["probs"], [[1.5, 3.0], [2.0, 4.0]])
    assert outputs["city"].tolist() == [b"rome", b"\xff"]
    assert (answer.model_spec.name, answer.model_spec.version.value) == ("tiny", 2)
    assert answer.model_spec.signature_name == "serving_default"


def test_large_messages_pass_both_ways(tiny: Running) -> None:
    x = np.ones((3_000_000, 1), np.float32)  # 12 MB; gRPC's own bound is 4
    unbounded = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{tiny.port}", options=unbounded) as channel:
        answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request("one", x=x), timeout=20)
    assert tf.make_ndarray(answer.outputs["y"]).sum() == 2 * len(x)


def test_other_inputs_than_the_signatures_are_refused(tiny: Running) -> None:
    x = np.ones((1, 1), np.float32)
    assert refusal(tiny.prediction.Predict, request("one", z=x)) == (
        "INVALID_ARGUMENT",
        "input tensor alias not found in signature: z. Inputs expected to be in the set {x}.",
    )
    assert refusal(tiny.prediction.Predict, request("__saved_model_init_op"))[0] == "INVALID_ARGUMENT"
    nameless = request("one", x=x)
    nameless.model_spec.name = ""
    assert refusal(tiny.prediction.Predict, nameless) == ("INVALID_ARGUMENT", "ModelSpec has no name specified.")


def test_the_graphs_own_error_keeps_its_code_and_the_server_goes_on(tiny: Running) -> None:
    code, details = refusal(tiny.prediction.Predict, request("checked", x=np.array([1, 50], np.float32)))
    assert code == "INVALID_ARGUMENT"
    assert "x too big" in details
    assert tiny.prediction.Predict(request("checked", x=np.array([1], np.float32))).outputs["x_out"].float_val == [1]


def test_long_messages_are_cut_as_tf_serving_cuts_them(tiny: Running) -> None:
    code, details = refusal(tiny.prediction.Predict, request("☃" * 2000))
    assert code == "FAILED_PRECONDITION"
    assert details.endswith("...TRUNCATED")
    # 1024 bytes, and the last character, which they cut in two, is left out.
    assert 1024 - 2 <= len(details.removesuffix("...TRUNCATED").encode()) <= 1024


def test_metadata_tells_the_signatures(tiny: Running) -> None:
    message = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    message.model_spec.name = "tiny"
    answer = tiny.prediction.GetModelMetadata(message)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(signatures)
    assert set(signatures.signature_def) >= {"serving_default", "one", "checked"}
    assert signatures.signature_def["serving_default"].inputs["price"].dtype == tf.float32.as_datatype_enum
    assert answer.model_spec.version.value == 2
    assert answer.model_spec.signature_name == ""


def test_missing_model_specs_and_multi_inference_refusals(tiny: Running) -> None:
    assert refusal(tiny.prediction.Classify, classification_pb2.ClassificationRequest())[1] == "Missing ModelSpec"
    assert refusal(tiny.model.GetModelStatus, get_model_status_pb2.GetModelStatusRequest())[1] == "Missing ModelSpec"
    message = inference_pb2.MultiInferenceRequest()
    assert refusal(tiny.prediction.MultiInference, message)[1] == "ModelSpec has no name specified."
    task = message.tasks.add(method_name="tensorflow/serving/predict")
    task.model_spec.name = "tiny"
    assert refusal(tiny.prediction.MultiInference, message)[0] == "UNIMPLEMENTED"
    task.method_name = "tensorflow/serving/regress"
    message.tasks.add().CopyFrom(task)
    assert refusal(tiny.prediction.MultiInference, message)[1] == "Duplicate evaluation of signature: serving_default"
    message.tasks[1].model_spec.name = "other"
    assert "must access the same model name" in refusal(tiny.prediction.MultiInference, message)[1]


def test_requests_are_counted(tiny: Running) -> None:
    tiny.prediction.Predict(request("one", x=np.ones((1, 1), np.float32)))
    refusal(tiny.prediction.Predict, request("nosig"))
    page = tiny.server.metrics.render(SimpleNamespace(names=[])).decode()
    assert ':tensorflow:serving:request_count{model_name="tiny",status="FAILED_PRECONDITION"}' in page
    assert ':request_latency_count{model_name="tiny",API="Predict",entrypoint="GRPC"}' in page
    assert ':runtime_latency_count{model_name="tiny",API="Predict",runtime="TF1"}' in page


class Waiting:
    """A store whose one servable answers when it is told to."""

    names = ["tiny"]  # noqa: RUF012

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.begun = threading.Semaphore(0)
        self.runs = 0
        self.signatures = {"serving_default": Signature({"x": TensorInfo("x", "DT_FLOAT", None)}, {})}

    def resolve(self, name: str, **_: Any) -> ResolvedVersion:
        if name == "broken":
            raise KeyError("a fault of the server")
        return ResolvedVersion(name, 1, self)  # type: ignore[arg-type]

    def signature(self, name: str) -> Signature:
        return self.signatures["serving_default"]

    def run(self, name: str, feeds: Any) -> dict[str, np.ndarray]:
        self.runs += 1
        self.begun.release()
        self.gate.wait(5)
        return {}

    def status(self, name: str, version: int | None = None) -> list[Any]:
        return []


@pytest.fixture
def slow() -> Iterator[tuple[Waiting, Running]]:
    store = Waiting()
    limits = Limits(max_workers=1, max_queue=1)
    running = Running(store, limits)
    yield store, running
    store.gate.set()
    running.close()
    limits.close()


ANY = request(x=np.ones(1, np.float32))


def test_a_full_queue_is_unavailable_while_status_and_health_still_answer(slow: tuple[Waiting, Running]) -> None:
    store, running = slow
    under_way = [running.prediction.Predict.future(ANY, timeout=10) for _ in range(2)]
    assert store.begun.acquire(timeout=5)
    while running.limits.in_flight < 2:
        time.sleep(0.001)
    code, details = refusal(running.prediction.Predict, ANY)
    assert code == "UNAVAILABLE"
    assert details.startswith("The batch scheduling queue to which this task was submitted is full")
    message = get_model_status_pb2.GetModelStatusRequest()
    message.model_spec.name = "tiny"
    running.model.GetModelStatus(message, timeout=5)
    check = running.channel.unary_unary("/grpc.health.v1.Health/Check")
    assert check(b"", timeout=5) == wrappers_pb2.Int32Value(value=1).SerializeToString()
    store.gate.set()
    for future in under_way:
        assert future.result(5).model_spec.version.value == 1


def test_a_request_past_its_deadline_is_never_begun(slow: tuple[Waiting, Running]) -> None:
    store, running = slow
    first = running.prediction.Predict.future(ANY, timeout=10)
    assert store.begun.acquire(timeout=5)
    assert refusal(running.prediction.Predict, ANY, timeout=0.05)[0] == "DEADLINE_EXCEEDED"
    while running.limits.in_flight > 1:
        time.sleep(0.001)
    store.gate.set()
    first.result(5)
    assert running.prediction.Predict(ANY, timeout=5).model_spec.version.value == 1
    assert store.runs == 2


def test_stop_finishes_what_is_under_way(slow: tuple[Waiting, Running]) -> None:
    store, running = slow
    under_way = running.prediction.Predict.future(ANY, timeout=10)
    assert store.begun.acquire(timeout=5)
    with ThreadPoolExecutor(1) as other:
        stopped = other.submit(running.server.stop, 5)
        time.sleep(0.05)
        assert not stopped.done()
        store.gate.set()
        assert under_way.result(5).model_spec.name == "tiny"
        stopped.result(5)
    assert refusal(running.prediction.Predict, ANY, timeout=2)[0] == "UNAVAILABLE"
    running.server.stop()  # a second time is no error


def test_stop_waits_no_longer_than_its_grace() -> None:
    store = Waiting()
    running = Running(store)  # with limits of its own
    under_way = running.prediction.Predict.future(ANY, timeout=10)
    assert store.begun.acquire(timeout=5)
    begin = time.perf_counter()
    running.server.stop(0.05)
    assert time.perf_counter() - begin < 2
    assert under_way.exception(5).code().name in ("CANCELLED", "UNAVAILABLE")
    store.gate.set()
    running.channel.close()


def test_a_fault_is_told_in_one_sentence(slow: tuple[Waiting, Running], caplog: pytest.LogCaptureFixture) -> None:
    _, running = slow
    broken = predict_pb2.PredictRequest()
    broken.model_spec.name = "broken"
    assert refusal(running.prediction.Predict, broken) == (
        "INTERNAL",
        "Internal error; the server's log has the details.",
    )
    assert "a fault of the server" in caplog.text


@pytest.mark.parametrize("content", [b"\xff\xff\xff", b"\x0a\x03\x0a\x01\xff"])
@pytest.mark.parametrize("method", ["PredictionService/Predict", "ModelService/HandleReloadConfigRequest"])
def test_bytes_that_are_no_message_are_refused_without_a_traceback(
    tiny: Running, caplog: pytest.LogCaptureFixture, method: str, content: bytes
) -> None:
    assert refusal(tiny.channel.unary_unary(f"/tensorflow.serving.{method}"), content) == (
        "INVALID_ARGUMENT",
        "Failed to parse the request message.",
    )
    assert not caplog.records


def test_an_address_that_cannot_be_used_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"cannot listen on 127.0.0.1:{port}"):
            GrpcServer(Waiting(), port=port, metrics=Metrics()).start()
    running = Running(Waiting())
    try:
        with pytest.raises(InputError, match=f"cannot listen on 127.0.0.1:{running.port}"):
            GrpcServer(Waiting(), port=running.port).start()
        with pytest.raises(RuntimeError, match="running already"):
            running.server.start()
    finally:
        running.close()
    with pytest.raises(InputError, match="between 0 and 65535, but is 70000"):
        GrpcServer(Waiting(), port=70000)
