"""Does an exported model give the trained model's scores? Asked before it is published."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from htlnet_tf.data import columns
from htlnet_tf.data.counting import as_dtype
from htlnet_tf.errors import VerificationError
from htlnet_tf.layers.feature_encoder import FeatureEncoder
from htlnet_tf.models.base import MultiTaskModel
from htlnet_tf.schema import Categorical, Numeric, Timestamp
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
    for feature in encoder.schema.inputs:
        if isinstance(feature, Timestamp):
            day = 86_400 * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[feature.unit]
            times = random.integers(0, 20_000 * day, count)
            times[::7], times[1::14] = columns.MISSING_INT64, -1
            rows[feature.name] = times
        elif isinstance(feature, Numeric):
            bounds = encoder.statistics.boundaries.get(feature.name)
            known = encoder.statistics.moments.get(feature.name)
            centre, spread = (known.mean, known.std) if known else (np.mean(bounds or 0.0), np.ptp(bounds or 1.0) + 1.0)
            usual = random.normal(centre, spread, count)
            values = np.expm1(np.clip(usual, 0, 20)) if feature.log1p else usual
            values[::7], values[1::14], values[2::14] = columns.MISSING_FLOAT, 0.0, 1e9
            rows[feature.name] = values.astype(np.float32)
        else:
            rows[feature.name] = _categorical_probe(encoder, feature, count, random)
    return rows


def _categorical_probe(
    encoder: FeatureEncoder, feature: Categorical, count: int, random: np.random.Generator
) -> np.ndarray:
    # A feature that is hashed or shares the rows of another has no values of its own to draw from.
    known = list(encoder.statistics.vocabularies[feature.shares or feature.name].values)[:1000]
    if feature.dtype == "int64":
        numbers = [v for v in (as_dtype(value, "int64") for value in known) if v is not None]
        drawn = random.choice(numbers, count) if numbers else random.integers(0, 1000, count)
        values = np.asarray(drawn, np.int64)
        values[::5], values[1::10] = columns.MISSING_INT64, 2**62 + 1
        return values
    drawn = random.choice([str(v) for v in known], count) if known else random.integers(0, 1000, count).astype(str)
    texts = np.asarray(drawn, object)
    if feature.separator is not None:
        texts[2::3] = [feature.separator.join([a, b]) for a, b in zip(texts[2::3], texts[::-1][2::3], strict=True)]
    texts[::5], texts[1::10] = columns.MISSING_STRING, "a value that was never seen \u2603"
    return texts


def _python_scores(loaded: Any, raw: Mapping[str, tf.Tensor]) -> dict[str, np.ndarray]:
    return {name: score.numpy() for name, score in loaded.signatures["serving_default"](**raw).items()}


def _server_scores(server: LoadedVersion, raw: Mapping[str, tf.Tensor]) -> dict[str, np.ndarray]:
    """Scores through the session loader, as the server's: it initialises tables and variables by the graph alone."""
    return server.run("serving_default", {name: tensor.numpy() for name, tensor in raw.items()})
