"""TensorProto and tf.Example messages to numpy arrays and back."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import input_pb2

from htlnet_tf.serving.errors import StatusError, invalid_argument

# Type -> the repeated field that holds its values, where they are not in `tensor_content`
# (TensorFlow, core/framework/tensor.proto). Half-precision numbers are there as their bits, complex ones as pairs.
_FIELDS = {
    **dict.fromkeys([types_pb2.DT_HALF, types_pb2.DT_BFLOAT16], "half_val"),
    **dict.fromkeys(
        [types_pb2.DT_INT32, types_pb2.DT_INT16, types_pb2.DT_INT8, types_pb2.DT_UINT16, types_pb2.DT_UINT8], "int_val"
    ),
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_DOUBLE: "double_val",
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_UINT32: "uint32_val",
    types_pb2.DT_UINT64: "uint64_val",
    types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_COMPLEX64: "scomplex_val",
    types_pb2.DT_COMPLEX128: "dcomplex_val",
    types_pb2.DT_STRING: "string_val",
}
_DTYPES = {enum: np.dtype(tf.dtypes.as_dtype(enum).as_numpy_dtype) for enum in _FIELDS}
_ENUMS = {dtype: enum for enum, dtype in _DTYPES.items()}
_BITS = {types_pb2.DT_HALF, types_pb2.DT_BFLOAT16}
_PAIRS = {types_pb2.DT_COMPLEX64: np.float32, types_pb2.DT_COMPLEX128: np.float64}

# A message may give one value for a tensor of any shape: a few bytes must not become more memory than this.
_MAX_FILLED_BYTES = 256 * 2**20


def decode_tensor(alias: str, proto: tensor_pb2.TensorProto) -> np.ndarray:
    """Reads a tensor as TF Serving reads it (TensorFlow, `Tensor::FromProto`).

    Args:
      alias: Name of the input, for the message.
      proto: The tensor. Numbers may be in `tensor_content` or in the field of their type, where the last value stands
        for all that are missing, and none at all for zeros.

    Returns:
      Array of the declared shape and type; object array of bytes for strings.

    Raises:
      StatusError: INVALID_ARGUMENT, if type, shape and values do not fit together; RESOURCE_EXHAUSTED, if the tensor
        is far larger than its message.
    """
    dtype = _DTYPES.get(proto.dtype)
    shape = tuple(dimension.size for dimension in proto.tensor_shape.dim)
    if dtype is None or proto.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise _unreadable(alias)
    size = math.prod(shape)
    if proto.tensor_content:
        # TensorFlow writes strings there as lengths and bytes; no client does.
        if dtype.hasobject or len(proto.tensor_content) != size * dtype.itemsize:
            raise _unreadable(alias)
        return _shaped(alias, np.frombuffer(proto.tensor_content, dtype), shape)
    values = _values(proto, dtype)
    if len(values) < size:
        if size * dtype.itemsize > _MAX_FILLED_BYTES:
            raise StatusError("RESOURCE_EXHAUSTED", f"tensor {alias} has {size} elements but {len(values)} values")
        last = values[-1] if len(values) else (b"" if dtype.hasobject else dtype.type(0))
        filled = np.empty(size, dtype)
        filled[: len(values)] = values
        filled[len(values) :] = last
        values = filled
    return _shaped(alias, values[:size], shape)


def _shaped(alias: str, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    try:
        return values.reshape(shape)
    except ValueError as error:  # more dimensions than numpy has, or a huge one beside one of size 0
        raise _unreadable(alias) from error


def _values(proto: tensor_pb2.TensorProto, dtype: np.dtype) -> np.ndarray:
    field = getattr(proto, _FIELDS[proto.dtype])
    if dtype.hasobject:
        return np.array([*field, None], object)[:-1]  # numpy must not look into the strings
    if proto.dtype in _BITS:
        return np.array(field, np.int64).astype(np.uint16).view(dtype)
    if proto.dtype in _PAIRS:
        return np.array(field[: len(field) // 2 * 2], _PAIRS[proto.dtype]).view(dtype)
    if proto.dtype in (types_pb2.DT_INT16, types_pb2.DT_INT8, types_pb2.DT_UINT16, types_pb2.DT_UINT8):
        return np.array(field, np.int64).astype(dtype)  # cut to the type, as TensorFlow does
    return np.array(field, dtype)


def encode_tensor(array: np.ndarray) -> tensor_pb2.TensorProto:
    """Writes a tensor into the field of its type, where TF Serving's clients look for it by default.

    Args:
      array: Any array that a graph can give; bytes or objects for strings.

    Returns:
      The message. Complete: unlike `tf.make_tensor_proto` and like TF Serving, without `tensor_content`.
    """
    strings = array.dtype.kind in "OS"
    enum = types_pb2.DT_STRING if strings else _ENUMS.get(array.dtype)
    if enum is None:
        return tf.make_tensor_proto(array)  # quantised and other rare types
    proto = tensor_pb2.TensorProto(dtype=enum)
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    flat = array.ravel()
    if enum in _BITS:
        flat = flat.view(np.uint16)
    elif enum in _PAIRS:
        flat = flat.view(_PAIRS[enum])
    getattr(proto, _FIELDS[enum]).extend(flat.tolist())
    return proto


def serialized_examples(message: input_pb2.Input) -> np.ndarray:
    """Reads the input of a classification or regression.

    Args:
      message: A list of tf.Example, or one with a context that is merged into each of them.

    Returns:
      Object array [N] of serialized tf.Example.

    Raises:
      StatusError: INVALID_ARGUMENT, if there is no example.
    """
    context = b""
    if message.WhichOneof("kind") == "example_list_with_context":
        examples = message.example_list_with_context.examples
        context = message.example_list_with_context.context.SerializeToString()
    else:
        examples = message.example_list.examples
    if not examples:
        raise invalid_argument("Input is empty.")
    # Protobuf merges what is concatenated; the example's own value of a feature comes last and wins.
    serialized = np.empty(len(examples), object)
    serialized[:] = [context + example.SerializeToString() for example in examples]
    return serialized


def _unreadable(alias: str) -> StatusError:
    return invalid_argument(f"tensor parsing error: {alias}")
