"""What calibration is fitted on: predictions beside what happened, on rows that were not trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Union

import numpy as np
import pandas as pd
import tensorflow as tf

from htlnet_tf.data.columns import Arrays
from htlnet_tf.data.stream import Stream
from htlnet_tf.encoding.encoded import EncodedRows, Rows, encode_frame
from htlnet_tf.encoding.observed import Observed
from htlnet_tf.errors import InputError, NonFiniteError
from htlnet_tf.schema import Schema

if TYPE_CHECKING:
    from htlnet_tf.encoding.encoder import FeatureEncoder
    from htlnet_tf.models.scoring_model import ScoringModel

_BATCH_ROWS = 8192

Predict = Callable[[Arrays], Mapping[str, np.ndarray]]
"""From encoded features to predictions by target, [N] or [N, K]."""


@dataclasses.dataclass(frozen=True)
class Sample:
    """The rows that take part in one target.

    Attributes:
      labels: float64 [M].
      predictions: float64 [M], or [M, K] of a multiclass target.
      weights: float64 [M], more than 0.
      groups: The row number of the column by whose values one calibrates, int64 [M]; zeros where there is none.
    """

    labels: np.ndarray
    predictions: np.ndarray
    weights: np.ndarray
    groups: np.ndarray

    def of_class(self, k: int) -> Sample:
        """Of a multiclass target: whether it is class k, and how probable that was said to be."""
        return dataclasses.replace(
            self, labels=(self.labels == k).astype(np.float64), predictions=self.predictions[:, k]
        )

    def with_predictions(self, predictions: np.ndarray) -> Sample:
        """The same rows with other predictions, [M]."""
        return dataclasses.replace(self, predictions=np.asarray(predictions, np.float64))


def samples_of(
    predict: Predict, schema: Schema, parts: Iterable[EncodedRows], group_column: int | None = None
) -> dict[str, Sample]:
    """The predictions of rows beside their labels, by target.

    Args:
      predict: Of encoded features; of a target that it says nothing of there is no sample.
      schema: Declares the targets.
      parts: The rows, one part after the other in memory.
      group_column: The column of the ids by whose values one calibrates; None: there is none.

    Raises:
      InputError: There are no rows.
      NonFiniteError: A prediction is not finite.
    """
    found: dict[str, list[Sample]] = {}
    for part in parts:
        predictions = predict(part.features)
        for target in schema.targets:
            if target.name in predictions:
                rows, labels, _ = observed = Observed.of(part, target)
                groups = part.features["ids"][rows, group_column or 0].astype(np.int64)
                given = np.asarray(predictions[target.name], np.float64)[rows]
                if not np.isfinite(given).all():
                    raise NonFiniteError(
                        f"target '{target.name}': not all of the model's predictions are finite on the rows to "
                        "calibrate on"
                    )
                sample = Sample(labels, given, observed.counts, groups if group_column is not None else groups * 0)
                found.setdefault(target.name, []).append(sample)
    if not found:
        raise InputError("there are no rows to calibrate on")
    return {name: _joined(samples) for name, samples in found.items()}


def _joined(samples: list[Sample]) -> Sample:
    return Sample(*(np.concatenate([getattr(s, f.name) for s in samples]) for f in dataclasses.fields(Sample)))


def model_predictions(model: ScoringModel) -> Predict:
    """What a model says of encoded rows before calibration."""

    def predict(features: Arrays) -> dict[str, np.ndarray]:
        parts = []
        for start in range(0, len(features["ids"]), _BATCH_ROWS):
            batch = {key: tf.constant(values[start : start + _BATCH_ROWS]) for key, values in features.items()}
            parts.append({name: values.numpy() for name, values in model(batch, training=False).items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}

    return predict


def encoded_parts(rows: Union[Rows, EncodedRows], encoder: FeatureEncoder) -> Iterable[EncodedRows]:
    """Rows as encoded parts that fit into memory: one of a frame, one per chunk of a stream.

    Raises:
      InputError: As for `htlnet_tf.encoding.encoded.encode_frame`, or they are no such rows.
    """
    if isinstance(rows, EncodedRows):
        return [rows]
    if isinstance(rows, pd.DataFrame):
        return [encode_frame(rows, encoder)]
    if not isinstance(rows, Stream):
        raise InputError(
            "calibration takes a DataFrame, or htlnet_tf.data.open_stream(path, schema); received a "
            f"{type(rows).__name__}"
        )
    return (encode_frame(frame, encoder) for frame in dataclasses.replace(rows, schema=encoder.schema))
