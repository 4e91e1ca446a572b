"""`examples`: serialized `tf.train.Example`, [N]."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from htlnet_tf.encoding.encoder import FeatureEncoder
from htlnet_tf.export.examples import to_examples
from htlnet_tf.export.signatures.signature import Arrays, Scores, Signature, Traced, named
from htlnet_tf.models.scoring_model import ScoringModel


class OfExamples(Signature):
    """A signature that takes serialized examples.

    Attributes:
      input_name: Of the only input.
    """

    input_name: str

    def spec(self, encoder: FeatureEncoder) -> tf.TensorSpec:
        """Strings, [N]."""
        return tf.TensorSpec([None], tf.string, name=self.input_name)

    def feeds(self, encoder: FeatureEncoder, raw: Arrays) -> dict[str, np.ndarray]:
        """The rows as examples."""
        return {self.input_name: to_examples(encoder.schema, raw)}


class Examples(OfExamples):
    """As `serving_default`, of rows as examples under `examples`."""

    name = "examples"
    input_name = "examples"

    def outputs(self, model: ScoringModel, traced: Traced, inputs: tf.Tensor) -> Scores:
        """Scores of the examples."""
        return named(traced.of_examples(inputs))
