"""The kinds of features: how each is counted, laid out, encoded and probed. One file per kind, and this registry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from htlnet_tf.encoding.kinds.categorical import CategoricalKind
from htlnet_tf.encoding.kinds.cross import CrossKind
from htlnet_tf.encoding.kinds.history import CountEncodingKind, TargetEncodingKind
from htlnet_tf.encoding.kinds.kind import Kind
from htlnet_tf.encoding.kinds.numeric import NumericKind
from htlnet_tf.encoding.kinds.timestamp import TimestampKind
from htlnet_tf.schema import (
    Categorical,
    CountEncoding,
    Cross,
    Numeric,
    Schema,
    Sequence,
    TargetEncoding,
    Timestamp,
)
from htlnet_tf.schema.features import Feature

KINDS: dict[type, type[Kind[Any]]] = {
    Categorical: CategoricalKind,
    Sequence: CategoricalKind,
    Numeric: NumericKind,
    Timestamp: TimestampKind,
    Cross: CrossKind,
    TargetEncoding: TargetEncodingKind,
    CountEncoding: CountEncodingKind,
}


def kind_of(feature: Feature) -> type[Kind[Any]]:
    """How features of this one's kind are encoded."""
    return KINDS[type(feature)]


def kinds_of(schema: Schema, learned: Mapping[str, Any]) -> dict[str, Kind[Any]]:
    """The kinds of all features by name, in schema order; each knows the others.

    Args:
      schema: With everything settled.
      learned: By feature, what its counter learnt.
    """
    kinds: dict[str, Kind[Any]] = {}
    for feature in schema.features:
        kinds[feature.name] = kind_of(feature)(feature, learned.get(feature.name), kinds)
    return kinds
