"""Python and numpy values -> JSON text as TF Serving prints it: indentation, digits and the tokens for NaN."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

_INDENT = "    "

# TF Serving cuts values in messages near 256 bytes.
_VALUE_LIMIT = 256

# max_digits10 of the type: so many significant digits always read back as the same number.
_FULL_DIGITS = {4: 9, 8: 17}


def float_texts(values: np.ndarray) -> list[str]:
    """Prints floats: six significant digits if they read back as the same number, else as many as it takes.

    Whole numbers get `.0` unless printed with an exponent (9000000 is `9e+06`); numbers that are not finite print as
    `NaN`, `Infinity`, `-Infinity`. Source: TF Serving, util/json_tensor.cc (WriteDecimal).

    Args:
      values: `[n]`, float32 or float64.

    Returns:
      One text per value.
    """
    numbers = values.tolist()
    short = [f"{number:g}" for number in numbers]
    same = (np.array([float(text) for text in short], dtype=values.dtype) == values).tolist()
    full = f".{_FULL_DIGITS[values.dtype.itemsize]}g"
    texts = [text if exact else format(number, full) for text, exact, number in zip(short, same, numbers, strict=True)]
    texts = [text if "." in text or "e" in text else text + ".0" for text in texts]
    if not np.isfinite(values).all():
        texts = [text if math.isfinite(number) else _token(number) for text, number in zip(texts, numbers, strict=True)]
    return texts


def _token(number: float) -> str:
    if math.isnan(number):
        return "NaN"
    return "Infinity" if number > 0 else "-Infinity"


def string_text(value: str) -> str:
    """Prints a string with its quotes.

    Args:
      value: The string; characters outside ASCII stay as they are.

    Returns:
      The JSON text.
    """
    return json.dumps(value, ensure_ascii=False)


def object_text(members: list[tuple[str, str]], depth: int) -> str:
    """Prints an object, one member per line.

    Args:
      members: Key and printed value of each member.
      depth: Nesting depth of the object, 1 at the top level: its members are indented `depth` times.

    Returns:
      The JSON text.
    """
    if not members:
        return "{}"
    inner = ",".join(f"\n{_INDENT * depth}{string_text(key)}: {text}" for key, text in members)
    return f"{{{inner}\n{_INDENT * (depth - 1)}}}"


def array_text(elements: list[str], depth: int) -> str:
    """Prints an array, one element per line.

    Args:
      elements: The printed elements.
      depth: Nesting depth of the array, 1 at the top level.

    Returns:
      The JSON text.
    """
    if not elements:
        return "[]"
    inner = ",".join(f"\n{_INDENT * depth}{element}" for element in elements)
    return f"[{inner}\n{_INDENT * (depth - 1)}]"


def value_text(value: Any) -> str:
    """Prints a parsed JSON value for a message, arrays on one line, cut near 256 bytes.

    Args:
      value: What a JSON parser returned.

    Returns:
      The text. Source: TF Serving, util/json_tensor.cc (JsonValueToString).
    """
    if type(value) is float:
        return float_texts(np.array([value]))[0]
    return _value_text(value, 1)[:_VALUE_LIMIT]


def _value_text(value: Any, depth: int) -> str:
    if isinstance(value, dict):
        return object_text([(key, _value_text(member, depth + 1)) for key, member in value.items()], depth)
    if isinstance(value, list):
        return f"[{', '.join(_value_text(element, depth + 1) for element in value)}]"
    if isinstance(value, str):
        return string_text(value)
    return json.dumps(value)


def error_body(message: str) -> bytes:
    """Prints the body of an error reply.

    Args:
      message: The status message; bytes in it that are not UTF-8 (`surrogateescape`) go out as they are.

    Returns:
      The JSON. Source: TF Serving, util/json_tensor.cc (MakeJsonFromStatus).
    """
    text = object_text([("error", string_text(message))], 1)
    return text.encode("utf-8", "surrogateescape")
