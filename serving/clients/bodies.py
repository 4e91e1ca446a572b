"""Columns -> the JSON body of a predict request."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from htlnet_tf.errors import InputError


def columnar_body(signature_name: str, columns: Mapping[str, list[Any]]) -> bytes:
    """A body in column format: each name is written once, so this is the smaller and faster one.

    Args:
      signature_name: Signature to call.
      columns: Input alias -> values.

    Returns:
      The body, UTF-8.

    Raises:
      InputError: A text cannot be written as UTF-8.
    """
    return _body({"signature_name": signature_name, "inputs": columns}, columns)


def row_body(signature_name: str, columns: Mapping[str, list[Any]]) -> bytes:
    """A body in row format, as it is written by hand: one object per row.

    Args:
      signature_name: Signature to call.
      columns: Input alias -> one value per row.

    Returns:
      The body, UTF-8.

    Raises:
      InputError: A text cannot be written as UTF-8.
    """
    instances = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return _body({"signature_name": signature_name, "instances": instances}, columns)


def _body(document: dict[str, Any], columns: Mapping[str, list[Any]]) -> bytes:
    try:
        return _encoded(document)
    except UnicodeEncodeError:
        for name, values in columns.items():
            for position, value in enumerate(values):
                if not _is_encodable(value):
                    raise InputError(
                        f"column '{name}' must hold text that UTF-8 can carry, but row {position} holds {value!r}"
                    ) from None
        raise


def _encoded(document: Any) -> bytes:
    # NaN is written as the bare token, which is not JSON, but what TF Serving reads and writes.
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), default=_base64_object).encode()


def _base64_object(value: Any) -> dict[str, str]:
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode("ascii")}
    raise TypeError(f"no JSON form for {type(value).__name__}")


def _is_encodable(value: Any) -> bool:
    try:
        _encoded(value)
    except UnicodeEncodeError:
        return False
    return True
