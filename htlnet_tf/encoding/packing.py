"""Arrays of numbers in JSON: a million values are no million numbers there."""

from __future__ import annotations

import base64
import zlib
from typing import Annotated, Any

import numpy as np
from pydantic import PlainSerializer, PlainValidator


def _packed(array: np.ndarray, kept: str) -> str:
    """As text that is a third larger than the compressed bytes."""
    return base64.b64encode(zlib.compress(np.ascontiguousarray(array, kept).tobytes(), 1)).decode("ascii")


def _unpacked(document: Any, kept: str) -> np.ndarray:
    dtype = np.dtype(kept).newbyteorder("=")
    if isinstance(document, np.ndarray):
        return np.ascontiguousarray(document, dtype)
    if not isinstance(document, str):
        raise ValueError(f"numbers are kept as base64, received {type(document).__name__}")
    try:
        return np.frombuffer(zlib.decompress(base64.b64decode(document, validate=True)), kept).astype(dtype)
    except (ValueError, zlib.error) as error:
        raise ValueError(f"numbers are damaged: {error}") from error


def _array_of(kept: str) -> Any:
    return Annotated[
        np.ndarray, PlainValidator(lambda found: _unpacked(found, kept)), PlainSerializer(lambda a: _packed(a, kept))
    ]


Floats = _array_of("<f4")
"""float32 [N] as a field of a dataclass that is kept in JSON."""
Integers = _array_of("<i8")
"""Likewise int64 [N]."""
Hashes = _array_of("<u8")
"""Likewise uint64 [N]."""
