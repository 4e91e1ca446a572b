"""Which columns of encoded rows a feature has."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from htlnet_tf.encoding.encoder import FeatureEncoder


class EncodedColumns(NamedTuple):
    """Where a feature stands in encoded rows.

    Attributes:
      fields: By field of the embedding, the columns of `"ids"` with its slots.
      values: The columns of `"numeric"` with its values.
      indicators: Those with its indicators of missing values.
    """

    fields: dict[str, slice]
    values: slice
    indicators: slice


def encoded_columns(encoder: FeatureEncoder) -> dict[str, EncodedColumns]:
    """By feature, its columns in what the encoder makes of rows: values of all features, then all indicators."""
    kinds = encoder.kinds
    values = [kind.num_numbers - kind.num_indicators for kind in kinds.values()]
    indicators = [kind.num_indicators for kind in kinds.values()]
    first_indicator = sum(values)
    return {
        name: EncodedColumns(
            {field.name: encoder.slots_of(field.name) for field in kind.fields()},
            slice(value_end - num_values, value_end),
            slice(first_indicator + end - num_indicators, first_indicator + end),
        )
        for (name, kind), num_values, value_end, num_indicators, end in zip(
            kinds.items(),
            values,
            itertools.accumulate(values),
            indicators,
            itertools.accumulate(indicators),
            strict=True,
        )
    }
