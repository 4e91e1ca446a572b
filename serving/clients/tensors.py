"""Columns -> the tensors and tf.Examples of a gRPC request. Needs TensorFlow's protocol buffers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from tensorflow.core.example import example_pb2, feature_pb2
from tensorflow.core.framework import tensor_pb2, types_pb2

from htlnet_tf.errors import InputError
from htlnet_tf.serving.clients.column_values import NUMPY_DTYPES
from htlnet_tf.serving.clients.columns import Columns, Rows, to_columns
from htlnet_tf.serving.signatures import EXAMPLES_SIGNATURE, Signature, TensorInfo


def tensor_of(name: str, values: list[Any], info: TensorInfo) -> tensor_pb2.TensorProto:
    """Packs a column.

    Args:
      name: Input alias, for messages.
      values: As `to_columns` gives them: one value, or one list of one value, per row.
      info: The input.

    Returns:
      The tensor, `[N]` or `[N, 1]`.

    Raises:
      InputError: A text cannot be written as UTF-8.
    """
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DataType.Value(info.dtype))
    tensor.tensor_shape.dim.add(size=len(values))
    if info.shape is not None and len(info.shape) == 2:
        tensor.tensor_shape.dim.add(size=1)
        values = [value for row in values for value in row]
    if info.dtype == "DT_STRING":
        tensor.string_val.extend(_encoded(name, values))
    else:
        # A float64 beyond float32's range becomes infinite, as it does in a server that reads JSON.
        with np.errstate(over="ignore"):
            tensor.tensor_content = np.asarray(values, NUMPY_DTYPES[info.dtype]).tobytes()
    return tensor


def to_example_columns(rows: Rows, signature: Signature, raw: Signature) -> Columns:
    """Converts rows to the one column of a signature that takes serialized tf.Examples.

    Args:
      rows: The columns of `raw`, or the column `examples`, serialized by the caller.
      signature: The signature that will receive them.
      raw: The signature of the same model that takes the features by name; says their dtypes.

    Returns:
      The column `examples`.

    Raises:
      InputError: As in `to_columns`, or a text cannot be written as UTF-8.
    """
    first = rows[0] if isinstance(rows, list) and rows else rows
    if isinstance(first, (pd.DataFrame, Mapping)) and EXAMPLES_SIGNATURE in first:
        return to_columns(rows, signature)
    columns = to_columns(rows, raw)
    return Columns({EXAMPLES_SIGNATURE: serialized_examples(columns.values, raw)}, columns.index)


def serialized_examples(columns: Mapping[str, list[Any]], signature: Signature) -> list[bytes]:
    """Packs rows as serialized tf.Examples, every value written out, those that stand for "missing" too.

    Args:
      columns: Feature -> one value per row, as `to_columns` gives them.
      signature: Says the dtypes of the features.

    Returns:
      One tf.Example per row.

    Raises:
      InputError: A text cannot be written as UTF-8.
    """
    features = [_features(name, values, signature.inputs[name]) for name, values in columns.items()]
    return [
        example_pb2.Example(
            features=feature_pb2.Features(feature=dict(zip(columns, row, strict=True)))
        ).SerializeToString(deterministic=True)
        for row in zip(*features, strict=True)
    ]


def _features(name: str, values: list[Any], info: TensorInfo) -> list[feature_pb2.Feature]:
    if values and isinstance(values[0], list):
        values = [value for row in values for value in row]
    if info.dtype == "DT_STRING":
        texts = _encoded(name, values)
        return [feature_pb2.Feature(bytes_list=feature_pb2.BytesList(value=[text])) for text in texts]
    if info.dtype in ("DT_FLOAT", "DT_DOUBLE"):
        return [feature_pb2.Feature(float_list=feature_pb2.FloatList(value=[value])) for value in values]
    return [feature_pb2.Feature(int64_list=feature_pb2.Int64List(value=[int(value)])) for value in values]


def _encoded(name: str, values: list[Any]) -> list[bytes]:
    texts = []
    for position, value in enumerate(values):
        try:
            texts.append(value if isinstance(value, bytes) else value.encode())
        except UnicodeEncodeError:
            raise InputError(
                f"column '{name}' must hold text that UTF-8 can carry, but row {position} holds {value!r}"
            ) from None
    return texts
