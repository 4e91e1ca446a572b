"""What the Information Fusion Units of a trained HTLNet attend to, over a table of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import tensorflow as tf

from htlnet_tf.data.columns import Arrays

if TYPE_CHECKING:
    from htlnet_tf.models.htlnet import HTLNet

_PERCENTILES = {"p05": 5, "p25": 25, "p50": 50, "p75": 75, "p95": 95}
_COLUMNS = ["target", "unit", "input", "mean", *_PERCENTILES]


def attention_table(model: HTLNet, encoded: Arrays, *, batch_size: int = 8192) -> pd.DataFrame:
    """Summarises `HTLNet.attention_weights` over rows, for `plot_attention`.

    Args:
      model: A trained model.
      encoded: What `model.encoder.encode(frame)` returned: `"ids"` int32 [N, num_slots] and `"numeric"` float32
        [N, num_numeric].
      batch_size: Rows per forward pass.

    Returns:
      One row per `target`, `unit` (`"representation"` or `"label"`) and `input` (the preceding target's name), in
      funnel order: the weight's `mean` over the rows and its percentiles `p05`, `p25`, `p50`, `p75`, `p95`, float64. No
      rows if no unit of the model has several inputs.
    """
    parts: dict[tuple[str, str], list[np.ndarray]] = {}
    for start in range(0, len(encoded["ids"]), batch_size):
        batch = {key: tf.constant(values[start : start + batch_size]) for key, values in encoded.items()}
        for target, units in model.attention_weights(batch).items():
            for unit, weights in units.items():
                parts.setdefault((target, unit), []).append(weights.numpy())
    names = [target.name for target in model.schema.targets]
    rows = []
    for (target, unit), batches in parts.items():
        # float64: a float32 mean over many rows drifts.
        weights = np.concatenate(batches).astype(np.float64)
        for name, column in zip(names, weights.T, strict=False):  # the preceding targets are the first ones
            summary = [column.mean(), *np.percentile(column, list(_PERCENTILES.values()))]
            rows.append([target, unit, name, *summary])
    return pd.DataFrame(rows, columns=_COLUMNS).astype(dict.fromkeys(_COLUMNS[3:], np.float64))
