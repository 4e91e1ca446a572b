"""What a signature of an exported model is: its function, what a server is asked of it, and the answer that is due."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from htlnet_tf.data.score_frame import score_frame
from htlnet_tf.encoding.encoder import FeatureEncoder
from htlnet_tf.models.scoring_model import ScoringModel
from htlnet_tf.schema import Schema
from htlnet_tf.schema.ranking import SCORE
from htlnet_tf.scoring.ranking import scale_of_score
from htlnet_tf.scoring.scores import final_scores, quantile_bounds

Arrays = Mapping[str, np.ndarray]
Scores = dict[str, tf.Tensor]


class Traced(NamedTuple):
    """Functions that several signatures call. Each is traced at its first call, and held once by a SavedModel.

    Attributes:
      scored: From raw columns by name, [N], to the outputs.
      of_examples: From serialized examples, string [N], to the outputs.
      of_candidates: From raw columns by name, [1] of group user and context, to the outputs.
    """

    scored: Callable[[Mapping[str, tf.Tensor]], Scores]
    of_examples: Callable[[tf.Tensor], Scores]
    of_candidates: Callable[[Mapping[str, tf.Tensor]], Scores]


TOLERANCE = 1e-5
"""A larger difference between an exported model's answer and the one that is due is a fault."""


class Expected(NamedTuple):
    """An output that is due.

    Attributes:
      values: [N, ...].
      scale: The size that a difference is measured in, of all rows or of each.
      bounds: Between which, [N] each, anything is as good; of a quantile, that at levels which differ by the tolerance.
    """

    values: np.ndarray
    scale: float | np.ndarray = 1.0
    bounds: tuple[np.ndarray, np.ndarray] | None = None

    def differences(self, received: np.ndarray) -> np.ndarray:
        """How far numbers are from what is due, in the scale; NaN on either side stays NaN."""
        due = self.values if self.bounds is None else np.clip(received, *self.bounds)
        # Of an amount beyond its deviation, which exp(o) gives easily, float32 rounds relative to its size.
        return np.asarray(np.abs(received - due) / np.maximum(np.abs(self.values), self.scale))

    def of_rows(self, rows: np.ndarray) -> Expected:
        """What is due of some rows, by their positions."""
        scale = self.scale[rows] if isinstance(self.scale, np.ndarray) else self.scale
        bounds = None if self.bounds is None else (self.bounds[0][rows], self.bounds[1][rows])
        return Expected(self.values[rows], scale, bounds)


class Question(NamedTuple):
    """The feeds of a request, and by output the answer that is due; or what gives it, from the answer received.

    The latter where several answers are right: two candidates whose scores differ by a rounding may change places.
    """

    inputs: dict[str, np.ndarray]
    expected: dict[str, Expected] | Callable[[Arrays], dict[str, Expected]]

    def due(self, received: Arrays) -> dict[str, Expected]:
        """The answer that is due where this one was received."""
        return self.expected(received) if callable(self.expected) else self.expected


class Signature:
    """One way to ask an exported model. Each is a file here and a line in the registry.

    Attributes:
      name: As requests say it.
      method_name: Of the server's API; None: that of predict, which TensorFlow 2 gives to all.
    """

    name: str
    method_name: str | None = None

    def is_offered(self, schema: Schema) -> bool:
        """Whether a model of this schema has the signature."""
        return True

    def spec(self, encoder: FeatureEncoder) -> Any:
        """The `tf.TensorSpec` of its inputs, alone or by name."""
        raise NotImplementedError

    def output_order(self, schema: Schema) -> tuple[str, ...]:
        """The outputs in the order in which people read them, which a signature's map does not keep."""
        return tuple(schema.outputs)

    def outputs(self, model: ScoringModel, traced: Traced, inputs: Any) -> Scores:
        """The function that is exported, from the inputs to the outputs by name.

        Args:
          model: The trained model.
          traced: Its scores.
          inputs: As `spec` says.
        """
        raise NotImplementedError

    def feeds(self, encoder: FeatureEncoder, raw: Arrays) -> dict[str, np.ndarray]:
        """The inputs of a request for rows.

        Args:
          encoder: The model's.
          raw: By feature name, arrays of shape [N] as `raw_features` gives them.

        Returns:
          Array per input, of the declared dtype; object arrays of bytes for strings.
        """
        raise NotImplementedError

    def expected(self, model: ScoringModel, raw: Arrays, scores: Mapping[str, Expected]) -> dict[str, Expected]:
        """By output, what the trained model says of rows.

        Args:
          model: The trained model.
          raw: The rows.
          scores: Their `expected_scores`, which most signatures arrange in their own way.
        """
        return dict(scores)

    def questions(self, model: ScoringModel, raw: Arrays, scores: Mapping[str, Expected]) -> Iterator[Question]:
        """Requests about rows, and the answers that are due; arguments as for `expected`."""
        yield Question(self.feeds(model.encoder, raw), self.expected(model, raw, scores))

    def log(self, encoder: FeatureEncoder, raw: Arrays, log: prediction_log_pb2.PredictionLog) -> Any:
        """Fills in a warm-up record for rows; returns its request, whose model specification the caller writes."""
        request = log.predict_log.request
        for name, values in self.feeds(encoder, raw).items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
        return request


def raw_tensors(encoder: FeatureEncoder, raw: Arrays) -> dict[str, tf.Tensor]:
    """Raw columns of the declared dtypes, in schema order."""
    return {name: tf.constant(raw[name], spec.dtype) for name, spec in encoder.raw_specs().items()}


def expected_scores(model: ScoringModel, raw: Arrays) -> dict[str, Expected]:
    """By output, the trained model's scores; differences of amounts and quantiles are measured in the deviation, of a
    ranking's score relative to it, see `htlnet_tf.scoring.power_product.score_scale`.
    """
    columns = raw_tensors(model.encoder, raw)
    tiny = float(np.finfo(np.float32).tiny)
    scales: dict[str, float | np.ndarray] = {
        name: max(amount.std, tiny) for name, amount in model.encoder.statistics.labels.items()
    }
    for target in model.schema.with_quantiles:
        scales |= dict.fromkeys(target.quantile_names, scales[target.name])
    features = model.encoder(columns)
    bounds = {
        name: (low.numpy(), high.numpy()) for name, (low, high) in quantile_bounds(model, features, TOLERANCE).items()
    }
    scores = {name: score.numpy() for name, score in final_scores(model, features).items()}
    if model.schema.ranking is not None:
        rows = score_frame(model.schema, scores, pd.RangeIndex(len(scores[SCORE])))
        scales[SCORE] = scale_of_score(model, rows, TOLERANCE)
    return {name: Expected(score, scales.get(name, 1.0), bounds.get(name)) for name, score in scores.items()}


def named(scores: Mapping[str, tf.Tensor]) -> Scores:
    """Scores whose tensors are called as the targets are."""
    return {name: tf.identity(score, name=name) for name, score in scores.items()}
