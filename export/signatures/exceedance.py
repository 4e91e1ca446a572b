"""`exceedance`: the probabilities that amounts exceed the request's thresholds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from htlnet_tf.encoding.encoder import FeatureEncoder
from htlnet_tf.export.signatures.serving_default import ServingDefault
from htlnet_tf.export.signatures.signature import Arrays, Expected, Scores, Traced, named, raw_tensors
from htlnet_tf.models.scoring_model import ScoringModel
from htlnet_tf.schema import Schema
from htlnet_tf.schema.names import THRESHOLDS
from htlnet_tf.scoring.exceedance import exceedances


class Exceedance(ServingDefault):
    """Every raw column [N] and `thresholds` float32 [1, K], which all rows share; per amount with quantiles `{name}`
    [N, K], P(y > t), and `{name}_positive` [N], P(y > 0).

    The server's row format wants the same first dimension of all inputs, so that requests are columnar.
    """

    name = "exceedance"

    def is_offered(self, schema: Schema) -> bool:
        """Whether an amount has quantiles."""
        return bool(schema.with_quantiles)

    def spec(self, encoder: FeatureEncoder) -> dict[str, tf.TensorSpec]:
        """The columns, and the thresholds."""
        return encoder.raw_specs() | {THRESHOLDS: tf.TensorSpec([1, None], tf.float32, name=THRESHOLDS)}

    def output_order(self, schema: Schema) -> tuple[str, ...]:
        """In funnel order, the thresholds' before that of 0."""
        return tuple(name for names in schema.exceedance_outputs.values() for name in names)

    def outputs(self, model: ScoringModel, traced: Traced, inputs: Mapping[str, tf.Tensor]) -> Scores:
        """The probabilities of the columns' rows."""
        raw = {name: column for name, column in inputs.items() if name != THRESHOLDS}
        return named(exceedances(model, model.encoder(raw), inputs[THRESHOLDS][0]))

    def feeds(self, encoder: FeatureEncoder, raw: Arrays) -> dict[str, np.ndarray]:
        """The columns, and thresholds about the means of the amounts."""
        return super().feeds(encoder, raw) | {THRESHOLDS: _thresholds(encoder)}

    def expected(self, model: ScoringModel, raw: Arrays, scores: Mapping[str, Expected]) -> dict[str, Expected]:
        """What the trained model says of these thresholds."""
        features = model.encoder(raw_tensors(model.encoder, raw))
        found = exceedances(model, features, _thresholds(model.encoder)[0])
        return {name: Expected(share.numpy()) for name, share in found.items()}


def _thresholds(encoder: FeatureEncoder) -> np.ndarray:
    """float32 [1, K], about the mean of every amount."""
    amounts = encoder.statistics.labels.values()
    values = [t for a in amounts for t in (0.0, 0.5 * a.mean, a.mean, a.mean + 3.0 * a.std)]
    return np.unique(np.array(values, np.float32))[np.newaxis]
