"""Outputs of a model -> the columns of a table of scores; no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from htlnet_tf.schema import Schema


def score_frame(schema: Schema, outputs: Mapping[str, np.ndarray], index: pd.Index) -> pd.DataFrame:
    """Arranges outputs, [N] or [N, K] each, as the columns of a table, in the order of `Schema.outputs`."""
    columns: dict[str, np.ndarray] = {}
    for name, names in schema.outputs.items():
        if name in outputs:  # a reference may not have all
            columns.update(zip(names, np.asarray(outputs[name]).reshape(len(index), -1).T, strict=True))
    return pd.DataFrame(columns, index=index)
