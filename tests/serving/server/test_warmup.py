"""Warm-up records: replayed before a version answers, and one bad one fails it, as in warmup_results.txt."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
import tensorflow as tf
from tensorflow_serving.apis import classification_pb2, inference_pb2, predict_pb2, prediction_log_pb2, regression_pb2

from htlnet_tf.serving import EmbeddedServer
from htlnet_tf.serving.errors import StatusError
from htlnet_tf.serving.server.monitoring import Metrics
from htlnet_tf.serving.server.servables import LoadedVersion
from htlnet_tf.serving.server.version_loading import VersionLoader
from htlnet_tf.serving.server.warmup import WARMUP_FILE, replay_warmup


@pytest.fixture
def version(tmp_path: Path, models: Path) -> Path:
    path = tmp_path / "models" / "tiny" / "1"
    shutil.copytree(models / "tiny" / "1", path)
    (path / WARMUP_FILE).parent.mkdir()
    return path


def write(version: Path, logs: Iterable[prediction_log_pb2.PredictionLog | bytes]) -> None:
    with tf.io.TFRecordWriter(str(version / WARMUP_FILE)) as writer:
        for log in logs:
            writer.write(log if isinstance(log, bytes) else log.SerializeToString())


def predict_log(**columns: object) -> prediction_log_pb2.PredictionLog:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "another"  # not checked
    for name, values in columns.items():
        dtype = {"city": tf.string, "count": tf.int64, "price": tf.float32}.get(name, tf.float32)
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values, dtype))
    return prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))


GOOD = predict_log(city=["rome"], count=[2], price=[1.5])


def example(**features: float) -> tf.train.Example:
    return tf.train.Example(
        features=tf.train.Features(
            feature={
                name: tf.train.Feature(float_list=tf.train.FloatList(value=[value])) for name, value in features.items()
            }
        )
    )


def classify_log(found: tf.train.Example, signature: str = "classify") -> prediction_log_pb2.PredictionLog:
    request = classification_pb2.ClassificationRequest()
    request.model_spec.signature_name = signature
    request.input.example_list.examples.add().ParseFromString(found.SerializeToString())
    return prediction_log_pb2.PredictionLog(classify_log=prediction_log_pb2.ClassifyLog(request=request))


def regress_log(found: tf.train.Example) -> prediction_log_pb2.PredictionLog:
    request = regression_pb2.RegressionRequest()
    request.model_spec.signature_name = "regress"
    request.input.example_list.examples.add().ParseFromString(found.SerializeToString())
    return prediction_log_pb2.PredictionLog(regress_log=prediction_log_pb2.RegressLog(request=request))


def multi_log(found: tf.train.Example) -> prediction_log_pb2.PredictionLog:
    request = inference_pb2.MultiInferenceRequest()
    for name in ("classify", "regress"):
        request.tasks.add(method_name=f"tensorflow/serving/{name}").model_spec.signature_name = name
    request.input.example_list.examples.add().ParseFromString(found.SerializeToString())
    return prediction_log_pb2.PredictionLog(multi_inference_log=prediction_log_pb2.MultiInferenceLog(request=request))


def test_every_kind_of_record_is_replayed(version: Path) -> None:
    assert replay_warmup(LoadedVersion(version), version) == 0  # no file
    good = example(a=1.5)
    write(version, [GOOD, classify_log(good), regress_log(good), multi_log(good), GOOD])
    assert replay_warmup(LoadedVersion(version), version) == 5


@pytest.mark.parametrize(
    ("logs", "code", "message"),
    [
        (
            [GOOD, predict_log(city=["rome"], price=[1.5])],
            "INVALID_ARGUMENT",
            "input size does not match signature: 2!=3 len({city,price}) != len({city,count,price}). "
            "Sent extra: {}. Missing but required: {count}.",
        ),
        ([GOOD] * 1001, "INVALID_ARGUMENT", "Number of warmup records exceeds the maximum (1000) at "),
        ([classify_log(example(b=1.0))], "INVALID_ARGUMENT", "Name: <unknown>, Feature: a (data type: float) is req"),
        ([classify_log(example(a=1.0), "zz")], "INVALID_ARGUMENT", "No signature was found with the name: zz"),
        ([b"\xff\xff\xff"], "INVALID_ARGUMENT", "Failed to parse warmup record"),
        (
            [prediction_log_pb2.PredictionLog(session_run_log=prediction_log_pb2.SessionRunLog())],
            "UNIMPLEMENTED",
            "Unsupported log_type for warmup: session_run_log",
        ),
    ],
)
def test_one_bad_record_fails_the_version(
    version: Path, logs: list[prediction_log_pb2.PredictionLog | bytes], code: str, message: str
) -> None:
    write(version, logs)
    with pytest.raises(StatusError) as caught:
        VersionLoader()(version)
    assert caught.value.code == code
    assert caught.value.message.startswith(message)
    VersionLoader(warmup=False)(version).close()


def test_a_thousand_records_are_good(version: Path) -> None:
    write(version, [GOOD] * 1000)
    assert replay_warmup(LoadedVersion(version), version) == 1000


def test_a_file_that_holds_no_records(version: Path) -> None:
    (version / WARMUP_FILE).write_bytes(b"this is not a TFRecord file at all")
    with pytest.raises(StatusError) as caught:
        VersionLoader()(version)
    assert caught.value.code == "DATA_LOSS"
    assert caught.value.message == (
        "corrupted record at 0 (Is this even a TFRecord file?). Please verify your warmup data is in TFRecord format."
    )


def test_a_version_that_fails_its_warmup_is_not_served(version: Path, models: Path) -> None:
    bad = version.with_name("2")
    shutil.copytree(models / "tiny" / "00000002", bad)
    (bad / WARMUP_FILE).parent.mkdir()
    write(bad, [predict_log(city=["rome"])])
    from htlnet_tf.serving.server.servable_store import ServableStore

    metrics = Metrics()
    shutil.move(bad, version.parent.parent.parent / "bad")
    store = ServableStore(version.parent.parent, loader=VersionLoader(metrics=metrics))
    store.load()
    shutil.move(version.parent.parent.parent / "bad", bad)
    store.refresh()
    newest, oldest = store.status("tiny")
    assert (newest.state, newest.error_code) == ("END", "INVALID_ARGUMENT")
    assert (oldest.state, oldest.error_code) == ("AVAILABLE", "OK")
    assert store.latest("tiny") == 1
    assert b"fail" in metrics.render(store)
    store.close()


def test_warmup_can_be_turned_off(version: Path) -> None:
    write(version, [predict_log(city=["rome"])])
    with EmbeddedServer(version.parent.parent, port=0, enable_model_warmup=False) as server:
        assert server.model_names == ["tiny"]
