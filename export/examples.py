"""Raw columns as serialized `tf.train.Example`, and back again in the graph."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from htlnet_tf.data import columns
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


def to_examples(schema: Schema, raw: Mapping[str, np.ndarray]) -> list[tf.train.Example]:
    """Writes raw rows as examples; a missing value is a feature that is not there.

    Args:
      schema: With every dtype settled.
      raw: By feature name, arrays of shape [N] as `raw_features` gives them.
    """
    examples = [tf.train.Example() for _ in range(len(next(iter(raw.values()))))]
    for feature in schema.inputs:
        separator = feature.separator if isinstance(feature, Categorical) else None
        for example, value in zip(examples, raw[feature.name].tolist(), strict=True):
            written = example.features.feature
            if isinstance(value, str):
                tokens = value.split(separator) if separator else [value]
                if value != columns.MISSING_STRING:
                    written[feature.name].bytes_list.value.extend(token.encode() for token in tokens)
            elif isinstance(value, int):
                if value != columns.MISSING_INT64:
                    written[feature.name].int64_list.value.append(value)
            elif not np.isnan(value):
                written[feature.name].float_list.value.append(value)
    return examples


def serialized(examples: list[tf.train.Example]) -> np.ndarray:
    """Examples as a feed: an object array of bytes [N]."""
    array = np.empty(len(examples), object)
    array[:] = [example.SerializeToString(deterministic=True) for example in examples]
    return array
