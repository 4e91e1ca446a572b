"""Columns -> serialized tf.Examples, without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from htlnet_tf.data.examples import Kind, example_bytes, feature_bytes
from htlnet_tf.serving.clients.column_values import utf8
from htlnet_tf.serving.clients.columns import Columns
from htlnet_tf.serving.signatures import EXAMPLES_SIGNATURE, Signature, TensorInfo


def as_examples(columns: Columns, raw: Signature) -> Columns:
    """Converts columns to the one column of a signature that takes serialized tf.Examples.

    Args:
      columns: For `raw`.
      raw: The signature of the same model that takes the features by name; says their dtypes.

    Returns:
      The column `examples`.

    Raises:
      InputError: A text cannot be written as UTF-8.
    """
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
    packed = [_features(name, values, signature.inputs[name]) for name, values in columns.items()]
    return [example_bytes(row) for row in zip(*packed, strict=True)]


def _features(name: str, values: list[Any], info: TensorInfo) -> list[bytes]:
    if values and isinstance(values[0], list):
        values = [value for row in values for value in row]
    kind: Kind = "int64"
    if info.dtype == "DT_STRING":
        kind, values = "bytes", utf8(name, values)
    elif info.dtype in ("DT_FLOAT", "DT_DOUBLE"):
        kind = "float"
    else:
        values = [int(value) for value in values]
    written: dict[Any, bytes] = {}
    for value in values:
        if value not in written:
            written[value] = feature_bytes(name, kind, [value])
    return [written[value] for value in values]
