"""`ranked`: the best of many candidates of one user, sorted by the score of the schema's ranking."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf

from htlnet_tf.encoding.encoder import FeatureEncoder
from htlnet_tf.export.signatures.candidates import Candidates, candidate_specs
from htlnet_tf.export.signatures.signature import TOLERANCE, Arrays, Expected, Question, Scores, Traced, named
from htlnet_tf.models.scoring_model import ScoringModel
from htlnet_tf.schema import Schema
from htlnet_tf.schema.ranking import SCORE

INDEX, K = "index", "k"
_USUAL_K = 10


class Ranked(Candidates):
    """As `candidates`, and `k` int32 [1]; `index` int32 [k], `score` [k] and each target [k] or [k, K], best first.

    Of candidates with equal scores the one that was sent first comes first; one whose score is not a number comes last.
    Fewer candidates than `k` are all given out. `k` below 1 is refused. Offered where a ranking is declared and
    `candidates` is.
    """

    name = "ranked"

    def is_offered(self, schema: Schema) -> bool:
        """Whether there is something to sort, and something to sort it by."""
        return schema.ranking is not None and super().is_offered(schema)

    def spec(self, encoder: FeatureEncoder) -> dict[str, tf.TensorSpec]:
        """The columns of `candidates` and how many are wanted."""
        return candidate_specs(encoder) | {K: tf.TensorSpec([1], tf.int32, name=K)}

    def output_order(self, schema: Schema) -> tuple[str, ...]:
        """Which candidate, how good, and why."""
        return (INDEX, SCORE, *(name for name in schema.outputs if name != SCORE))

    def outputs(self, model: ScoringModel, traced: Traced, inputs: Mapping[str, tf.Tensor]) -> Scores:
        """The best candidates' positions and scores."""
        columns = {name: column for name, column in inputs.items() if name != K}
        return named(best_of(traced.of_candidates(columns), inputs[K][0]))

    def feeds(self, encoder: FeatureEncoder, raw: Arrays, user: int = 0, k: int = _USUAL_K) -> dict[str, np.ndarray]:
        """The `k` best of all rows' items for the user and context of row `user`."""
        return super().feeds(encoder, raw, user) | {K: np.array([k], np.int32)}

    def questions(self, model: ScoringModel, raw: Arrays, scores: Mapping[str, Expected]) -> Iterator[Question]:
        """As for `candidates`: a few of the best, and all of them."""
        for user, question in enumerate(super().questions(model, raw, scores)):
            assert not callable(question.expected)
            count = len(question.expected[SCORE].values)
            k = min(_USUAL_K, count) if user % 2 else count + 1
            inputs = question.inputs | {K: np.array([k], np.int32)}
            yield Question(inputs, functools.partial(_due, question.expected, min(k, count)))


def best_of(scores: Mapping[str, tf.Tensor], k: tf.Tensor) -> dict[str, tf.Tensor]:
    """The `k` candidates with the largest scores.

    Args:
      scores: By output, [N] or [N, K], among them `score`.
      k: int32, a scalar.

    Returns:
      `index` int32 [min(k, N)], and every output of these candidates in this order.
    """
    asked = tf.debugging.assert_greater_equal(k, 1, message="k, the number of candidates asked for, must be at least 1")
    with tf.control_dependencies([asked]):
        score = scores[SCORE]
        # No score is below 0. A NaN left where it is would put any order into disorder.
        sortable = tf.where(tf.math.is_nan(score), -tf.ones_like(score), score)
        _, index = tf.math.top_k(sortable, tf.minimum(k, tf.size(score)))  # of equal ones the first comes first
    return {INDEX: index, **{name: tf.gather(values, index) for name, values in scores.items()}}


def _due(expected: Mapping[str, Expected], k: int, received: Arrays) -> dict[str, Expected]:
    """The answer that is due: the scores in the order received if that is right, else in the right order."""
    score = expected[SCORE]
    order = np.argsort(-score.values, kind="stable")[:k].astype(np.int32)
    index = received.get(INDEX)
    if index is not None and _is_order(index, score, order):
        order = index
    return {INDEX: Expected(order), **{name: output.of_rows(order) for name, output in expected.items()}}


def _is_order(index: np.ndarray, score: Expected, order: np.ndarray) -> bool:
    """Whether positions are different ones, and their scores those of the right order but for rounding."""
    if index.shape != order.shape or len(np.unique(index)) < len(index):
        return False
    if index.size and (index.min() < 0 or index.max() >= len(score.values)):
        return False
    scale = np.maximum(np.broadcast_to(score.scale, score.values.shape), np.abs(score.values))
    # Both scores of an exchanged pair may be off by the tolerance.
    apart = 2 * TOLERANCE * np.maximum(scale[index], scale[order])
    return bool(np.all(np.abs(score.values[index] - score.values[order]) <= apart))
