"""What is known without a model: the mean of the training labels, and zero. A model has to be ahead of both."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from htlnet_tf.data.labels import label_columns
from htlnet_tf.judging.evaluation import UserColumn, evaluate_predictions
from htlnet_tf.judging.reports import Report
from htlnet_tf.schema import Continuous, Multiclass, Schema


def training_means(
    schema: Schema, labels: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray] | None
) -> dict[str, np.ndarray]:
    """The best constants of the training rows.

    Args:
      schema: Declares the targets.
      labels: By target, [N], as encoded rows have them.
      weights: By target, [N], 0 where the label was not observed; None: all rows count alike.

    Returns:
      By target, float64 [1], or [K] class shares of a multiclass target. Of one without a label, as on a day whose
      amounts are not known yet, what says nothing: 0 of an amount, else equal shares.
    """
    means = {}
    for target in schema.targets:
        values = label_columns(np.asarray(labels[target.name]), target)
        weight = np.ones(len(values)) if weights is None else np.asarray(weights[target.name], np.float64)
        # A label that was not observed may be anything, NaN too.
        values = np.where(weight[:, np.newaxis] > 0, values, 0.0)
        if weight.sum():
            means[target.name] = weight @ values / weight.sum()
        else:
            shares = len(target.score_names) if isinstance(target, Multiclass) else 2
            means[target.name] = np.full(values.shape[1], 0.0 if isinstance(target, Continuous) else 1 / shares)
    return means


def trivial_reports(
    schema: Schema, means: Mapping[str, np.ndarray], labels: pd.DataFrame, users: UserColumn | None = None
) -> dict[str, Report]:
    """The metrics of two predictions that need no model.

    Args:
      schema: Declares the targets.
      means: As `training_means` gives them.
      labels: As for `htlnet_tf.judging.evaluation.evaluate_predictions`.
      users: Likewise.

    Returns:
      `"mean"`: every row gets the training rows' mean. `"zero"`: every amount is 0; it has no rows of the steps.

    Raises:
      InputError: As for `evaluate_predictions`.
    """
    names = [name for target in schema.targets for name in target.score_names]
    constants = dict(zip(names, np.concatenate([means[t.name] for t in schema.targets]), strict=True))
    mean = pd.DataFrame(constants, index=labels.index)
    amounts = [target.name for target in schema.amounts]
    found = {
        "mean": evaluate_predictions(schema, labels, mean, users),
        "zero": evaluate_predictions(schema, labels, mean.assign(**dict.fromkeys(amounts, 0.0)), users),
    }
    return found | {"zero": found["zero"].of_targets(amounts)}
