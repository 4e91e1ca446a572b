"""Nested values of numbers, texts and arrays as JSON with the arrays, and long lists of numbers, beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

_LONG = 64
_ARRAY, _LIST = "array", "numbers"


def packed(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """A value as JSON takes it.

    Args:
      value: None, a bool, number or text, an array, or a list, tuple or dict of such, whose keys are texts. A tuple
        comes back as a list.
      arrays: Gets what stands beside the JSON.

    Raises:
      TypeError: It is something else.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.ndarray):
        return {_ARRAY: _put(value, arrays)}
    if isinstance(value, Mapping):
        return {"of": {str(name): packed(item, arrays) for name, item in value.items()}}
    if isinstance(value, (list, tuple)):
        if len(value) >= _LONG and all(type(item) is float for item in value):
            return {_LIST: _put(np.asarray(value, np.float64), arrays)}
        return [packed(item, arrays) for item in value]
    raise TypeError(f"a checkpoint cannot keep a {type(value).__name__}: {value!r}")


def unpacked(document: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """What `packed` was given."""
    if isinstance(document, list):
        return [unpacked(item, arrays) for item in document]
    if not isinstance(document, dict):
        return document
    if _ARRAY in document:
        return arrays[document[_ARRAY]]
    if _LIST in document:
        return arrays[document[_LIST]].tolist()
    return {name: unpacked(item, arrays) for name, item in document["of"].items()}


def _put(array: np.ndarray, arrays: dict[str, np.ndarray]) -> str:
    name = f"{len(arrays):06d}"
    arrays[name] = array
    return name
