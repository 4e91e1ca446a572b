"""Raw rows made from an encoder's vocabularies: known, unknown and missing values."""

from __future__ import annotations

import numpy as np

from htlnet_tf.data import columns
from htlnet_tf.encoding.counting import as_dtype
from htlnet_tf.encoding.encoder import FeatureEncoder
from htlnet_tf.schema import Categorical, Numeric, Timestamp
from htlnet_tf.schema.features import UNITS_PER_SECOND


def probe_rows(encoder: FeatureEncoder, count: int = 64, seed: int = 0) -> dict[str, np.ndarray]:
    """Raw rows made from the vocabularies: known, unknown and missing values, usual and extreme numbers."""
    random = np.random.default_rng(seed)
    rows: dict[str, np.ndarray] = {}
    for feature in encoder.schema.inputs:
        if isinstance(feature, Timestamp):
            day = 86_400 * UNITS_PER_SECOND[feature.unit]
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
