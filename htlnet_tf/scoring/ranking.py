"""The score of a ranking in the graph, from the predictions that leave the model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd
import tensorflow as tf

from htlnet_tf.schema import Ranking, Schema
from htlnet_tf.scoring.power_product import LARGEST, SMALLEST, Floats, score_scale

if TYPE_CHECKING:
    from htlnet_tf.models.scoring_model import ScoringModel


def ranking_score(schema: Schema, ranking: Ranking, predictions: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """The product over the targets t of max(prediction_t, floor_t) ** weight_t.

    It is the exponential of sum_t weight_t log(max(prediction_t, floor_t)), in float64: the logarithms of float32's
    extremes, times weights, would lose in float32 what is left when they cancel. A prediction of 0 with a weight above
    0 and no floor has the score 0. What float32 cannot hold is bounded: more than 1e38 is 1e38, less than 1.2e-38 is 0.
    A prediction that is not a number has a score that is none.

    Args:
      schema: Declares the targets.
      ranking: Weights and floors, checked against the schema.
      predictions: By target name, [B] or [B, K].

    Returns:
      float32 [B], in [0, 1e38].
    """
    owners = {name: (t.name, k) for t in schema.targets for k, name in enumerate(t.score_names)}
    logarithms = []
    for name, weight, floor in ranking.factors:
        target, position = owners[name]
        prediction = predictions[target]
        column = tf.cast(prediction if prediction.shape.rank == 1 else prediction[:, position], tf.float64)
        # Comparisons with NaN are false, so NaN stays what it is, which a minimum or maximum does not promise.
        if floor:
            bounded = tf.where(column < floor, tf.constant(floor, tf.float64), column)
        else:
            bounded = tf.where(column < SMALLEST, tf.zeros_like(column), column)
        logarithms.append(weight * tf.math.log(bounded))
    total = tf.add_n(logarithms)
    largest = tf.constant(math.log(LARGEST), tf.float64)
    score = tf.exp(tf.where(total > largest, largest, total))
    return tf.cast(tf.where(score < SMALLEST, tf.zeros_like(score), score), tf.float32)


def scale_of_score(model: ScoringModel, scores: pd.DataFrame, step: float) -> Floats:
    """The size that a difference of a model's `score` is measured in, see `score_scale`.

    Args:
      model: Its schema declares a ranking.
      scores: [N] rows, the columns of `htlnet_tf.scoring.prediction.predict`.
      step: What counts as equal, of probabilities absolute, of amounts in deviations of the training rows.

    Returns:
      [N], above 0.
    """
    ranking = model.schema.ranking
    assert ranking is not None
    deviations = {name: max(amount.std, SMALLEST) for name, amount in model.encoder.statistics.labels.items()}
    return score_scale(ranking, scores, {name: deviations.get(name, 1.0) for name in ranking.weights}, step)
