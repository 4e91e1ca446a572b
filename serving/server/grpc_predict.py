"""A PredictRequest to the arrays that a signature takes, with TF Serving's checks and messages.

Source: TF Serving, servables/tensorflow/predict_util.cc.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import predict_pb2

from htlnet_tf.serving.errors import StatusError, invalid_argument
from htlnet_tf.serving.server.grpc_codec import decode_tensor
from htlnet_tf.serving.server.servables import LoadedVersion
from htlnet_tf.serving.signatures import DEFAULT_SIGNATURE, Signature, TensorInfo


def predict_feeds(servable: LoadedVersion, request: predict_pb2.PredictRequest) -> tuple[str, dict[str, np.ndarray]]:
    """Finds the signature and reads its inputs.

    Args:
      servable: The servable.
      request: The request.

    Returns:
      The name of the signature, and an array per input alias.

    Raises:
      StatusError: FAILED_PRECONDITION, if there is no such signature; INVALID_ARGUMENT, if the inputs are not its
        inputs or cannot be read.
    """
    key = request.model_spec.signature_name or DEFAULT_SIGNATURE
    if key not in servable.signatures:
        raise StatusError("FAILED_PRECONDITION", f'Serving signature key "{key}" not found.')
    signature = servable.signature(key)
    sent, wanted = request.inputs.keys(), signature.inputs.keys()
    if len(sent) != len(wanted):
        raise invalid_argument(
            f"input size does not match signature: {len(sent)}!={len(wanted)} len({_set(sent)}) != len({_set(wanted)})."
            f" Sent extra: {_set(sent - wanted)}. Missing but required: {_set(wanted - sent)}."
        )
    for alias in sorted(sent - wanted):
        raise invalid_argument(
            f"input tensor alias not found in signature: {alias}. Inputs expected to be in the set {_set(wanted)}."
        )
    feeds = {alias: decode_tensor(alias, request.inputs[alias]) for alias in sorted(sent)}
    predict_outputs(signature, request)  # TF Serving looks at the filter before the graph looks at the types
    # A session numbers its arguments by the names of their tensors (TensorFlow, common_runtime/direct_session.cc).
    by_tensor = sorted(wanted, key=lambda alias: signature.inputs[alias].name)
    for position, alias in enumerate(by_tensor):
        provided = TensorInfo("", types_pb2.DataType.Name(request.inputs[alias].dtype), None)
        expected = signature.inputs[alias]
        if provided.dtype != expected.dtype:
            raise invalid_argument(
                f"Expects arg[{position}] to be {expected.type_name} but {provided.type_name} is provided"
            )
    return key, feeds


def predict_outputs(signature: Signature, request: predict_pb2.PredictRequest) -> list[str]:
    """Applies the request's output filter.

    Args:
      signature: The signature.
      request: The request.

    Returns:
      The aliases to answer with.

    Raises:
      StatusError: INVALID_ARGUMENT, if the filter names an output that there is not, or one twice.
    """
    chosen: list[str] = []
    for alias in request.output_filter:
        if alias not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {alias} "
                f"Outputs expected to be in the set {_set(signature.outputs)}."
            )
        if alias in chosen:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")
        chosen.append(alias)
    return chosen or list(signature.outputs)


def _set(names: Iterable[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"
