"""Raw rows -> the probabilities that their amounts exceed thresholds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import tensorflow as tf

from htlnet_tf.data.thresholds import checked_thresholds, exceedance_columns
from htlnet_tf.errors import InputError
from htlnet_tf.scoring.scores import distributions

if TYPE_CHECKING:
    from htlnet_tf.models.scoring_model import ScoringModel


def exceedance(
    model: ScoringModel, rows: pd.DataFrame, thresholds: float | Iterable[float], *, batch_size: int = 8192
) -> pd.DataFrame:
    """The probabilities that amounts exceed thresholds, of raw rows.

    Args:
      model: A trained model of a schema in which an amount has `quantiles`.
      rows: A frame with the features by name; further columns are ignored.
      thresholds: In the amounts' unit, one or several.
      batch_size: Rows per forward pass.

    Returns:
      One row per input row, with its index; per amount with quantiles, in funnel order, P(y > t) as `{name}_above_{t}`
      and P(y > 0) as `{name}_positive`, float32.

    Raises:
      InputError: No amount has quantiles, a threshold is no finite number, a feature is missing or holds a value that
        its kind does not allow.
    """
    asked = checked_thresholds(thresholds)
    require_quantiles(model)
    encoded = model.encoder.encode(rows)
    parts: list[dict[str, np.ndarray]] = []
    for start in range(0, max(len(rows), 1), batch_size):
        batch = {key: tf.constant(values[start : start + batch_size]) for key, values in encoded.items()}
        parts.append({name: share.numpy() for name, share in exceedances(model, batch, asked).items()})
    columns: dict[str, np.ndarray] = {}
    for target, (name, positive) in model.schema.exceedance_outputs.items():
        shares = np.concatenate([part[name] for part in parts])
        columns |= dict(zip(exceedance_columns(target, asked), shares.T, strict=True))
        columns[positive] = np.concatenate([part[positive] for part in parts])
    return pd.DataFrame(columns, index=rows.index)


def exceedances(
    model: ScoringModel, features: Mapping[str, tf.Tensor], thresholds: Sequence[float] | tf.Tensor
) -> dict[str, tf.Tensor]:
    """As `exceedance`, of encoded rows, by output of the signature: `{name}` [B, K] and `{name}_positive` [B].

    Args:
      model: A trained model.
      features: As for `htlnet_tf.scoring.scores.final_scores`.
      thresholds: float32 [K].
    """
    asked = tf.convert_to_tensor(thresholds, tf.float32)
    found: dict[str, tf.Tensor] = {}
    for target, distribution in distributions(model, features).items():
        name, positive = model.schema.exceedance_outputs[target]
        found |= {name: distribution.exceedance(asked), positive: distribution.positive}
    return found


def require_quantiles(model: ScoringModel) -> None:
    """Checks that there is a distribution to ask.

    Raises:
      InputError: No amount has quantiles.
    """
    if not model.schema.with_quantiles:
        raise InputError(
            "no amount of the schema has `quantiles`, so that the model keeps no distribution: declare them, with an "
            "objective that has one"
        )
