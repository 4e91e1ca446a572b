"""TF Serving's JSON form of predict requests and replies, on numpy arrays.

Source of every rule and message: TF Serving, util/json_tensor.cc.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from htlnet_tf.serving.errors import StatusError, invalid_argument
from htlnet_tf.serving.server.json_print import array_text, float_texts, object_text, string_text, value_text
from htlnet_tf.serving.server.json_tensor import dense_tensor, is_base64_object
from htlnet_tf.serving.signatures import TensorInfo

# Types a JSON number or token can be written for, by numpy name; for the others the reply is an error.
_INTEGERS = frozenset({"int8", "int16", "int32", "int64", "uint8", "uint32", "uint64"})
_FLOATS = frozenset({"float32", "float64"})
_TENSORFLOW_NAMES = {"float16": "half"}


def signature_name(document: Mapping[str, Any]) -> str:
    """Reads the optional member `signature_name`.

    Args:
      document: The parsed request body.

    Returns:
      The name, or "" if it is absent: the default signature.

    Raises:
      StatusError: INVALID_ARGUMENT, if it is not a string.
    """
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid_argument(
            f"JSON Value: {value_text(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return name


def decode_predict(document: Mapping[str, Any], inputs: Mapping[str, TensorInfo]) -> tuple[dict[str, np.ndarray], bool]:
    """Turns a parsed predict request into arrays.

    Declared shapes are not enforced, as in TF Serving: a wrong one fails in the graph, or does not.

    Args:
      document: The parsed request body, with `instances` (rows) or `inputs` (columns).
      inputs: The inputs of the signature, by alias.

    Returns:
      Alias -> array, of dtype object holding bytes for strings; and whether the request came in rows.

    Raises:
      StatusError: INVALID_ARGUMENT with TF Serving's message, if the document does not fit the signature.
    """
    if "instances" in document:
        instances = document["instances"]
        if "inputs" in document:
            raise invalid_argument(
                f"JSON Value: {value_text(document)} Not formatted correctly expecting only one of 'inputs' or "
                "'instances' keys to exist "
            )
        if not isinstance(instances, list):
            raise invalid_argument(f"JSON Value: {value_text(document)} Expecting 'instances' to be an list/array")
        if not instances:
            raise invalid_argument(f"JSON Value: {value_text(document)} No values in 'instances' array")
        return _from_rows(instances, inputs), True
    if "inputs" in document:
        return _from_columns(document["inputs"], inputs), False
    raise invalid_argument("Missing 'inputs' or 'instances' key")


def _is_row_object(value: Any) -> bool:
    return isinstance(value, dict) and not is_base64_object(value)


def _from_columns(columns: Any, inputs: Mapping[str, TensorInfo]) -> dict[str, np.ndarray]:
    if _is_row_object(columns):
        # Extra keys are ignored here, though not in rows.
        for name in inputs:
            if name not in columns:
                raise invalid_argument(f"Missing named input: {name} in 'inputs' object.")
        return {name: dense_tensor(columns[name], info) for name, info in inputs.items()}
    if len(inputs) > 1:
        raise invalid_argument(
            "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
            "tensorinfo_map"
        )
    return {name: dense_tensor(columns, info) for name, info in inputs.items()}


def _from_rows(rows: list[Any], inputs: Mapping[str, TensorInfo]) -> dict[str, np.ndarray]:
    if not isinstance(rows[0], dict) and len(inputs) > 1:
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    try:
        if _is_row_object(rows[0]):
            columns = _transposed(rows, list(inputs))
            if columns is not None:
                return {name: dense_tensor(columns[name], info) for name, info in inputs.items()}
        elif not any(_is_row_object(row) for row in rows):
            return {name: dense_tensor(rows, info) for name, info in inputs.items()}
    except StatusError:
        # The message has to name the row, so the rows are gone through one by one.
        _row_by_row(rows, inputs)
        raise
    return _row_by_row(rows, inputs)


def _transposed(rows: list[Any], names: list[str]) -> dict[str, list[Any]] | None:
    """The rows' values by name, or None if a row has not exactly these names."""
    if not all(type(row) is dict and len(row) == len(names) for row in rows):
        return None
    # The first name once more at the end, since itemgetter gives no tuple for a single name.
    values = itemgetter(*names, names[0])
    try:
        columns = zip(*map(values, rows), strict=True)
    except KeyError:
        return None
    return {name: list(column) for name, column in zip(names, columns, strict=False)}


