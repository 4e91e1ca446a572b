"""Rows to ask a server about, more or fewer of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from htlnet_tf.export.signatures.signature import Arrays


def repeated(raw: Arrays, count: int) -> dict[str, np.ndarray]:
    """The first `count` rows, from the beginning again where there are fewer."""
    available = len(next(iter(raw.values())))
    positions = np.arange(count) % available
    return {name: values[positions] for name, values in raw.items()}


def parts(raw: Arrays, size: int) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Consecutive rows, at most `size` at a time, with the number of the first."""
    for start in range(0, len(next(iter(raw.values()))), size):
        yield start, {name: values[start : start + size] for name, values in raw.items()}
