"""Raw rows -> scores with a model in memory, as the exported model gives them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import tensorflow as tf

from htlnet_tf.data.columns import Arrays
from htlnet_tf.data.score_frame import score_frame
from htlnet_tf.data.stream import Stream
from htlnet_tf.encoding.encoded import Rows
from htlnet_tf.errors import InputError
from htlnet_tf.scoring.scores import both_scores, target_scores

if TYPE_CHECKING:
    from htlnet_tf.models.scoring_model import ScoringModel


def predict(model: ScoringModel, rows: Rows, *, batch_size: int = 8192) -> pd.DataFrame:
    """Scores raw rows.

    Args:
      model: A trained model.
      rows: A frame with the features' columns as the table calls them, further ones are ignored; or a stream of files,
        `htlnet_tf.data.open_stream`, of which only the scores are kept in memory.
      batch_size: Rows per forward pass.

    Returns:
      One row per input row, with its index; of a stream, with the file and the number of the row there, without the
      rows that the stream skips. Per target, in funnel order, the probability (binary) or the core in its
      own unit, float32; a multiclass target has one column per class, `{name}_0` .. `{name}_{K-1}`, and behind an
      amount stand its quantiles, `{name}_p10`. An amount that is declared `non_negative` is never below 0.

    Raises:
      InputError: A feature is missing or holds a value its kind does not allow; a stream has no rows, or `rows` is
        something else.
    """
    if isinstance(rows, pd.DataFrame):
        return predict_encoded(model, model.encoder.encode(rows), rows.index, batch_size=batch_size)
    if not isinstance(rows, Stream):
        raise InputError(
            f"predict takes a DataFrame, or htlnet_tf.data.open_stream(path, schema); received a {type(rows).__name__}"
        )
    parts = []
    for frame in dataclasses.replace(rows, schema=model.schema):
        index = pd.MultiIndex.from_product([[str(frame.attrs["file"])], frame.index], names=["file", "row"])
        parts.append(predict_encoded(model, model.encoder.encode(frame), index, batch_size=batch_size))
    if not parts:
        raise InputError("there are no rows to score")
    return pd.concat(parts)


def predict_encoded(model: ScoringModel, encoded: Arrays, index: pd.Index, *, batch_size: int = 8192) -> pd.DataFrame:
    """As `predict`, from what the model's encoder made of the rows.

    Args:
      model: A trained model.
      encoded: `"ids"` int32 [N, num_slots] and `"numeric"` float32 [N, num_numeric].
      index: Of the rows, N labels.
      batch_size: Rows per forward pass.
    """
    return predict_both(model, encoded, index, batch_size=batch_size)[0]


def predict_both(
    model: ScoringModel, encoded: Arrays, index: pd.Index, *, batch_size: int = 8192
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """As `predict_encoded`, and the targets' predictions before calibration; None where that changes none."""
    final: list[Mapping[str, tf.Tensor]] = []
    before: list[Mapping[str, tf.Tensor]] = []
    for batch in _batches(encoded, len(index), batch_size):
        scores, uncalibrated = both_scores(model, batch)
        final.append(scores)
        before.append(uncalibrated)
    is_changed = model.calibration is not None and model.calibration.changed
    return _joined(model, final, index), _joined(model, before, index) if is_changed else None


def predict_targets(model: ScoringModel, encoded: Arrays, index: pd.Index, *, batch_size: int = 8192) -> pd.DataFrame:
    """As `predict_encoded`, the targets' predictions alone: neither quantiles nor the score of a ranking."""
    parts = [target_scores(model, batch) for batch in _batches(encoded, len(index), batch_size)]
    return _joined(model, parts, index)


def _batches(encoded: Arrays, rows: int, batch_size: int) -> Iterator[dict[str, tf.Tensor]]:
    # Scored eagerly: a few large batches do not repay tracing a function for every model and batch size.
    for start in range(0, max(rows, 1), batch_size):
        yield {key: tf.constant(values[start : start + batch_size]) for key, values in encoded.items()}


def _joined(model: ScoringModel, parts: Sequence[Mapping[str, tf.Tensor]], index: pd.Index) -> pd.DataFrame:
    outputs = {name: np.concatenate([part[name].numpy() for part in parts]) for name in parts[0]}
    return score_frame(model.schema, outputs, index)
