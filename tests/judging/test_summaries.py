"""Every expected value is a sum by hand over the four rows of `tests.test_evaluation.tables`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from htlnet_tf.errors import InputError
from htlnet_tf.judging.evaluation import evaluate_predictions
from htlnet_tf.judging.reports import Report, decimals_of, format_value
from htlnet_tf.judging.summaries import compare_reports, comparison_text, summarise_reports
from tests.judging.test_evaluation import SCHEMA, report, tables


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1234.5, "1,234.5"), (0.001234, "0.001234"), (8.162e-13, "8.162e-13"), (-8.162e34, "-8.162e+34"), (0.0, "0.0000")],
)
def test_amounts_of_any_unit_are_shown_with_four_digits(value: float, shown: str) -> None:
    assert format_value(value, decimals_of("mae", value, "continuous", 4)) == shown


class TestSummaries:
    def test_mean_spread_and_best_by_hand(self) -> None:
        better = report(prediction_spend=[0, 1, 2, 4])  # MAE 1/4
        good, bad = report(), report(prediction_spend=[3, 4, 5, 8])  # MAE 1 and 3
        summary: Any = summarise_reports({"a": [good, bad], "b": better}).set_index(["target", "metric", "model"])
        assert summary.loc[("spend", "mae", "a"), "mean"] == 2.0
        assert summary.loc[("spend", "mae", "a"), "std"] == pytest.approx(np.sqrt(2))  # n - 1 in the denominator
        assert summary.loc[("spend", "mae", "a"), "n"] == 2
        assert np.isnan(summary.loc[("spend", "mae", "b"), "std"])
        assert bool(summary.loc[("spend", "mae", "b"), "best"])
        assert not summary.loc[("spend", "mae", "a"), "best"]
        assert not summary.xs("mean_label", level="metric")["best"].any()

        table = compare_reports({"a": [good, bad], "b": better})
        assert list(table.columns) == ["a (n=2)", "b"]
        assert table.loc[("spend", "MAE (EUR) ↓"), "b"] == "0.2500 *"
        assert table.loc[("spend", "MAE (EUR) ↓"), "a (n=2)"] == "2.000 ± 1.414"
        assert table.loc[("click", "AUC ↑"), "b"] == "0.8750 *"  # a tie: both are best
        text = comparison_text({"a": [good, bad], "b": better})
        assert "sample standard deviation" in text
        assert len({len(line) for line in text.splitlines() if " *" in line and "best" not in line}) == 1

    def test_higher_is_better_for_spearman(self) -> None:
        summary = summarise_reports({"a": report(), "b": report(prediction_spend=[0, 1, 2, 3])})
        best = summary[summary["best"] & (summary["metric"] == "spearman")]
        assert list(best["model"]) == ["b"]

    def test_undefined_in_any_run_is_undefined_and_never_best(self) -> None:
        table = compare_reports({"a": [report(), report(prediction_spend=[7] * 4)], "b": report()})
        assert table.loc[("spend", "Spearman ↑"), "a (n=2)"] == "undefined"
        assert str(table.loc[("spend", "Spearman ↑"), "b"]).endswith(" *")

    def test_a_single_model_is_not_the_best_of_anything(self) -> None:
        assert not summarise_reports({"a": report()})["best"].any()

    def test_a_model_without_a_target_leaves_a_dash(self) -> None:
        part = Report(tuple(row for row in report().rows if row.target != "click"), num_rows=4, unit="EUR")
        table = compare_reports({"a": part, "b": report()})
        assert table.loc[("click", "AUC ↑"), "a"] == "-"

    def test_refuses_what_cannot_be_compared(self) -> None:
        labels, predictions = tables()
        short = evaluate_predictions(SCHEMA, labels[:3], predictions[:3])
        with pytest.raises(InputError, match="same rows"):
            compare_reports({"a": report(), "b": short})
        nothings: list[dict[str, list[Report]]] = [{}, {"a": []}]
        for nothing in nothings:
            with pytest.raises(InputError, match="at least one report"):
                compare_reports(nothing)
