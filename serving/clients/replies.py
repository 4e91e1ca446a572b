"""What a server answered -> a parsed document, a table of scores, or a typed error with the server's own message."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from htlnet_tf.serving.clients.column_values import NUMPY_DTYPES
from htlnet_tf.serving.errors import RefusedError, ServingError, TimedOutError, UnavailableError
from htlnet_tf.serving.signatures import Signature, TensorInfo, signatures_from_json

_ERRORS: dict[int, type[ServingError]] = {503: UnavailableError, 504: TimedOutError}


class OtherOutputsError(ServingError):
    """An answer is not what the signature declares: perhaps another version is served by now."""


def parse_reply(content: bytes, status: int, reason: str, server: str) -> dict[str, Any]:
    """Reads the body of a REST answer.

    Args:
      content: The body.
      status: HTTP status.
      reason: What the status line says beside it.
      server: URL, for messages.

    Returns:
      The parsed document.

    Raises:
      UnavailableError: The status is 503.
      TimedOutError: The status is 504.
      RefusedError: The status is another than 200.
      ServingError: The body is not a JSON object.
    """
    try:
        # Strings that a model gives out are not always UTF-8.
        reply = json.loads(content.decode("utf-8", "replace"))
    except (ValueError, RecursionError):  # the latter where it is nested too deeply
        reply = None
    if status != 200:
        message = reply.get("error") if isinstance(reply, dict) else None
        raise _ERRORS.get(status, RefusedError)(str(message or reason or "no message"), status)
    if not isinstance(reply, dict):
        raise ServingError(f"the reply of {server} is not a JSON object: is it a TF Serving REST port?", 200)
    return reply


def read_signatures(metadata: Mapping[str, Any], server: str) -> dict[str, Signature]:
    """Reads the signatures out of a metadata answer.

    Args:
      metadata: The parsed answer.
      server: For messages.

    Returns:
      Signature name -> signature, those that have inputs.

    Raises:
      ServingError: It is not TF Serving's.
    """
    try:
        signatures = signatures_from_json(metadata["metadata"]["signature_def"]["signature_def"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ServingError(f"{server} gives metadata that is not TF Serving's", 200) from error
    return {name: signature for name, signature in signatures.items() if signature.inputs}


def reply_outputs(reply: Mapping[str, Any], signature: Signature, server: str, *, row_format: bool) -> dict[str, Any]:
    """Finds the outputs in a predict answer.

    Args:
      reply: The parsed answer, with `outputs` (column format) or `predictions` (row format).
      signature: The signature that was called.
      server: URL, for messages.
      row_format: Which of the two was asked for.

    Returns:
      Output alias -> nested lists.

    Raises:
      OtherOutputsError: The outputs are not those of the signature.
    """
    outputs, names = reply.get("predictions" if row_format else "outputs"), signature.outputs.keys()
    if len(names) == 1:
        return dict.fromkeys(names, outputs)
    if row_format and isinstance(outputs, list) and all(isinstance(o, dict) and o.keys() == names for o in outputs):
        return {name: [output[name] for output in outputs] for name in names}
    if row_format or not isinstance(outputs, dict) or outputs.keys() != names:
        raise OtherOutputsError(f"the reply of {server} has not the outputs that the model declares", 200)
    return outputs


def score_frame(
    outputs: Mapping[str, Any], signature: Signature, index: pd.Index, *, order: Sequence[str] = ()
) -> pd.DataFrame:
    """Arranges outputs as columns, in the order of the signature: a server gives them in another order each time.

    Args:
      outputs: Output alias -> array or nested lists, `[N]` or `[N, K]`.
      signature: Says the dtypes and the order.
      index: Of the N rows.
      order: What comes first, in this order, where the caller knows the funnel better.

    Returns:
      One row per input row, `[N]` outputs under their own name, `[N, K]` outputs as `name_0` .. `name_{K-1}`.

    Raises:
      OtherOutputsError: An output is not such a table.
    """
    columns: dict[str, np.ndarray] = {}
    declared = [name for name in signature.outputs if name in outputs]
    for name in dict.fromkeys((*(name for name in order if name in outputs), *declared)):
        columns.update(_output_columns(name, outputs[name], signature.outputs[name], len(index)))
    return pd.DataFrame(columns, index=index)


def _output_columns(name: str, values: Any, info: TensorInfo, size: int) -> dict[str, np.ndarray]:
    try:
        array: np.ndarray = np.array(values, dtype=NUMPY_DTYPES.get(info.dtype, object))
        if info.dtype == "DT_STRING":
            array = _strings(array, name)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise OtherOutputsError(f"output '{name}' is not a table of {info.type_name} values: {error}") from error
    if array.ndim not in (1, 2) or len(array) != size:
        raise OtherOutputsError(
            f"output '{name}' must have one value or one list per row, but is {list(array.shape)} for {size} rows"
        )
    if array.ndim == 1:
        return {name: array}
    return {f"{name}_{position}": array[:, position] for position in range(array.shape[1])}


def _strings(values: np.ndarray, name: str) -> np.ndarray:
    # TF Serving writes an output whose name ends so in base64; over gRPC all strings are bytes.
    is_binary = name.endswith("_bytes")
    texts = np.empty(values.shape, object)
    for position, value in np.ndenumerate(values):
        if isinstance(value, dict):
            value = base64.b64decode(value["b64"])  # noqa: PLW2901
        texts[position] = value.decode("utf-8", "replace") if isinstance(value, bytes) and not is_binary else value
    return texts
