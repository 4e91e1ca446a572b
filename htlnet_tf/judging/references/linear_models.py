"""Generalised linear models: logistic regression for classes, a Tweedie regression for amounts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.linear_model import LogisticRegression, TweedieRegressor

from htlnet_tf.encoding.encoded import EncodedRows
from htlnet_tf.encoding.encoder import FeatureEncoder
from htlnet_tf.encoding.observed import Observed
from htlnet_tf.judging.references.design_matrix import LinearMatrix
from htlnet_tf.judging.references.reference import FittedReference, by_target
from htlnet_tf.schema import Continuous, Multiclass, Schema
from htlnet_tf.schema.targets import Target

_ITERATIONS = 1000
_MAX_DENSE = 3000  # columns whose squared number of second derivatives is kept: 72 MB
_POWER = 1.5  # of the variance in the mean, between Poisson's 1 and Gamma's 2

Predict = Callable[[scipy.sparse.csr_matrix], np.ndarray]


@dataclasses.dataclass(frozen=True)
class LinearModels:
    """One generalised linear model per target, of scikit-learn, on the numbers and small fields, see `LinearMatrix`.

    Logistic regression for classes. For an amount a Tweedie regression of power 1.5 with a log link, of which the mean
    of its label is taken out first; for one that may be negative linear regression. All have an L2 penalty and are
    solved to the optimum: there is nothing to stop early and nothing is drawn, so all seeds give the same.
    """

    requirement: str | None = None

    @property
    def defaults(self) -> Mapping[str, float]:
        """`alpha`: the L2 penalty, alpha / 2 |w|^2 beside the mean loss of a row."""
        return {"alpha": 1e-4}

    def targets(self, schema: Schema) -> tuple[Target, ...]:
        """All."""
        return schema.targets

    def obstacle(self, schema: Schema) -> str | None:
        """None."""
        return None

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
        """Solves the regressions; see `Reference.fit`."""
        matrix = LinearMatrix(encoder)
        x = matrix(train.features)
        found: dict[str, Predict] = {}
        parameters = steps = 0
        for target in self.targets(encoder.schema):
            predict_one, size, iterations = _solved(target, x, Observed.of(train, target), float(settings["alpha"]))
            found[target.name] = predict_one
            parameters, steps = parameters + size, steps + iterations
        return FittedReference(by_target(matrix, found), parameters, steps)


def _solved(target: Target, x: scipy.sparse.csr_matrix, observed: Observed, alpha: float) -> tuple[Predict, int, int]:
    """How to predict, the number of coefficients, and the solver's iterations."""
    y, weights = observed.labels, observed.weights
    x = x[observed.rows] if len(observed.rows) < x.shape[0] else x
    if isinstance(target, Continuous):
        return _amount(target, x, y, weights, alpha)
    num_classes = target.num_classes if isinstance(target, Multiclass) else 2
    known = np.unique(y).astype(np.int64)
    total = len(y) if weights is None else weights.sum()

    def shares(probabilities: np.ndarray) -> np.ndarray:
        full = np.zeros((len(probabilities), num_classes))
        full[:, known] = probabilities
        return full if isinstance(target, Multiclass) else full[:, 1]

    if len(known) < 2:
        return lambda rows: shares(np.ones((rows.shape[0], 1))), 1, 0
    # scikit-learn's C weighs the sum of the losses.
    # By classes, second derivatives came to scikit-learn with 1.6.
    solver = "lbfgs" if len(known) > 2 else _solver(x)
    model = LogisticRegression(C=1.0 / (alpha * total), solver=solver, max_iter=_ITERATIONS)
    model.fit(x, y, sample_weight=weights)
    size = model.coef_.size + model.intercept_.size
    return lambda rows: shares(model.predict_proba(rows)), size, int(np.max(model.n_iter_))


def _amount(
    target: Continuous, x: scipy.sparse.csr_matrix, y: np.ndarray, weights: np.ndarray | None, alpha: float
) -> tuple[Predict, int, int]:
    scale = float(np.average(np.abs(y), weights=weights)) or 1.0
    if np.ptp(y) == 0:
        return lambda rows: np.full(rows.shape[0], y[0]), 1, 0
    power = _POWER if target.non_negative else 0.0
    model = TweedieRegressor(power=power, alpha=alpha, solver=_solver(x), max_iter=_ITERATIONS)
    model.fit(x, y / scale, sample_weight=weights)
    return lambda rows: scale * model.predict(rows), model.coef_.size + 1, int(model.n_iter_)


def _solver(x: scipy.sparse.csr_matrix) -> str:
    """Newton's method takes some ten iterations where lbfgs takes hundreds, of not much more time each."""
    return "newton-cholesky" if x.shape[1] <= _MAX_DENSE else "lbfgs"
