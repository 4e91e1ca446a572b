"""Raw columns as serialized `tf.train.Example`, and back again in the graph."""

from __future__ import annotations

from collections.abc import Mapping

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
    for feature in encoder.schema.inputs:
        values = parsed[feature.name]
        if isinstance(feature, Categorical) and feature.separator is not None:
            raw[feature.name] = tf.strings.reduce_join(values, axis=-1, separator=feature.separator)
            continue
        rule = f"{feature.name} is single-valued, but an example has several values of it"  # quotes would be escaped
        with tf.control_dependencies([tf.debugging.assert_less(values.row_lengths(), 2, rule)]):
            dense = values.to_tensor(_MISSING[specs[feature.name].dtype], shape=[None, 1])
        raw[feature.name] = dense[:, 0]
    return raw


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
