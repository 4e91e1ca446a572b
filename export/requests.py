"""What a server is asked: feeds per signature, made from raw rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf

from htlnet_tf.encoding.encoder import FeatureEncoder
from htlnet_tf.export.candidates import item_columns
from htlnet_tf.export.examples import to_examples

Arrays = Mapping[str, np.ndarray]

EXAMPLE_INPUTS = {"examples": "examples", "classify": "inputs", "regress": "inputs"}
"""By signature, the input that takes serialized examples."""


def signature_names(encoder: FeatureEncoder) -> tuple[str, ...]:
    """The signatures that a model of this encoder is exported with."""
    candidates = ("candidates",) if item_columns(encoder.schema) else ()
    return ("serving_default", *candidates, *EXAMPLE_INPUTS)


def feeds(encoder: FeatureEncoder, signature: str, raw: Arrays, *, user: int = 0) -> dict[str, np.ndarray]:
    """The inputs of a signature for rows.

    Args:
      encoder: The model's.
      signature: Its name.
      raw: By feature name, arrays of shape [N] as `raw_features` gives them.
      user: For `candidates`: the row that user and context come from; all rows are candidates.

    Returns:
      Array per input, of the declared dtype; object arrays of bytes for strings.
    """
    if signature in EXAMPLE_INPUTS:
        return {EXAMPLE_INPUTS[signature]: to_examples(encoder.schema, raw)}
    chosen = dict(raw)
    if signature == "candidates":
        items = item_columns(encoder.schema)
        chosen = {name: values if name in items else values[user : user + 1] for name, values in raw.items()}
    return {name: tf.constant(chosen[name], spec.dtype).numpy() for name, spec in encoder.raw_specs().items()}


def repeated(raw: Arrays, count: int) -> dict[str, np.ndarray]:
    """The first `count` rows, from the beginning again where there are fewer."""
    available = len(next(iter(raw.values())))
    positions = np.arange(count) % available
    return {name: values[positions] for name, values in raw.items()}


def of_user(encoder: FeatureEncoder, raw: Arrays, user: int) -> dict[str, np.ndarray]:
    """The rows that `candidates` stands for: the items of all rows, user and context of one."""
    items = item_columns(encoder.schema)
    return {
        name: values if name in items else np.repeat(values[user : user + 1], len(values))
        for name, values in raw.items()
    }


def parts(raw: Arrays, size: int) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Consecutive rows, at most `size` at a time, with the number of the first."""
    for start in range(0, len(next(iter(raw.values()))), size):
        yield start, {name: values[start : start + size] for name, values in raw.items()}
