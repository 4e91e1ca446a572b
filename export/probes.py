"""Raw rows made from an encoder's vocabularies: known, unknown and missing values."""

from __future__ import annotations

import numpy as np

from htlnet_tf.encoding.encoder import FeatureEncoder


def probe_rows(encoder: FeatureEncoder, count: int = 64, seed: int = 0) -> dict[str, np.ndarray]:
    """Raw rows made from what the training rows had: known, unknown and missing values, usual and extreme numbers."""
    random = np.random.default_rng(seed)
    return {name: encoder.kinds[name].probe(count, random) for name in encoder.raw_specs()}