def _row_by_row(rows: list[Any], inputs: Mapping[str, TensorInfo]) -> dict[str, np.ndarray]:
    objects = _is_row_object(rows[0])
    shapes: dict[str, tuple[int, ...]] = {}
    values: dict[str, list[np.ndarray]] = {name: [] for name in inputs}
    for position, row in enumerate(rows):
        if objects != _is_row_object(row):
            expected, received = ("object", "list") if objects else ("value/list", "object")
            raise invalid_argument(f"Expecting {expected} but got {received} at item {position} of input list")
        place = f"Failed to process element: {position}"
        for name, value in row.items() if objects else [(next(iter(inputs)), row)]:
            key = f" key: {name}" if objects else ""
            try:
                if name not in inputs:
                    raise invalid_argument(f"JSON object: does not have named input: {name}")
                tensor = dense_tensor(value, inputs[name])
                _check_same_shape(shapes.setdefault(name, tensor.shape), tensor.shape)
                values[name].append(tensor.reshape(-1))
            except StatusError as error:
                raise invalid_argument(f"{place}{key} of 'instances' list. Error: {error}") from error
        if objects and row.keys() != inputs.keys():
            raise invalid_argument(
                f"{place} of 'instances' list. JSON object: {value_text(row)} keys must be equal to: "
                f"{','.join(sorted(inputs))}"
            )
    # A row that has a name twice adds both values, and as many as the tensor holds are taken, from the front: the rows
    # behind it get their neighbours' (TensorFlow, `Tensor::FromProto`).
    return {
        name: np.concatenate(values[name])[: len(rows) * math.prod(shape)].reshape(len(rows), *shape)
        for name, shape in shapes.items()
    }


def _check_same_shape(first: tuple[int, ...], shape: tuple[int, ...]) -> None:
    size, expected = int(np.prod(shape)), int(np.prod(first))
    if size != expected:
        raise invalid_argument(f"Expecting tensor size: {expected} but got: {size}")
    if shape != first:
        raise invalid_argument(f"Expecting shape [{_joined(first)}] but got: [{_joined(shape)}]")


def _joined(shape: Sequence[int]) -> str:
    return ",".join(map(str, shape))


def encode_predict(outputs: Mapping[str, np.ndarray], *, rows: bool) -> bytes:
    """Prints the reply to a predict request.

    A signature with one output gives bare values, with several outputs objects. Strings are `{"b64": ...}` where the
    alias ends in `_bytes`, else their raw bytes, which may not be UTF-8.

    Args:
      outputs: Alias -> array `[batch_size, ...]`; of dtype object holding bytes for strings. Any shape for columns.
      rows: Answer in rows (`predictions`), else in columns (`outputs`).

    Returns:
      The JSON body.

    Raises:
      StatusError: INVALID_ARGUMENT, if a type has no JSON form, or the outputs do not share a first dimension though
        rows are asked for.
    """
    text = _rows_text(outputs) if rows else _columns_text(outputs)
    return text.encode("utf-8", "surrogateescape")


def _rows_text(outputs: Mapping[str, np.ndarray]) -> str:
    batch_size: int | None = None
    for name, array in outputs.items():
        if array.ndim == 0:
            raise invalid_argument(f"Tensor name: {name} has no shape information ")
        if batch_size is not None and len(array) != batch_size:
            raise invalid_argument(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {batch_size}"
            )
        batch_size = len(array)
    single = len(outputs) == 1
    columns = []
    for name, array in outputs.items():
        texts = _leaves(name, array, depth=(2 if single else 3) + array.ndim)
        for axis in range(array.ndim - 1, 0, -1):
            texts = [f"[{', '.join(group)}]" for group in _grouped(texts, array.shape, axis)]
        columns.append(texts)
    if single:
        inner = ", ".join(columns[0])
        return f'{{\n    "predictions": [{inner}\n    ]\n}}' if inner else '{\n    "predictions": []\n}'
    # One template for all rows: printing each object by itself takes three times as long.
    template = object_text([(name.replace("%", "%%"), "%s") for name in outputs], 3)
    elements = [template % row for row in zip(*columns, strict=True)]
    return object_text([("predictions", array_text(elements, 2))], 1)


def _columns_text(outputs: Mapping[str, np.ndarray]) -> str:
    outer = 1 if len(outputs) == 1 else 2
    members = []
    for name, array in outputs.items():
        texts = _leaves(name, array, depth=outer + array.ndim + 1)
        for axis in range(array.ndim - 1, -1, -1):
            texts = [array_text(group, outer + axis + 1) for group in _grouped(texts, array.shape, axis)]
        members.append((name, texts[0]))
    text = members[0][1] if len(outputs) == 1 else object_text(members, 2)
    return object_text([("outputs", text)], 1)


def _grouped(texts: list[str], shape: tuple[int, ...], axis: int) -> list[list[str]]:
    size = shape[axis]
    return [texts[i * size : (i + 1) * size] for i in range(int(np.prod(shape[:axis])))]


def _leaves(name: str, array: np.ndarray, depth: int) -> list[str]:
    flat = array.reshape(-1)
    kind = array.dtype.name
    if kind in _FLOATS:
        return float_texts(flat)
    if kind in _INTEGERS:
        return [str(value) for value in flat.tolist()]
    if kind == "bool":
        return ["true" if value else "false" for value in flat.tolist()]
    if kind == "object":
        if name.endswith("_bytes"):
            texts = [base64.b64encode(value).decode("ascii") for value in flat.tolist()]
            return [object_text([("b64", json.dumps(text))], depth) for text in texts]
        return [string_text(value.decode("utf-8", "surrogateescape")) for value in flat.tolist()]
    raise invalid_argument(f"Failed to write JSON value for tensor type: {_TENSORFLOW_NAMES.get(kind, kind)}")
