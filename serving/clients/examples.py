"""Rows -> serialized tf.Examples, without TensorFlow: protobuf alone writes the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # type: ignore[import-untyped]

from htlnet_tf.serving.clients.column_values import utf8
from htlnet_tf.serving.clients.columns import Columns, Rows, to_columns
from htlnet_tf.serving.signatures import EXAMPLES_SIGNATURE, Signature, TensorInfo

_Field = descriptor_pb2.FieldDescriptorProto

# TensorFlow, core/example/example.proto and feature.proto: field names and types, numbered from 1; "*" is repeated. The
# entries of a map are messages of a key and a value on the wire, and keep the order of the columns here.
_MESSAGES: dict[str, dict[str, str | int]] = {
    "BytesList": {"value*": _Field.TYPE_BYTES},
    "FloatList": {"value*": _Field.TYPE_FLOAT},
    "Int64List": {"value*": _Field.TYPE_INT64},
    "Feature": {"bytes_list": "BytesList", "float_list": "FloatList", "int64_list": "Int64List"},
    "Entry": {"key": _Field.TYPE_STRING, "value": "Feature"},
    "Features": {"feature*": "Entry"},
    "Example": {"features": "Features"},
}


def _messages() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="htlnet_tf/example.proto", package="htlnet_tf", syntax="proto3")
    for message, fields in _MESSAGES.items():
        declared = file.message_type.add(name=message)
        for number, (name, kind) in enumerate(fields.items(), start=1):
            label = _Field.LABEL_REPEATED if name.endswith("*") else _Field.LABEL_OPTIONAL
            field = declared.field.add(name=name.rstrip("*"), number=number, label=label)
            if isinstance(kind, str):
                field.type, field.type_name = _Field.TYPE_MESSAGE, f".htlnet_tf.{kind}"
            else:
                field.type = kind
    pool = descriptor_pool.DescriptorPool()
    found = pool.AddSerializedFile(file.SerializeToString()) or pool.FindFileByName(file.name)
    return {name: message_factory.GetMessageClass(one) for name, one in found.message_types_by_name.items()}


_CLASSES = _messages()


def to_example_columns(rows: Rows, raw: Signature) -> Columns:
    """Converts rows to the one column of a signature that takes serialized tf.Examples.

    Args:
      rows: The columns of `raw`.
      raw: The signature of the same model that takes the features by name; says their dtypes.

    Returns:
      The column `examples`.

    Raises:
      InputError: As in `to_columns`, or a text cannot be written as UTF-8.
    """
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
    example, features, entry = (_CLASSES[name] for name in ("Example", "Features", "Entry"))
    packed = [_features(name, values, signature.inputs[name]) for name, values in columns.items()]
    return [
        example(
            features=features(feature=[entry(key=name, value=one) for name, one in zip(columns, row, strict=True)])
        ).SerializeToString()
        for row in zip(*packed, strict=True)
    ]


def _features(name: str, values: list[Any], info: TensorInfo) -> list[Any]:
    if values and isinstance(values[0], list):
        values = [value for row in values for value in row]
    if info.dtype == "DT_STRING":
        field, kind, values = "bytes_list", "BytesList", utf8(name, values)
    elif info.dtype in ("DT_FLOAT", "DT_DOUBLE"):
        field, kind = "float_list", "FloatList"
    else:
        field, kind, values = "int64_list", "Int64List", [int(value) for value in values]
    feature, of_kind = _CLASSES["Feature"], _CLASSES[kind]
    return [feature(**{field: of_kind(value=[value])}) for value in values]
