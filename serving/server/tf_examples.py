"""TF Serving's JSON form of classify and regress: examples to serialized tf.Example, results to JSON.

Source of every rule and message: TF Serving, util/json_tensor.cc.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorflow.core.example import example_pb2, feature_pb2

from htlnet_tf.serving.errors import StatusError, invalid_argument
from htlnet_tf.serving.server.inference import Classifications
from htlnet_tf.serving.server.json_print import float_texts, string_text, value_text
from htlnet_tf.serving.server.json_tensor import decode_base64, is_base64_object, json_type

_KINDS = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}
_INT64 = (-(2**63), 2**63 - 1)
_MAX_FLOAT = float(np.finfo(np.float32).max)


def decode_examples(document: Mapping[str, Any]) -> np.ndarray:
    """Turns the members `examples` and `context` of a parsed request into serialized tf.Example.

    A feature is a value or a list of values of one kind: whole numbers and booleans become int64, numbers with a
    fraction or an exponent (`1.0`) float, strings and `{"b64": ...}` bytes. The context's features are those of every
    example that does not have them itself.

    Args:
      document: The parsed request body.

    Returns:
      Object array `[N]` of serialized tf.Example, N at least 1.

    Raises:
      StatusError: INVALID_ARGUMENT with TF Serving's message, if the document does not have this form.
    """
    context = _example(document["context"]).SerializeToString() if "context" in document else b""
    if "examples" not in document:
        raise _misformatted(document, "When method is classify, key 'examples' is expected and was not found")
    examples = document["examples"]
    if not isinstance(examples, list):
        raise _misformatted(document, "Expecting 'examples' value to be an list/array")
    if not examples:
        raise _misformatted(document, "'examples' value is an empty array")
    serialized = np.empty(len(examples), object)
    # Protobuf merges what is concatenated: of two values of one map key the later one wins, the example's own.
    serialized[:] = [context + _example(value).SerializeToString() for value in examples]
    return serialized


def _misformatted(document: Mapping[str, Any], lack: str) -> StatusError:
    return invalid_argument(f"JSON Value: {value_text(document)} {lack}")


def _example(value: Any) -> example_pb2.Example:
    if not isinstance(value, dict):
        raise invalid_argument(f"Example must be JSON object but got JSON {json_type(value)}")
    example = example_pb2.Example()
    for name, content in value.items():
        try:
            feature = example.features.feature[name]
        except UnicodeEncodeError as error:  # bytes that are not UTF-8: a C++ string may hold them, a Python one not
            raise invalid_argument("The name of a feature must be UTF-8") from error
        feature.Clear()  # of a name that is there twice the last one counts
        for element in content if isinstance(content, list) else [content]:
            _add(feature, name, element)
    return example


def _add(feature: feature_pb2.Feature, name: str, element: Any) -> None:
    if isinstance(element, str):
        _values(feature, name, "bytes_list").append(element.encode("utf-8", "surrogateescape"))
    elif is_base64_object(element):
        _values(feature, name, "bytes_list").append(decode_base64(element))
    elif isinstance(element, int) and _INT64[0] <= element < 2**64:  # True and False too
        values = _values(feature, name, "int64_list")
        if element > _INT64[1]:
            raise invalid_argument(f"Feature: {name} has uint64 element. Only int64 is supported.")
        values.append(int(element))
    elif isinstance(element, (int, float)):  # RapidJSON reads integers beyond 64 bits as doubles
        values = _values(feature, name, "float_list")
        if abs(element) > _MAX_FLOAT and element not in (math.inf, -math.inf):
            raise invalid_argument(
                f"Cannot convert JSON value: {value_text(element)} to float without loss of precision."
            )
        values.append(element)
    else:
        raise invalid_argument(f"Feature: {name} has element with unexpected JSON type: {json_type(element)}")


def _values(feature: feature_pb2.Feature, name: str, kind: str) -> Any:
    present = feature.WhichOneof("kind")
    if present not in (None, kind):
        raise invalid_argument(f"Unexpected element type in feature: {name} expecting type: {_KINDS[present]}")
    return getattr(feature, kind).value


def encode_classifications(result: Classifications) -> bytes:
    """Prints the reply to a classify request.

    Args:
      result: The classes of each example.

    Returns:
      The JSON body; labels that are not UTF-8 go out as they are.
    """
    rows = result.rows()
    numbers = iter(float_texts(np.array([score for row in rows for _, score in row], np.float32)))
    texts = []
    for row in rows:
        pairs = [f"[{string_text(label.decode('utf-8', 'surrogateescape'))}, {next(numbers)}]" for label, _ in row]
        texts.append(f"[{', '.join(pairs)}]")
    return _results(texts).encode("utf-8", "surrogateescape")


def encode_regressions(values: np.ndarray) -> bytes:
    """Prints the reply to a regress request.

    Args:
      values: float32 `[N]`.

    Returns:
      The JSON body.
    """
    return _results(float_texts(values)).encode()


def _results(texts: list[str]) -> str:
    return f'{{\n    "results": [{", ".join(texts)}\n    ]\n}}'
