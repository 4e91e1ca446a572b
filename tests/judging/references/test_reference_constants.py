"""Expected values are by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf.judging.references.constants import training_means, trivial_reports

SCHEMA = htl.Schema(
    features=[htl.Categorical("user_id")],
    targets=[htl.Binary("click"), htl.Multiclass("stars", num_classes=3), htl.Continuous("spend")],
)
LABELS = {"click": np.array([1, 0, 0, 1]), "stars": np.array([0, 2, 2, 1]), "spend": np.array([4.0, 0.0, 2.0, np.nan])}
WEIGHTS = {"click": np.array([1, 1, 1, 1]), "stars": np.array([1, 1, 2, 0]), "spend": np.array([1, 1, 1, 0])}


def test_means_are_of_observed_labels_by_weight() -> None:
    means = training_means(SCHEMA, LABELS, WEIGHTS)
    np.testing.assert_allclose(means["click"], [0.5])
    np.testing.assert_allclose(means["stars"], [0.25, 0.0, 0.75])
    np.testing.assert_allclose(means["spend"], [2.0])


def test_of_targets_without_a_label_nothing_is_known() -> None:
    nothing = {name: np.zeros(4) for name in WEIGHTS}
    means = training_means(SCHEMA, LABELS, nothing)
    assert {name: values.tolist() for name, values in means.items()} == {
        "click": [0.5], "stars": [1 / 3] * 3, "spend": [0.0],
    }  # fmt: skip


def test_mean_and_zero_on_other_rows() -> None:
    means = {"click": np.array([0.5]), "stars": np.array([0.25, 0.25, 0.5]), "spend": np.array([2.0])}
    rows = pd.DataFrame({"click": [1, 0, 1], "stars": [0, 1, 2], "spend": [0.0, 3.0, 6.0]})
    reports = trivial_reports(SCHEMA, means, rows)
    # RMSE of 2 is sqrt((4 + 1 + 16) / 3), of 0 sqrt((0 + 9 + 36) / 3); std(y) is sqrt(6).
    assert reports["mean"].value("spend", "nrmse") == pytest.approx(np.sqrt(7 / 6))
    assert reports["zero"].value("spend", "nrmse") == pytest.approx(np.sqrt(15 / 6))
    assert reports["mean"].value("spend", "level") == pytest.approx(6 / 9)
    assert (reports["zero"].value("spend", "level"), reports["zero"].value("spend", "nmae")) == (0.0, 1.0)
    assert reports["mean"].value("click", "auc") == 0.5
    assert reports["mean"].value("click", "logloss") == pytest.approx(np.log(2))
    assert {row.target for row in reports["zero"].rows} == {"spend"}
