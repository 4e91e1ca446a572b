"""`serving_default`: every raw column, [N]."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from htlnet_tf.encoding.encoder import FeatureEncoder
from htlnet_tf.export.signatures.signature import Arrays, Scored, Scores, Signature, named
from htlnet_tf.models.base import MultiTaskModel


class ServingDefault(Signature):
    """Raw columns by name in, one key per target out."""

    name = "serving_default"

    def spec(self, encoder: FeatureEncoder) -> dict[str, tf.TensorSpec]:
        """Every raw column."""
        return encoder.raw_specs()

    def function(self, model: MultiTaskModel, scored: Scored) -> Callable[[Mapping[str, tf.Tensor]], Scores]:
        """Scores of the columns."""

        def serving_default(raw: Mapping[str, tf.Tensor]) -> Scores:
            return named(scored(dict(raw)))

        return serving_default

    def feeds(self, encoder: FeatureEncoder, raw: Arrays) -> dict[str, np.ndarray]:
        """The columns."""
        return {name: tf.constant(raw[name], spec.dtype).numpy() for name, spec in encoder.raw_specs().items()}
