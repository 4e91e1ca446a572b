"""One tensor out of nested JSON lists: rectangular, and every value of the input's type."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np

from htlnet_tf.serving.errors import StatusError, invalid_argument
from htlnet_tf.serving.server.json_print import value_text
from htlnet_tf.serving.signatures import TensorInfo

_INT32 = (-(2**31), 2**31 - 1)

# dtype -> numpy type of the array and the range that a JSON integer must be in. The small types ask for an int32 and
# are then cut without a check (TF Serving, util/json_tensor.cc: uint8 256 -> 0).
_INTEGERS: dict[str, tuple[type[np.integer], tuple[int, int]]] = {
    "DT_INT8": (np.int8, _INT32),
    "DT_INT16": (np.int16, _INT32),
    "DT_INT32": (np.int32, _INT32),
    "DT_UINT8": (np.uint8, _INT32),
    "DT_INT64": (np.int64, (-(2**63), 2**63 - 1)),
    "DT_UINT32": (np.uint32, (0, 2**32 - 1)),
    "DT_UINT64": (np.uint64, (0, 2**64 - 1)),
}
_FLOATS: dict[str, type[np.floating]] = {"DT_FLOAT": np.float32, "DT_DOUBLE": np.float64}

# numpy has no arrays of a higher rank.
_MAX_RANK = 64

_BLANKS = re.compile(r"\s+")


def is_base64_object(value: Any) -> bool:
    """Whether a JSON value is `{"b64": "<text>"}`, the form of binary strings.

    Args:
      value: What a JSON parser returned.

    Returns:
      True for an object with the one key `b64` and a string there.
    """
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def dense_tensor(value: Any, info: TensorInfo) -> np.ndarray:
    """Turns a scalar or nested lists into an array.

    Args:
      value: What a JSON parser returned; lists must be rectangular.
      info: The input; only its dtype counts, not its declared shape.

    Returns:
      The array, of dtype object holding bytes for strings. The shape is that of the lists, `[]` for a scalar.

    Raises:
      StatusError: INVALID_ARGUMENT if the lists are ragged or a value is not of the type, UNIMPLEMENTED if the type
        has no JSON form. Source: TF Serving, util/json_tensor.cc (FillTensorProto, AddValueToTensor).
    """
    shape: list[int] = []
    leaves = [value]
    # Level by level: the first list of a level gives the size that all others must have.
    while leaves and isinstance(leaves[0], list):
        size = len(leaves[0])
        if len(shape) == _MAX_RANK or not all(type(item) is list and len(item) == size for item in leaves):
            raise _first_fault(value, info)
        shape.append(size)
        leaves = list(chain.from_iterable(leaves))
    array = _leaf_array(leaves, info)
    if array is None:
        raise _first_fault(value, info)
    return array.reshape(shape)


def _leaf_array(leaves: list[Any], info: TensorInfo) -> np.ndarray | None:
    """The values as a flat array, or None if one of them is not of the type."""
    types = set(map(type, leaves))
    if info.dtype == "DT_STRING":
        if types <= {str}:
            strings = _encoded(leaves)
        elif types <= {str, dict} and all(type(leaf) is str or is_base64_object(leaf) for leaf in leaves):
            strings = [_string_bytes(leaf) for leaf in leaves]
        else:
            return None
        return np.array(strings, dtype=object)
    if info.dtype in _FLOATS and types <= {int, float}:
        with np.errstate(over="ignore"):  # 1e39 is a float32 infinity, as in a C++ cast
            return np.array(list(map(_as_float, leaves)) if int in types else leaves, dtype=_FLOATS[info.dtype])
    if info.dtype in _INTEGERS and types <= {int}:
        dtype, (low, high) = _INTEGERS[info.dtype]
        if leaves and not (low <= min(leaves) and max(leaves) <= high):
            return None
        wide = np.uint64 if info.dtype == "DT_UINT64" else np.int64
        return np.array(leaves, dtype=wide).astype(dtype)
    if info.dtype == "DT_BOOL" and types <= {bool}:
        return np.array(leaves, dtype=np.bool_)
    return None


def _as_float(leaf: int | float) -> float:
    try:
        return float(leaf)
    except OverflowError:  # more than 308 digits: an infinity, as 1e400 is
        return math.inf if leaf > 0 else -math.inf


def _encoded(strings: list[str]) -> list[bytes]:
    try:
        return list(map(str.encode, strings))
    except UnicodeEncodeError:  # bytes that are not UTF-8, as the parser hands them on
        return [string.encode("utf-8", "surrogateescape") for string in strings]


def _string_bytes(leaf: str | dict[str, str]) -> bytes:
    return leaf.encode("utf-8", "surrogateescape") if isinstance(leaf, str) else decode_base64(leaf)


def decode_base64(leaf: Mapping[str, str]) -> bytes:
    """Decodes a value that `is_base64_object`.

    Args:
      leaf: The object.

    Returns:
      The bytes.

    Raises:
      StatusError: INVALID_ARGUMENT, if the text is not base64.
    """
    # As absl::Base64Unescape: blanks and a missing padding are fine.
    text = _BLANKS.sub("", leaf["b64"]).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid_argument("Unable to base64 decode") from error


def _first_fault(value: Any, info: TensorInfo) -> StatusError:
    """The message for the first value in reading order that does not fit."""
    shape: list[int] = []
    first = value
    while isinstance(first, list):
        shape.append(len(first))
        if not first:
            break
        first = first[0]
    if len(shape) > _MAX_RANK:
        return invalid_argument(f"Encountered list at unexpected level: {_MAX_RANK} expected < {_MAX_RANK}")
    fault = _fault(value, 0, shape, info)
    return fault or invalid_argument(f"JSON Value: {value_text(value)} is not a tensor of type: {info.type_name}")


def _fault(value: Any, level: int, shape: list[int], info: TensorInfo) -> StatusError | None:
    rank = len(shape)
    if isinstance(value, list):
        if level >= rank:
            return invalid_argument(f"Encountered list at unexpected level: {level} expected < {rank}")
        if len(value) != shape[level]:
            return invalid_argument(
                f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
            )
        faults = (_fault(item, level + 1, shape, info) for item in value)
        return next((fault for fault in faults if fault is not None), None)
    if level != rank:
        return invalid_argument(
            f"JSON Value: {value_text(value)} found at incorrect level: {level + 1} in the JSON DOM. "
            f"Expected at level: {rank}"
        )
    return _leaf_fault(value, info)


def _leaf_fault(value: Any, info: TensorInfo) -> StatusError | None:
    if isinstance(value, dict) and info.dtype == "DT_STRING":
        if is_base64_object(value):
            return None
        return invalid_argument(f"JSON Value: {value_text(value)} not formatted correctly for base64 data")
    if not isinstance(value, dict) and info.dtype not in {*_INTEGERS, *_FLOATS, "DT_STRING", "DT_BOOL"}:
        return StatusError("UNIMPLEMENTED", f"Conversion of JSON Value: {value_text(value)} to type: {info.type_name}")
    if _leaf_array([value], info) is not None:
        return None
    return invalid_argument(
        f"JSON Value: {value_text(value)} Type: {json_type(value)} is not of expected type: {info.type_name}"
    )


def json_type(value: Any) -> str:
    """Names the type of a JSON value as RapidJSON's messages do.

    Args:
      value: What a JSON parser returned.

    Returns:
      `"Null"`, `"True"`, `"False"`, `"Object"`, `"Array"`, `"String"` or `"Number"`.
    """
    if value is None or isinstance(value, bool):
        return "Null" if value is None else str(value)
    names: dict[type, str] = {dict: "Object", list: "Array", str: "String"}
    return names.get(type(value), "Number")
