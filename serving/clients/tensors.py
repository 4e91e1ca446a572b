"""Columns -> the tensors of a gRPC request. Needs TensorFlow's protocol buffers."""

from __future__ import annotations

from typing import Any

import numpy as np
from tensorflow.core.framework import tensor_pb2, types_pb2

from htlnet_tf.serving.clients.column_values import NUMPY_DTYPES, utf8
from htlnet_tf.serving.signatures import TensorInfo


def tensor_of(name: str, values: list[Any], info: TensorInfo) -> tensor_pb2.TensorProto:
    """Packs a column.

    Args:
      name: Input alias, for messages.
      values: As `to_columns` gives them: one value, or one list of one value, per row; or one list for all rows.
      info: The input.

    Returns:
      The tensor, `[N]`, `[N, 1]` or `[1, K]`.

    Raises:
      InputError: A text cannot be written as UTF-8.
    """
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DataType.Value(info.dtype))
    tensor.tensor_shape.dim.add(size=len(values))
    if info.shape is not None and len(info.shape) == 2:
        tensor.tensor_shape.dim.add(size=len(values[0]))
        values = [value for row in values for value in row]
    if info.dtype == "DT_STRING":
        tensor.string_val.extend(utf8(name, values))
    else:
        # A float64 beyond float32's range becomes infinite, as it does in a server that reads JSON.
        with np.errstate(over="ignore"):
            tensor.tensor_content = np.asarray(values, NUMPY_DTYPES[info.dtype]).tobytes()
    return tensor
