"""The combination of two categorical features: a pair of rows has a row."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from htlnet_tf.encoding.kinds.kind import Block, Kind
from htlnet_tf.encoding.layout import Field
from htlnet_tf.schema import Cross


class CrossKind(Kind[Cross]):
    """Pairs of rows are hashed into buckets, or counted off where the buckets suffice for all pairs."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Those of the two."""
        return self.feature.of

    def fields(self) -> list[Field]:
        """One."""
        return [Field(self.feature.name, 1, "mean", self.feature.embedding_dim)]

    def block(self, field: str, start: int) -> Block:
        """As many rows as there are pairs or buckets."""
        first, second = (self.peers[name].num_rows for name in self.feature.of)
        return Block.at(start, unknown=False, missing=False, values=min(self.feature.num_buckets, first * second))

    def rows(self, raw: Mapping[str, tf.Tensor], found: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The row of each pair; two fields of one row each give one row."""
        first, second = (self.blocks[name] for name in self.feature.of)
        a, b = (tf.cast(found[name], tf.int64) - self.blocks[name].start for name in self.feature.of)
        pair = a * (second.end - second.start) + b
        block = self.blocks[self.feature.name]
        buckets = block.end - block.first
        if (first.end - first.start) * (second.end - second.start) > buckets:
            pair = tf.strings.to_hash_bucket_fast(tf.as_string(pair), buckets)
        return {self.feature.name: tf.cast(pair, tf.int32) + block.first}
