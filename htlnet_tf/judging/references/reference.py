"""What a reference is: it is fitted on encoded rows and predicts targets, as a model does."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from htlnet_tf.data.columns import Arrays
from htlnet_tf.encoding.encoded import EncodedRows
from htlnet_tf.encoding.encoder import FeatureEncoder
from htlnet_tf.encoding.observed import Observed
from htlnet_tf.objectives.level import level_factor
from htlnet_tf.schema import Multiclass, Schema
from htlnet_tf.schema.targets import Target

MatrixT = TypeVar("MatrixT")

_EPS = float(np.finfo(np.float64).eps)  # as LogLoss clips


@dataclasses.dataclass(frozen=True)
class FittedReference:
    """A reference that was fitted.

    Attributes:
      predict: By target that it predicts, a function of encoded features (`"ids"` [N, num_slots], `"numeric"` [N,
        num_numeric]) to probabilities or amounts in the target's unit, [N], or [N, K] of a multiclass target.
      parameters: Leaves of all trees, or coefficients.
      steps: Trees up to the best validation, or the solver's iterations, over all targets.
    """

    predict: Callable[[Arrays], dict[str, np.ndarray]]
    parameters: int
    steps: int


def by_target(
    matrix: Callable[[Arrays], MatrixT], functions: Mapping[str, Callable[[MatrixT], np.ndarray]]
) -> Callable[[Arrays], dict[str, np.ndarray]]:
    """What `FittedReference.predict` is of a function per target, all of the same columns.

    Args:
      matrix: From encoded features to the columns, which are made once.
      functions: By target, from the columns to its predictions.
    """

    def predict(features: Arrays) -> dict[str, np.ndarray]:
        columns = matrix(features)
        return {name: function(columns) for name, function in functions.items()}

    return predict


class Reference(Protocol):
    """A way to predict that is no model of this package."""

    @property
    def requirement(self) -> str | None:
        """The Python package it needs beyond those of this one; None: none."""

    @property
    def defaults(self) -> Mapping[str, float]:
        """Its settings where none are searched, by name."""

    def targets(self, schema: Schema) -> tuple[Target, ...]:
        """Those that it predicts."""

    def obstacle(self, schema: Schema) -> str | None:
        """Why it is not for such a core; None: it is."""

    def fit(
        self,
        train: EncodedRows,
        valid: EncodedRows,
        encoder: FeatureEncoder,
        settings: Mapping[str, Any],
        *,
        seed: int,
        threads: int,
    ) -> FittedReference:
        """Fits it.

        Args:
          train: Training rows.
          valid: Validation rows, which say when to stop.
          encoder: Fitted on the training rows.
          settings: As `defaults`.
          seed: Of what is drawn at random.
          threads: Of LightGBM.

        Raises:
          InputError: A target has no observed label in the validation rows.
        """


def with_level(fitted: FittedReference, rows: EncodedRows, targets: Sequence[Target]) -> FittedReference:
    """The same with the totals of its amounts brought to those of rows, as those of models are.

    Args:
      fitted: The reference.
      rows: Training rows.
      targets: Those that it predicts; of amounts that have a level the predictions are multiplied by one factor each.
    """
    factors = {}
    predictions = fitted.predict(rows.features)
    for target in targets:
        if target.kind == "continuous" and target.has_level:
            observed = Observed.of(rows, target)
            w = observed.counts
            total = float(w @ np.asarray(predictions[target.name], np.float64)[observed.rows])
            factors[target.name] = level_factor(float(w @ observed.labels), total)

    def predict(features: Arrays) -> dict[str, np.ndarray]:
        return {name: found * factors.get(name, 1.0) for name, found in fitted.predict(features).items()}

    return dataclasses.replace(fitted, predict=predict)


def relative_loss(fitted: FittedReference, rows: EncodedRows, targets: Sequence[Target]) -> float:
    """What models' early stopping and tuning go by, of a reference: the mean over its targets of the loss over that of
    the best constant.

    It is `htlnet_tf.objectives.metrics.RelativeLoss`: the normalised cross entropy of classes, NRMSE^2 of an amount, by
    the rows' weights; a target whose labels are constant is left out.

    Args:
      fitted: The reference.
      rows: Which rows.
      targets: Those that it predicts.

    Returns:
      0 or more; NaN if the labels of every target are constant.
    """
    predictions = fitted.predict(rows.features)
    ratios = [_ratio(Observed.of(rows, t), predictions[t.name], t) for t in targets]
    varied = [ratio for ratio in ratios if not math.isnan(ratio)]
    return float(np.mean(varied)) if varied else math.nan


def _ratio(observed: Observed, predictions: np.ndarray, target: Target) -> float:
    """NaN of labels that are constant."""
    y, p = observed.labels, np.asarray(predictions, np.float64)[observed.rows]
    if not y.size or np.ptp(y) == 0:
        return math.nan
    w = observed.counts
    if target.kind == "continuous":
        return float(w @ (y - p) ** 2 / (w @ (y - np.average(y, weights=w)) ** 2))
    num_classes = target.num_classes if isinstance(target, Multiclass) else 2
    happened = np.eye(num_classes)[y.astype(np.int64)]
    probabilities = p if isinstance(target, Multiclass) else np.stack([1 - p, p], axis=1)
    shares = np.average(happened, axis=0, weights=w)
    losses = [-(w @ np.log(np.clip((happened * q).sum(axis=1), _EPS, 1.0))) for q in (probabilities, shares)]
    return float(losses[0] / losses[1])
