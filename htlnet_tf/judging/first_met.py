"""Which values of rows were unknown when they were met, of rows that vocabularies have grown by since."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from htlnet_tf.encoding.coverage import Coverage

if TYPE_CHECKING:
    from htlnet_tf.encoding.encoder import FeatureEncoder

_UNKNOWN, _VALUES = "unknown/", "values/"


def first_met(encoder: FeatureEncoder, rows: pd.DataFrame) -> pd.DataFrame:
    """How much of some rows an encoder knows.

    Args:
      encoder: As it was before it grew by the rows.
      rows: Raw rows, N of them.

    Returns:
      [N] rows, int64: by feature with a vocabulary `"unknown/{name}"` and `"values/{name}"`, how many of a row's values
      are out of vocabulary, and how many it has.
    """
    found: dict[str, np.ndarray] = {}
    for name, (unknown, values) in Coverage(encoder).by_row(encoder.encode(rows)["ids"]).items():
        found |= {_UNKNOWN + name: unknown, _VALUES + name: values}
    return pd.DataFrame(found, index=rows.index)


def unknown_counts(met: pd.DataFrame) -> dict[str, tuple[int, int]]:
    """As `htlnet_tf.encoding.coverage.Coverage.counts`, of what `first_met` gave."""
    names = [column.removeprefix(_VALUES) for column in map(str, met) if column.startswith(_VALUES)]
    return {name: (int(met[_UNKNOWN + name].sum()), int(met[_VALUES + name].sum())) for name in names}
