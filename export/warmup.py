"""Requests that a server runs before a version answers: `assets.extra/tf_serving_warmup_requests`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from htlnet_tf.encoding.encoder import FeatureEncoder
from htlnet_tf.errors import InputError
from htlnet_tf.export.requests import repeated
from htlnet_tf.export.signatures import SIGNATURES, signatures_of
from htlnet_tf.export.signatures.signature import Arrays
from htlnet_tf.schema import Schema

WARMUP_ROWS = (1, 100, 500)
_MAX_RECORDS = 1000  # TensorFlow Serving refuses the model beyond, servables/tensorflow/saved_model_warmup_util.h


def require_warmup(schema: Schema, sizes: Sequence[int], signatures: Sequence[str] | None) -> tuple[str, ...]:
    """Checks what is to be warmed up; returns the signatures.

    Args:
      schema: The model's, whose targets may say more than its encoder's.
      sizes: Rows per request.
      signatures: Their names; None: all that the model is exported with.

    Raises:
      InputError: A size is below 1, a signature is not known, or there would be more than 1000 requests.
    """
    known = tuple(signatures_of(schema))
    names = known if signatures is None else tuple(signatures)
    if unknown := [name for name in names if name not in known]:
        raise InputError(f"warm-up: the model is exported with the signatures {list(known)}; received {unknown}")
    if wrong := [size for size in sizes if size < 1]:
        raise InputError(f"warm-up: a request has at least one row; received {wrong}")
    if len(names) * len(sizes) > _MAX_RECORDS:
        raise InputError(
            f"warm-up: TensorFlow Serving takes at most {_MAX_RECORDS} requests; received {len(sizes)} sizes for "
            f"{len(names)} signatures"
        )
    return names


def write_warmup(
    path: Path, encoder: FeatureEncoder, model_name: str, rows: Arrays, sizes: Sequence[int], signatures: Sequence[str]
) -> int:
    """Writes one request per signature and size, a TFRecord of `tensorflow.serving.PredictionLog`.

    Args:
      path: The file.
      encoder: The model's.
      model_name: Written into the requests; the server does not check it.
      rows: Raw columns by name, arrays of shape [N]; taken from the beginning again where a request needs more.
      sizes: Rows per request.
      signatures: Their names.

    Returns:
      The number of requests.
    """
    logs = [_log(encoder, model_name, name, repeated(rows, size)) for name in signatures for size in sizes]
    with tf.io.TFRecordWriter(str(path)) as writer:
        for log in logs:
            writer.write(log.SerializeToString(deterministic=True))
    return len(logs)


def _log(encoder: FeatureEncoder, model_name: str, signature: str, raw: Arrays) -> prediction_log_pb2.PredictionLog:
    log = prediction_log_pb2.PredictionLog()
    request = SIGNATURES[signature].log(encoder, raw, log)
    request.model_spec.name, request.model_spec.signature_name = model_name, signature
    return log
