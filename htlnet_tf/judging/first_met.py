"""What an encoder made of rows that a later one has learned: which values it did not know, and history statistics.

Once vocabularies have grown by a day and the statistics have its labels, its rows look better known than any later ones
will be. What they were taken for when they were met is kept, for later rows to be compared with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from htlnet_tf.data.columns import Arrays
from htlnet_tf.encoding.coverage import Coverage
from htlnet_tf.encoding.history import put_statistic

if TYPE_CHECKING:
    from htlnet_tf.encoding.encoder import FeatureEncoder

_UNKNOWN, _VALUES, _NUMBER = "unknown", "values", "number"


def first_met(encoder: FeatureEncoder, rows: pd.DataFrame) -> pd.DataFrame:
    """What an encoder makes of rows that it was not fitted on.

    Args:
      encoder: Of the days before.
      rows: Raw rows, N of them.

    Returns:
      [N] rows. By feature with a vocabulary `"unknown/{name}"` and `"values/{name}"`, int64, how many of the row's
      values are out of vocabulary and how many it has; by history statistic `"number/{name}/{k}"`, float32, its numbers
      as they are fed.
    """
    encoded = encoder.encode(rows)
    found: dict[str, np.ndarray] = {}
    coverage = Coverage(encoder)
    for name, (unknown, values) in coverage.by_row(encoded["ids"]).items():
        found |= {f"{_UNKNOWN}/{name}": unknown, f"{_VALUES}/{name}": values}
    for feature in encoder.schema.history:
        numbers = encoded["numeric"][:, encoder.value_columns[feature.name]]
        found |= {f"{_NUMBER}/{feature.name}/{k}": column for k, column in enumerate(numbers.T)}
    return pd.DataFrame(found, index=rows.index)


def unknown_counts(met: pd.DataFrame) -> dict[str, tuple[int, int]]:
    """As `Coverage.counts`, of what `first_met` gave."""
    names = [column.removeprefix(f"{_VALUES}/") for column in met if column.startswith(f"{_VALUES}/")]
    return {name: (int(met[f"{_UNKNOWN}/{name}"].sum()), int(met[f"{_VALUES}/{name}"].sum())) for name in names}


def put_history(encoder: FeatureEncoder, met: pd.DataFrame, encoded: Arrays) -> None:
    """Puts the history statistics that rows were met with in the place of those that have the rows' own labels.

    Args:
      encoder: That gave the encoded rows; grown from that of `first_met`.
      met: What `first_met` gave of the same rows.
      encoded: `"ids"` int32 [N, num_slots] and `"numeric"` float32 [N, num_numeric], which are written to.
    """
    for feature in encoder.schema.history:
        columns = [column for column in met if column.startswith(f"{_NUMBER}/{feature.name}/")]
        put_statistic(encoder, feature.name, met[columns].to_numpy(np.float32), encoded)
