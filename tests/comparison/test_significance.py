"""The paired t-test against numbers by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from htlnet_tf.comparison.significance import paired_p_value, paired_tests
from htlnet_tf.judging.reports import MetricRow, Report


def report(auc: float, rmse: float = 1.0) -> Report:
    rows = (
        MetricRow("click", "binary", "auc", auc),
        MetricRow("click", "binary", "base_rate", 0.3),
        MetricRow("spend", "continuous", "nrmse", rmse),
        MetricRow("spend", "continuous", "rmse", rmse),
    )
    return Report(rows, num_rows=10)


def test_by_hand() -> None:
    # Differences 1, 2, 3: mean 2, standard deviation 1, t = 2 sqrt(3), 2 degrees of freedom. With t distributed so,
    # P(|t| > x) = 1 - x / sqrt(2 + x^2).
    x = 2 * math.sqrt(3)
    assert paired_p_value([2.0, 4.0, 6.0], [1.0, 2.0, 3.0]) == pytest.approx(1 - x / math.sqrt(2 + x * x), rel=1e-12)


def test_what_no_test_can_tell() -> None:
    assert math.isnan(paired_p_value([1.0], [2.0]))
    assert math.isnan(paired_p_value([1.0, math.nan], [2.0, 1.0]))
    assert paired_p_value([1.0, 2.0], [1.0, 2.0]) == 1.0
    assert paired_p_value([2.0, 3.0], [1.0, 2.0]) == 0.0


@given(st.lists(st.tuples(st.floats(-10, 10), st.floats(-10, 10)), min_size=2, max_size=6))
def test_the_sides_may_be_exchanged(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = np.array(pairs).T
    p_value = paired_p_value(ours, theirs)
    assert 0.0 <= p_value <= 1.0
    assert paired_p_value(theirs, ours) == pytest.approx(p_value)


def test_the_best_other_is_that_of_the_metric_s_better_direction() -> None:
    reports = {
        "htlnet": {0: report(0.7, 0.9), 1: report(0.8, 0.9), 2: report(0.9, 0.9)},
        "mmoe": {0: report(0.6, 0.8), 1: report(0.6, 0.8), 2: report(0.6, 0.8)},
        "ple": {0: report(0.5, 0.7), 1: report(0.5, 0.7), 2: report(0.5, 0.7)},
    }
    tests = paired_tests(reports, "htlnet").set_index(["target", "metric", "other"])
    # Metrics without a better direction, and those in the target's unit, are not tested.
    assert list(tests.index) == [(t, m, o) for t, m in (("click", "auc"), ("spend", "nrmse")) for o in ("mmoe", "ple")]
    assert tests["best_other"].tolist() == [True, False, False, True]
    assert tests.loc[("click", "auc", "mmoe"), "difference"] == pytest.approx(0.2)
    assert tests.loc[("spend", "nrmse", "ple"), "p_value"] == 0.0
    assert (tests["n"] == 3).all()


def test_references_have_a_best_of_their_own() -> None:
    def of_spend(rmse: float) -> Report:
        return Report((MetricRow("spend", "continuous", "nrmse", rmse),), num_rows=10)

    reports = {
        "glm": {0: report(0.75, 1.0), 1: report(0.75, 1.0)},
        "lightgbm@tweedie": {0: of_spend(0.5), 1: of_spend(0.5)},
        "htlnet": {0: report(0.7, 0.9), 1: report(0.8, 0.9)},
        "mmoe": {0: report(0.6, 0.8), 1: report(0.6, 0.8)},
    }
    tests = paired_tests(reports, "htlnet", ["glm", "lightgbm@tweedie"])
    found = [tuple(row) for row in tests[["target", "other", "best_other", "is_reference"]].to_numpy().tolist()]
    assert found == [
        ("click", "glm", True, True),
        ("click", "mmoe", True, False),
        ("spend", "glm", False, True),
        ("spend", "lightgbm@tweedie", True, True),
        ("spend", "mmoe", True, False),
    ]


def test_runs_are_paired_by_seed() -> None:
    reports = {
        "htlnet": {0: report(0.1), 1: report(0.2), 2: report(0.4)},
        "mmoe": {2: report(0.3), 1: report(0.1)},
    }
    first = paired_tests(reports, "htlnet").iloc[0]
    assert first["n"] == 2
    assert first["difference"] == pytest.approx(0.1)
