"""`classify`: the funnel's probabilities, a class each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import input_pb2, prediction_log_pb2

from htlnet_tf.encoding.encoder import FeatureEncoder
from htlnet_tf.export.examples import to_examples
from htlnet_tf.export.signatures.examples import OfExamples
from htlnet_tf.export.signatures.signature import Arrays, Expected, Scores, Traced
from htlnet_tf.models.scoring_model import ScoringModel
from htlnet_tf.schema import Schema


class Classify(OfExamples):
    """Examples under `inputs`; `scores` [N, C] and `classes` [N, C].

    The classes are the name of each binary target, and `{name}_{k}` for class k of a multiclass one. As for any
    multi-label classifier the scores are probabilities of separate events and need not sum to 1.
    """

    name = "classify"
    input_name = "inputs"
    method_name = tf.compat.v1.saved_model.signature_constants.CLASSIFY_METHOD_NAME

    def output_order(self, schema: Schema) -> tuple[str, ...]:
        """None: the server's call of its own knows the two by their names."""
        return ()

    def outputs(self, model: ScoringModel, traced: Traced, inputs: tf.Tensor) -> Scores:
        """The steps' scores side by side, and their labels."""
        return _classes(model.schema, traced.of_examples(inputs))

    def expected(self, model: ScoringModel, raw: Arrays, scores: Mapping[str, Expected]) -> dict[str, Expected]:
        """The steps' probabilities."""
        count = len(scores[model.schema.core.name].values)
        values = np.concatenate([scores[t.name].values.reshape(count, -1) for t in model.schema.steps], axis=1)
        labels = np.array([[label.encode() for label in class_labels(model.schema)]] * count, object)
        return {"scores": Expected(values), "classes": Expected(labels)}

    def log(self, encoder: FeatureEncoder, raw: Arrays, log: prediction_log_pb2.PredictionLog) -> Any:
        """A record of the server's classify call."""
        return with_examples(log.classify_log.request, encoder, raw)


def with_examples(request: Any, encoder: FeatureEncoder, raw: Arrays) -> Any:
    """A request of the verbs classify and regress, which take examples in a message of their own."""
    examples = map(tf.train.Example.FromString, to_examples(encoder.schema, raw))
    request.input.CopyFrom(input_pb2.Input(example_list=input_pb2.ExampleList(examples=examples)))
    return request


def class_labels(schema: Schema) -> tuple[str, ...]:
    """The labels of `classify`, in the order of its scores."""
    return tuple(label for target in schema.steps for label in target.score_names)


def _classes(schema: Schema, scores: Mapping[str, tf.Tensor]) -> Scores:
    columns = [scores[t.name] if len(t.score_names) > 1 else scores[t.name][:, tf.newaxis] for t in schema.steps]
    values = tf.concat(columns, axis=1)
    labels = tf.constant([class_labels(schema)])
    return {"scores": values, "classes": tf.repeat(labels, tf.shape(values)[0], axis=0)}
