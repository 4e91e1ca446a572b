"""Recorded requests that a new version answers before it answers anybody: `assets.extra/tf_serving_warmup_requests`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from htlnet_tf.serving.errors import StatusError, invalid_argument
from htlnet_tf.serving.server.grpc_codec import serialized_examples
from htlnet_tf.serving.server.grpc_predict import predict_feeds
from htlnet_tf.serving.server.inference import CLASSIFY_METHOD, REGRESS_METHOD, classify, regress
from htlnet_tf.serving.server.servables import LoadedVersion, without_deprecation_note

WARMUP_FILE = Path("assets.extra", "tf_serving_warmup_requests")

# TF Serving, servables/tensorflow/saved_model_warmup_util.h.
_MAX_RECORDS = 1000


def replay_warmup(servable: LoadedVersion, folder: Path) -> int:
    """Answers the warm-up requests of a version; a version without the file has none.

    Whatever model and version a record names, it is this one that answers.
    Source: TF Serving, servables/tensorflow/saved_model_warmup_util.cc.

    Args:
      servable: The loaded version.
      folder: Its version folder.

    Returns:
      The number of records.

    Raises:
      StatusError: A record cannot be read or answered, or there are more than 1000; with TF Serving's code.
    """
    count = 0
    for record in _records(folder / WARMUP_FILE):
        count += 1
        if count > _MAX_RECORDS:
            raise invalid_argument(
                f"Number of warmup records exceeds the maximum ({_MAX_RECORDS}) at {folder / WARMUP_FILE}"
            )
        try:
            log = PredictionLog.FromString(record)
        except DecodeError as error:
            raise invalid_argument(f"Failed to parse warmup record: {record[:64]!r}") from error
        _answer(servable, log)
    return count


def _records(file: Path) -> Iterator[bytes]:
    if not file.is_file():
        return
    try:
        with without_deprecation_note():  # of the one reader whose messages are those of the genuine server
            yield from tf.compat.v1.io.tf_record_iterator(str(file))
    except tf.errors.DataLossError as error:
        raise StatusError(
            "DATA_LOSS", f"{error.message}. Please verify your warmup data is in TFRecord format."
        ) from error
    except tf.errors.OpError as error:
        raise StatusError("INTERNAL", error.message) from error


def _answer(servable: LoadedVersion, log: PredictionLog) -> None:
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        servable.run(*predict_feeds(servable, log.predict_log.request))
    elif kind == "classify_log":
        request = log.classify_log.request
        classify(servable, request.model_spec.signature_name, serialized_examples(request.input))
    elif kind == "regress_log":
        request = log.regress_log.request
        regress(servable, request.model_spec.signature_name, serialized_examples(request.input))
    elif kind == "multi_inference_log":
        _answer_tasks(servable, log)
    elif kind is not None:
        raise StatusError("UNIMPLEMENTED", f"Unsupported log_type for warmup: {kind}")


def _answer_tasks(servable: LoadedVersion, log: PredictionLog) -> None:
    request = log.multi_inference_log.request
    examples = serialized_examples(request.input)
    for task in request.tasks:
        if task.method_name == CLASSIFY_METHOD:
            classify(servable, task.model_spec.signature_name, examples)
        elif task.method_name == REGRESS_METHOD:
            regress(servable, task.model_spec.signature_name, examples)
        else:
            raise StatusError("UNIMPLEMENTED", f"Unsupported signature method_name: {task.method_name}")
