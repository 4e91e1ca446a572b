"""Does an exported model give the trained model's scores? Asked before it is published."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from htlnet_tf.data import columns
from htlnet_tf.errors import VerificationError
from htlnet_tf.layers.feature_encoder import FeatureEncoder
from htlnet_tf.models.base import MultiTaskModel
from htlnet_tf.schema import Categorical, Numeric
from htlnet_tf.serving.servables import LoadedVersion

TOLERANCE = 1e-5
_ROWS_PER_CALL = 4096

Arrays = Mapping[str, np.ndarray]


def verify(model: MultiTaskModel, directory: Path, rows: Arrays) -> float:
    """Loads a SavedModel as Python and as TensorFlow Serving do and compares its scores with the model's.

    Args:
      model: The trained model.
      directory: The SavedModel.
      rows: Raw columns by name, arrays of shape [N].

    Returns:
      The largest difference, relative to the standard deviation of the core target (core) or absolute (probabilities).

    Raises:
      VerificationError: Outputs are missing, or differ by more than 1e-5.
    """
    loaded = tf.saved_model.load(str(directory))
    server = LoadedVersion(directory)
    largest = 0.0
    try:
        for start in range(0, len(next(iter(rows.values()))), _ROWS_PER_CALL):
            part = {name: values[start : start + _ROWS_PER_CALL] for name, values in rows.items()}
            raw = {spec.name: tf.constant(part[spec.name], spec.dtype) for spec in model.encoder.raw_specs().values()}
            expected = {name: score.numpy() for name, score in model(model.encoder(raw), training=False).items()}
            for scores in (_python_scores(loaded, raw), _server_scores(server, raw)):
                largest = max(largest, _largest_difference(model, scores, expected, start))
    finally:
        server.close()
    return largest


def _largest_difference(model: MultiTaskModel, scores: Arrays, expected: Arrays, start: int) -> float:
    if set(scores) != set(expected):
        raise VerificationError(f"outputs {sorted(scores)} where {sorted(expected)} were expected")
    largest = 0.0
    for name, score in expected.items():
        scale = model.encoder.statistics.core.std if name == model.schema.core.name else 1.0
        difference = np.abs(scores[name] - score) / max(scale, np.finfo(np.float32).tiny)
        # Written so that a NaN on either side counts as a difference.
        wrong = ~(difference <= TOLERANCE)
        if wrong.any():
            row = int(np.argmax(wrong.reshape(len(score), -1).any(axis=1)))
            raise VerificationError(
                f"'{name}' differs at row {start + row}: {scores[name][row]!r} exported, {score[row]!r} trained"
            )
        largest = max(largest, float(difference.max()))
    return largest


def probe_rows(encoder: FeatureEncoder, count: int = 64, seed: int = 0) -> dict[str, np.ndarray]:
    """Raw rows made from the vocabularies: known, unknown and missing values, usual and extreme numbers."""
    random = np.random.default_rng(seed)
    rows: dict[str, np.ndarray] = {}
    for feature in encoder.schema.features:
        if isinstance(feature, Numeric):
            moments = encoder.statistics.moments[feature.name]
            usual = random.normal(moments.mean, moments.std, count)
            values = np.expm1(np.clip(usual, 0, 20)) if feature.log1p else usual
            values[::7], values[1::14], values[2::14] = columns.MISSING_FLOAT, 0.0, 1e9
            rows[feature.name] = values.astype(np.float32)
        else:
            rows[feature.name] = _categorical_probe(encoder, feature, count, random)
    return rows


def _categorical_probe(
    encoder: FeatureEncoder, feature: Categorical, count: int, random: np.random.Generator
) -> np.ndarray:
    known = list(encoder.statistics.vocabularies[feature.name].values)[:1000]
    if feature.dtype == "int64":
        values = np.asarray(random.choice(known, count) if known else np.zeros(count), np.int64)
        values[::5], values[1::10] = columns.MISSING_INT64, 2**62 + 1
        return values
    texts = np.asarray(random.choice(known, count) if known else [""] * count, object)
    if feature.separator is not None:
        texts[2::3] = [feature.separator.join([a, b]) for a, b in zip(texts[2::3], texts[::-1][2::3], strict=True)]
    texts[::5], texts[1::10] = columns.MISSING_STRING, "a value that was never seen \u2603"
    return texts


def _python_scores(loaded: Any, raw: Mapping[str, tf.Tensor]) -> dict[str, np.ndarray]:
    return {name: score.numpy() for name, score in loaded.signatures["serving_default"](**raw).items()}


def _server_scores(server: LoadedVersion, raw: Mapping[str, tf.Tensor]) -> dict[str, np.ndarray]:
    """Scores through the session loader, as the server's: it initialises tables and variables by the graph alone."""
    return server.run("serving_default", {name: tensor.numpy() for name, tensor in raw.items()})
