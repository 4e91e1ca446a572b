"""Where labels lie in the distributions that a model gives for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import tensorflow as tf

from htlnet_tf.data.columns import Arrays
from htlnet_tf.scoring.amounts import AmountDistribution
from htlnet_tf.scoring.scores import distributions

if TYPE_CHECKING:
    from htlnet_tf.models.scoring_model import ScoringModel

_BATCH_ROWS = 2048
CRPS_LEVELS = (np.arange(50) + 0.5) / 50
"""The levels over which the pinball loss is averaged for the CRPS."""


def label_levels(
    model: ScoringModel, encoded: Arrays, labels: Mapping[str, np.ndarray], *, crps: bool = True
) -> dict[str, pd.DataFrame]:
    """The levels of labels in their predicted distributions, for the amounts that have quantiles.

    Where the distribution is continuous there is one level, F(y). At 0, where an amount that is not negative has a
    point mass, the levels are those from P(y < 0) = 0 to F(0) = P(y = 0): any of them is the label's with the same
    right.

    Args:
      model: A trained model.
      encoded: `"ids"` int32 [N, num_slots] and `"numeric"` float32 [N, num_numeric].
      labels: By target, [N], in its unit; what stands in rows without a label does not matter, but is finite.
      crps: Whether to compute that too, which takes most of the time.

    Returns:
      By target, [N] rows: `below` and `at`, P(y' < y) and P(y' <= y), float64; `crps`, in the target's unit: twice the
      mean over 50 levels, evenly spaced, of the pinball losses of the predicted quantiles.

    References:
      Gneiting, Raftery: "Strictly Proper Scoring Rules, Prediction, and Estimation", JASA 102, 2007, section 4.2.
    """
    found: dict[str, list[pd.DataFrame]] = {target.name: [] for target in model.schema.with_quantiles}
    for start in range(0, len(encoded["ids"]) if found else 0, _BATCH_ROWS):
        part = slice(start, start + _BATCH_ROWS)
        batch = {key: tf.constant(values[part]) for key, values in encoded.items()}
        for name, distribution in distributions(model, batch).items():
            y = np.asarray(labels[name][part], np.float64)
            levels = _levels(distribution, y, non_negative=model.schema.amount(name).non_negative)
            found[name].append(levels.assign(crps=_crps(distribution, y)) if crps else levels)
    return {name: pd.concat(parts, ignore_index=True) for name, parts in found.items() if parts}


def _levels(distribution: AmountDistribution, y: np.ndarray, *, non_negative: bool) -> pd.DataFrame:
    above = distribution.exceedance(tf.constant(y[:, np.newaxis], tf.float32)).numpy()[:, 0]
    at = np.clip(1.0 - above.astype(np.float64), 0.0, 1.0)
    return pd.DataFrame({"below": np.where(y == 0.0, 0.0, at) if non_negative else at, "at": at})


def _crps(distribution: AmountDistribution, y: np.ndarray) -> np.ndarray:
    quantiles = distribution.quantiles(tf.constant(CRPS_LEVELS, tf.float32)).numpy().astype(np.float64)
    beyond = y[:, np.newaxis] - quantiles
    return np.asarray(2.0 * np.maximum(CRPS_LEVELS * beyond, (CRPS_LEVELS - 1.0) * beyond).mean(axis=1))
