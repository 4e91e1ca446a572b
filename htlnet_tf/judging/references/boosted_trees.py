"""LightGBM: gradient-boosted trees, a booster or two for each target, which is what most would take instead."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from htlnet_tf.encoding.encoded import EncodedRows
from htlnet_tf.encoding.encoder import FeatureEncoder
from htlnet_tf.encoding.observed import Observed
from htlnet_tf.errors import InputError
from htlnet_tf.judging.references.design_matrix import TreeMatrix
from htlnet_tf.judging.references.reference import FittedReference, by_target
from htlnet_tf.schema import Continuous, Multiclass, Schema
from htlnet_tf.schema.targets import Target

MAX_TREES = 2000
"""Of a booster, or per class: validation stops long before."""

PATIENCE = 50
"""Trees without a better validation before a booster stops; it keeps those up to its best one."""

Core = Literal["squared", "tweedie", "poisson", "two_part"]
_OBJECTIVES = {"squared": "regression", "tweedie": "tweedie", "poisson": "poisson"}
_METRICS = {"binary": "binary_logloss", "multiclass": "multi_logloss"}  # of others the squared error

Predict = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class BoostedTrees:
    """LightGBM on the encoded columns, see `TreeMatrix`, with early stopping on the validation rows.

    Each booster stops by what models stop by, of its own target: the cross entropy of classes, and of an amount the
    squared error of the prediction, whatever it is fitted by. Amounts are fitted as multiples of their mean. An amount
    that cannot be negative is predicted at least 0.

    Args:
      core: How the core is learned: `"squared"`, and the other targets too, amounts among them by their squared error;
        `"tweedie"` or `"poisson"`, both with a log link; `"two_part"`: P(y > 0) times E[y | y > 0], a booster each, the
        second one with a log link. With all but the first the core is the only target.

    References:
      Ke et al.: "LightGBM: A Highly Efficient Gradient Boosting Decision Tree", NeurIPS 2017.
    """

    core: Core = "squared"
    requirement: str | None = "lightgbm"

    @property
    def defaults(self) -> Mapping[str, float]:
        """Settings, as LightGBM calls them: usual values for tables of 10^4 to 10^6 rows.

        Categories are smoothed more than LightGBM's own defaults do. That was seen to help on the validation rows of
        KuaiRand-Pure; else nothing was searched.
        """
        return {
            "learning_rate": 0.05,
            "num_leaves": 31,
            "min_data_in_leaf": 100,
            "feature_fraction": 0.5,
            "bagging_fraction": 0.8,
            "lambda_l2": 1.0,
            "cat_smooth": 50.0,
            "cat_l2": 30.0,
            "min_data_per_group": 200,
        }

    def targets(self, schema: Schema) -> tuple[Target, ...]:
        """All, or the core alone."""
        return schema.targets if self.core == "squared" else (schema.core,)

    def obstacle(self, schema: Schema) -> str | None:
        """An amount that may be negative has no logarithm."""
        if self.core == "squared" or schema.core.non_negative:
            return None
        return f"target '{schema.core.name}' may be negative"

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
        """Grows the boosters; see `Reference.fit`."""
        matrix = TreeMatrix(encoder)
        parameters = {**settings, "seed": seed, "num_threads": threads, "bagging_freq": 1, "verbosity": -1}
        # Else it tries which is faster, and sums in that order.
        parameters |= {"deterministic": True, "force_row_wise": True}
        grower = _Grower(matrix(train.features), matrix(valid.features), matrix.categorical, parameters)
        found: dict[str, Predict] = {}
        for target in self.targets(encoder.schema):
            rows = [Observed.of(part, target) for part in (train, valid)]
            if not len(rows[1].rows):
                raise InputError(f"target '{target.name}': no validation row has a label, by which trees are stopped")
            if isinstance(target, Continuous):
                found[target.name] = _bounded(grower.amount(self.core, *rows), target)
            else:
                found[target.name] = grower.classes(target, *rows)
        return FittedReference(by_target(matrix, found), grower.leaves, grower.trees)


class _Grower:
    """Grows boosters on the same columns and adds up what they have.

    Args:
      train: float32 [N, C].
      valid: float32 [M, C].
      categorical: Positions of the columns that are categories.
      parameters: Of LightGBM, the same for all boosters.

    Attributes:
      leaves: Of all trees.
      trees: Up to the best validation.
    """

    def __init__(
        self, train: np.ndarray, valid: np.ndarray, categorical: list[int], parameters: dict[str, Any]
    ) -> None:
        self._train, self._valid, self._categorical, self._parameters = train, valid, categorical, parameters
        self.leaves = self.trees = 0

    def amount(self, core: Core, train: Observed, valid: Observed) -> Predict:
        """Of an amount, in its own unit."""
        if core != "two_part":
            return self._amount(_OBJECTIVES[core], train, valid)
        positive = [part.labels > 0 for part in (train, valid)]
        if not all(mask.any() for mask in positive):
            return self._amount("poisson", train, valid)  # nothing to learn a size from
        happens = self._grow(
            "binary", *(part._replace(labels=mask * 1.0) for part, mask in zip((train, valid), positive, strict=True))
        )
        size = self._amount("gamma", *(part.where(mask) for part, mask in zip((train, valid), positive, strict=True)))
        return lambda x: happens(x) * size(x)

    def classes(self, target: Target, train: Observed, valid: Observed) -> Predict:
        """Of a binary or multiclass target: probabilities, [N] or [N, K]."""
        if isinstance(target, Multiclass):
            return self._grow("multiclass", train, valid, num_class=target.num_classes)
        return self._grow("binary", train, valid)

    def _amount(self, objective: str, train: Observed, valid: Observed) -> Predict:
        scale = float(np.average(np.abs(train.labels), weights=train.weights)) or 1.0
        parts = (part._replace(labels=part.labels / scale) for part in (train, valid))
        predict = self._grow(objective, *parts)
        return lambda x: scale * predict(x)

    def _grow(self, objective: str, train: Observed, valid: Observed, **parameters: Any) -> Predict:
        """One booster."""
        import lightgbm

        if np.ptp(train.labels) == 0:
            return _constant(train.labels[0], parameters.get("num_class"))
        declared = {"objective": objective, "metric": _METRICS.get(objective, "l2"), **self._parameters, **parameters}
        dataset = lightgbm.Dataset(
            _taken(self._train, train.rows),
            train.labels,
            weight=train.weights,
            categorical_feature=self._categorical,
            params=declared,
        )
        judged = lightgbm.Dataset(
            _taken(self._valid, valid.rows), valid.labels, weight=valid.weights, reference=dataset, params=declared
        )
        stop = lightgbm.early_stopping(PATIENCE, verbose=False)
        booster = lightgbm.train(declared, dataset, MAX_TREES, valid_sets=[judged], callbacks=[stop])
        # As `train` gives it, it ends with the tree of the best validation.
        trees = booster.dump_model()["tree_info"]
        self.leaves += sum(tree["num_leaves"] for tree in trees)
        self.trees += len(trees)
        return lambda x: np.asarray(booster.predict(x, num_threads=declared["num_threads"]))


def _taken(matrix: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Some rows; no copy of all of them."""
    return matrix if len(rows) == len(matrix) else matrix[rows]


def _constant(label: float, num_classes: int | None) -> Predict:
    """What labels that are all the same teach."""
    value = label if num_classes is None else np.eye(num_classes)[int(label)]
    return lambda x: np.broadcast_to(value, (len(x), *np.shape(value))).astype(np.float64)


def _bounded(predict: Predict, target: Continuous) -> Predict:
    return (lambda x: np.maximum(predict(x), 0.0)) if target.non_negative else predict
