"""Rows as the arrays that a model trains on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Union

import numpy as np
import pandas as pd

from htlnet_tf.data.columns import Arrays
from htlnet_tf.data.labels import label_values
from htlnet_tf.data.stream import Stream
from htlnet_tf.encoding.ahead import in_order
from htlnet_tf.errors import InputError

if TYPE_CHECKING:
    from htlnet_tf.encoding.encoder import FeatureEncoder


@dataclasses.dataclass(frozen=True)
class EncodedRows:
    """Encoded rows, N of them.

    Attributes:
      features: `"ids"` int32 [N, num_slots] and `"numeric"` float32 [N, num_numeric].
      labels: By target, float32 [N], or int32 [N] for `Multiclass`; 0 where a row takes no part.
      weights: By target, float32 [N]: 0 where a row takes no part; None: every row has weight 1 everywhere.
    """

    features: Arrays
    labels: Arrays
    weights: Arrays | None = None

    def __len__(self) -> int:
        return len(self.features["ids"])

    @property
    def tree(self) -> tuple[Arrays, ...]:
        """Features, labels, and weights if there are any: the elements of a dataset."""
        return (self.features, self.labels) if self.weights is None else (self.features, self.labels, self.weights)

    def map(self, function: Callable[[np.ndarray], np.ndarray]) -> EncodedRows:
        """The same with a function applied to every array."""
        return EncodedRows(*({name: function(array) for name, array in arrays.items()} for arrays in self.tree))

    def with_weights(self) -> EncodedRows:
        """The same rows with the weights written out."""
        if self.weights is not None:
            return self
        # An array for each: TensorFlow may take one over without a copy and write into it.
        weights = {name: np.ones(len(self), np.float32) for name in self.labels}
        return EncodedRows(self.features, self.labels, weights)

    @classmethod
    def concatenate(cls, parts: Iterable[EncodedRows]) -> EncodedRows:
        """Several parts as one; weights are written out only if a part has any.

        Raises:
          InputError: There are no parts.
        """
        listed = list(parts)
        if not listed:
            raise InputError("there are no rows")
        if any(part.weights is not None for part in listed):
            listed = [part.with_weights() for part in listed]

        def joined(arrays: list[Arrays]) -> Arrays:
            return {name: np.concatenate([a[name] for a in arrays]) for name in arrays[0]}

        weights = [part.weights for part in listed if part.weights is not None]
        return cls(
            joined([part.features for part in listed]),
            joined([part.labels for part in listed]),
            joined(weights) if weights else None,
        )


Rows = Union[pd.DataFrame, Stream]
"""Logged impressions: in memory, or in files."""


def encode_frame(frame: pd.DataFrame, encoder: FeatureEncoder, *, training: bool = False) -> EncodedRows:
    """Encodes a frame.

    Args:
      frame: The rows.
      encoder: Fitted on the training rows.
      training: They are training rows: history statistics leave out what a row's own label is in.

    Raises:
      InputError: A column is missing or holds a value its kind does not allow; or `training`, and they are not rows
        that the encoder was fitted on.
    """
    labels, weights = label_values(frame, encoder.schema)
    amounts = {target.name: labels[target.name].astype(np.float32) for target in encoder.schema.amounts}
    features = encoder.encode(frame)
    if training and encoder.schema.history:
        if encoder.history is None:
            raise InputError(
                "history statistics of training rows need the encoder that was fitted on them; one that was read from "
                "a file knows what is served alone"
            )
        encoder.history.leave_out(encoder, frame, features)
    return EncodedRows(features, labels | amounts, weights)


def encode_rows(rows: Rows, encoder: FeatureEncoder, *, training: bool = False) -> EncodedRows:
    """Encodes rows into memory: some 200 bytes per row, whatever their strings take in files.

    Args:
      rows: A frame or a stream.
      encoder: Fitted on the training rows.
      training: As for `encode_frame`.

    Raises:
      InputError: There are no rows, or as for `encode_frame`.
    """
    if isinstance(rows, Stream):
        return EncodedRows.concatenate(in_order(rows, lambda frame: encode_frame(frame, encoder, training=training)))
    return encode_frame(rows, encoder, training=training)
