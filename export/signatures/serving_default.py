"""`serving_default`: every raw column, [N]."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from htlnet_tf.encoding.encoder import FeatureEncoder
from htlnet_tf.export.signatures.signature import Arrays, Scores, Signature, Traced, named, raw_tensors
from htlnet_tf.models.scoring_model import ScoringModel


class ServingDefault(Signature):
    """Raw columns by name in, one key per target out."""

    name = "serving_default"

    def spec(self, encoder: FeatureEncoder) -> dict[str, tf.TensorSpec]:
        """Every raw column."""
        return encoder.raw_specs()

    def outputs(self, model: ScoringModel, traced: Traced, inputs: Mapping[str, tf.Tensor]) -> Scores:
        """Scores of the columns."""
        return named(traced.scored(dict(inputs)))

    def feeds(self, encoder: FeatureEncoder, raw: Arrays) -> dict[str, np.ndarray]:
        """The columns."""
        return {name: column.numpy() for name, column in raw_tensors(encoder, raw).items()}
