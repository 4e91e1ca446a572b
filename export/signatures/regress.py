"""`regress`: the core."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from htlnet_tf.encoding.encoder import FeatureEncoder
from htlnet_tf.export.signatures.classify import with_examples
from htlnet_tf.export.signatures.examples import OfExamples
from htlnet_tf.export.signatures.signature import Arrays, Expected, Scores, Traced
from htlnet_tf.models.scoring_model import ScoringModel
from htlnet_tf.schema import Schema


class Regress(OfExamples):
    """Examples under `inputs`; `outputs` [N], the core in its own unit."""

    name = "regress"
    input_name = "inputs"
    method_name = tf.compat.v1.saved_model.signature_constants.REGRESS_METHOD_NAME

    def output_order(self, schema: Schema) -> tuple[str, ...]:
        """None: there is one output."""
        return ()

    def outputs(self, model: ScoringModel, traced: Traced, inputs: tf.Tensor) -> Scores:
        """The core's score."""
        return {"outputs": traced.of_examples(inputs)[model.schema.core.name]}

    def expected(self, model: ScoringModel, raw: Arrays, scores: Mapping[str, Expected]) -> dict[str, Expected]:
        """The core's prediction."""
        return {"outputs": scores[model.schema.core.name]}

    def log(self, encoder: FeatureEncoder, raw: Arrays, log: prediction_log_pb2.PredictionLog) -> Any:
        """A record of the server's regress call."""
        return with_examples(log.regress_log.request, encoder, raw)
