"""Raw columns as serialized `tf.train.Example`, and back again in the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from htlnet_tf.data import columns
from htlnet_tf.data.examples import column_bytes, example_bytes
from htlnet_tf.encoding.encoder import FeatureEncoder
from htlnet_tf.schema import Categorical, Schema

_MISSING = {tf.string: columns.MISSING_STRING, tf.int64: columns.MISSING_INT64, tf.float32: columns.MISSING_FLOAT}


def parse_examples(encoder: FeatureEncoder, serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """Parses examples into what the encoder takes.

    A feature that an example lacks, or that has no value there, is missing. Several values of a multi-valued feature
    are joined by its separator. Features are bytes, int64 or float as `FeatureEncoder.raw_specs` says.

    Args:
      encoder: The model's.
      serialized: Serialized `tf.train.Example`, string [N].

    Returns:
      By feature name, tensors of shape [N].

    Raises:
      tf.errors.InvalidArgumentError: When it runs: a value is no example, a feature is of another type, or a
        single-valued feature has several values.
    """
    specs = encoder.raw_specs()
    parsed = tf.io.parse_example(serialized, {name: tf.io.RaggedFeature(spec.dtype) for name, spec in specs.items()})
    raw = {}
    single: dict[tf.DType, list[str]] = {}
    for feature in encoder.schema.inputs:
        if isinstance(feature, Categorical) and feature.separator is not None:
            raw[feature.name] = tf.strings.reduce_join(parsed[feature.name], axis=-1, separator=feature.separator)
        else:
            single.setdefault(specs[feature.name].dtype, []).append(feature.name)
    for dtype, names in single.items():
        values = _single_values(names, [parsed[name] for name in names], _MISSING[dtype])
        raw.update(zip(names, values, strict=True))
    return {name: raw[name] for name in specs}


def _single_values(names: Sequence[str], parsed: Sequence[tf.RaggedTensor], missing: Any) -> list[tf.Tensor]:
    """The values of single-valued columns of one type, [N] each; all columns by the same operations."""
    splits = tf.stack([column.row_splits for column in parsed])  # [K, N + 1]
    starts, lengths = splits[:, :-1], splits[:, 1:] - splits[:, :-1]
    most = tf.reduce_max(lengths, axis=1)  # that of no examples is the smallest number
    wrong = tf.gather(tf.constant(list(names)), tf.argmax(most))
    rule = tf.strings.join([wrong, " is single-valued, but an example has several values of it"])
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(lengths < 2), [rule])]):
        values = tf.concat([*(column.values for column in parsed), [missing]], axis=0)
    # Each column's values begin where those of the ones before it end; the code of a missing one stands last.
    positions = starts + tf.cumsum(splits[:, -1:], axis=0, exclusive=True)
    chosen = tf.where(lengths > 0, positions, tf.size(values, splits.dtype) - 1)
    return tf.unstack(tf.gather(values, chosen), num=len(names), axis=0)


def to_examples(schema: Schema, raw: Mapping[str, np.ndarray]) -> np.ndarray:
    """Writes raw rows as serialized examples; a missing value is a feature without values.

    Args:
      schema: With every dtype settled.
      raw: By feature name, arrays of shape [N] as `raw_features` gives them.

    Returns:
      An object array of bytes [N], as a feed takes it.
    """
    packed = [
        column_bytes(f.name, raw[f.name], separator=f.separator if isinstance(f, Categorical) else None)
        for f in schema.inputs
    ]
    return np.fromiter((example_bytes(row) for row in zip(*packed, strict=True)), object)
