"""Coverage, pinball loss, CRPS and PIT: by hand, and flat for distributions that are true."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf.errors import InputError
from htlnet_tf.judging.evaluation import Scored
from htlnet_tf.judging.quantile_metrics import covered, pinball
from htlnet_tf.judging.reports import Report, metric_named
from htlnet_tf.judging.summaries import compare_reports
from htlnet_tf.judging.uncertainty import coverage_table, interval_table, pit_table, uncertainty_tables

SCHEMA = htl.Schema(
    features=[htl.Categorical("user")],
    targets=[htl.Binary("buy"), htl.Continuous("spend", unit="EUR", objective="ziln", quantiles=(0.1, 0.5, 0.9))],
)


def scored(rows: int = 4000) -> Scored:
    """Half of the rows are 0, the others uniform in (0, 1), as is predicted: y = max(2 u - 1, 0)."""
    random = np.random.default_rng(0)
    y = np.maximum(2.0 * random.random(rows) - 1.0, 0.0)
    labels = pd.DataFrame({"buy": (y > 0).astype(int), "spend": y})
    at = 0.5 + y / 2.0
    levels = pd.DataFrame({"below": np.where(y == 0, 0.0, at), "at": at, "crps": 0.1})
    predictions = pd.DataFrame({"buy": 0.5, "spend": random.random(rows)})
    predictions[["spend_p10", "spend_p50", "spend_p90"]] = [0.0, 0.0, 0.8]
    return Scored(labels, predictions, levels={"spend": levels})


def test_a_jump_is_covered_by_parts() -> None:
    below, at = np.array([0.0, 0.0, 0.3, 0.7]), np.array([0.5, 0.2, 0.3, 0.7])
    np.testing.assert_allclose(covered(below, at, 0.1), [0.2, 0.5, 0.0, 0.0])
    np.testing.assert_allclose(covered(below, at, 0.3), [0.6, 1.0, 1.0, 0.0])
    np.testing.assert_allclose(pinball(np.array([1.0, 3.0]), np.array([2.0, 2.0]), 0.9), [0.1, 0.9])


def test_a_true_distribution_has_its_coverage_and_a_flat_pit() -> None:
    rows = scored()
    report = rows.report(SCHEMA)
    # Counting y <= Q would say 0.5 at the level 0.1, where the quantile is 0.
    assert report.value("spend", "coverage_p10") == pytest.approx(0.1, abs=0.01)
    assert report.value("spend", "coverage_p90") == pytest.approx(0.9, abs=0.015)
    assert report.value("spend", "interval_coverage") == pytest.approx(0.8, abs=0.015)
    assert report.value("spend", "crps") == pytest.approx(0.1)
    assert report.value("spend", "ncrps") == pytest.approx(0.1 / rows.labels["spend"].mean())
    table = coverage_table(SCHEMA, rows)
    assert list(table["quantile"]) == ["spend_p10", "spend_p50", "spend_p90", "spend_p10-spend_p90"]
    assert table["pinball"][:3].mean() == pytest.approx(report.value("spend", "pinball"))
    np.testing.assert_allclose(table["actual"], [0.1, 0.5, 0.9, 0.8], atol=0.02)
    deciles = interval_table(SCHEMA, rows)
    assert len(deciles) == 10 and deciles["rows"].sum() == 4000
    np.testing.assert_allclose(deciles["actual"], 0.8, atol=0.07)  # four standard errors of 400 rows
    pit = pit_table(SCHEMA, rows)
    assert pit["share"].sum() == pytest.approx(1.0)
    np.testing.assert_allclose(pit["share"], 0.05, atol=0.015)
    assert list(uncertainty_tables(SCHEMA, rows)) == ["coverage.csv", "intervals.csv", "pit.csv"]


def test_the_report_shows_quantiles_in_a_table_of_their_own() -> None:
    report = scored(200).report(SCHEMA)
    text = report.to_text()
    assert "quantiles" in text and "coverage P10" in text and "NCRPS" in text
    assert Report.from_dict(report.to_dict(), SCHEMA) == report
    assert "coverage P50" in str(compare_reports({"a": report, "b": report}))
    assert metric_named("coverage_p2_5").label == "coverage P2.5"
    with pytest.raises(InputError, match="there is no metric 'coverage_10'"):
        metric_named("coverage_10")


def test_predictions_without_levels_have_the_pinball_loss_alone() -> None:
    rows = scored(100)
    plain = htl.judging.evaluation.evaluate_predictions(SCHEMA, rows.labels, rows.predictions)
    assert {row.metric for row in plain.rows} >= {"pinball", "nmae"}
    assert not {row.metric for row in plain.rows} & {"coverage_p10", "crps", "interval_coverage"}
    assert uncertainty_tables(SCHEMA, Scored(rows.labels, rows.predictions)) == {}
    without = htl.judging.evaluation.evaluate_predictions(SCHEMA, rows.labels, rows.predictions[["buy", "spend"]])
    assert "pinball" not in {row.metric for row in without.rows}
    wrong = rows.predictions.assign(spend_p50=np.nan)
    with pytest.raises(InputError, match=r"'spend_p50'.*quantiles must be finite"):
        htl.judging.evaluation.evaluate_predictions(SCHEMA, rows.labels, wrong)


def test_a_target_without_labels_has_no_coverage() -> None:
    rows = scored(50)
    rows.labels["spend"] = np.nan
    assert coverage_table(SCHEMA, rows).empty and pit_table(SCHEMA, rows).empty
