"""The one writer of `tf.train.Example`, without TensorFlow: protobuf alone writes the same bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # type: ignore[import-untyped]

from htlnet_tf.data.values import MISSING_INT64

Kind = Literal["bytes", "float", "int64"]

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
}
_LISTS: dict[Kind, tuple[str, str]] = {
    "bytes": ("bytes_list", "BytesList"),
    "float": ("float_list", "FloatList"),
    "int64": ("int64_list", "Int64List"),
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


def feature_bytes(name: str, kind: Kind, values: Sequence[Any]) -> bytes:
    """One feature of an example, serialized; the same bytes serve all examples that have the same values of it.

    Args:
      name: Of the feature.
      kind: Of its values: `bytes`, `float` (written as float32, beyond its range infinite) or `int64`.
      values: Any number; none is how an example says "missing".

    Returns:
      A part of what `example_bytes` takes.
    """
    field, list_name = _LISTS[kind]
    feature = _CLASSES["Feature"](**{field: _CLASSES[list_name](value=values)})
    written: bytes = _CLASSES["Features"](feature=[_CLASSES["Entry"](key=name, value=feature)]).SerializeToString()
    return written


def column_bytes(name: str, values: np.ndarray, *, separator: str | None = None) -> list[bytes]:
    """One feature of many examples, serialized; a missing value is a feature without values.

    Args:
      name: Of the feature.
      values: [N], in raw form: an object array of `str`, int64, or floats.
      separator: What joins several values of one text.

    Returns:
      N parts of what `example_bytes` takes.
    """
    if values.dtype == np.int64:
        return [feature_bytes(name, "int64", () if v == MISSING_INT64 else (v,)) for v in values.tolist()]
    if values.dtype.kind == "f":
        return [feature_bytes(name, "float", () if math.isnan(v) else (v,)) for v in values.tolist()]
    tokens = (text.split(separator) if text and separator else [text] if text else [] for text in values)
    return [feature_bytes(name, "bytes", [token.encode() for token in listed]) for listed in tokens]


def example_bytes(features: Iterable[bytes]) -> bytes:
    """A serialized example.

    Args:
      features: Its features, as `feature_bytes` writes them; a name must not occur twice.
    """
    content = b"".join(features)
    # Field 1 of an Example, length-delimited: its Features, whose map entries may stand in any order.
    return b"\x0a" + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """A number as Protocol Buffers write it: seven bits per byte, low ones first, the high bit set on all but one."""
    digits = []
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*digits, number))
