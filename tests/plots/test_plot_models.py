"""Models side by side."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from htlnet_tf import plots
from htlnet_tf.errors import InputError
from htlnet_tf.judging.reports import MetricRow, Report
from htlnet_tf.judging.summaries import Reports
from tests.plots.pictures import NAN, check


def report(auc: float, nrmse: float) -> Report:
    rows = (MetricRow("click", "binary", "auc", auc), MetricRow("spend", "continuous", "nrmse", nrmse))
    return Report(rows, num_rows=10)


class TestComparison:
    def test_runs_and_single_reports(self, tmp_path: Path, drawn: list[Any]) -> None:
        reports: Reports = {"HTLNet": [report(0.7, 0.9), report(0.8, 0.8)], "MMoE": report(NAN, 0.95)}
        plots.plot_comparison(reports, tmp_path / "comparison.png", title="test rows")
        check(tmp_path / "comparison.png")
        assert [axes.get_title() for axes in drawn[0].axes] == ["click: AUC ↑", "spend: NRMSE ↓"]

    def test_chosen_metrics(self, tmp_path: Path, drawn: list[Any]) -> None:
        plots.plot_comparison({"HTLNet": report(0.7, 0.9)}, tmp_path / "comparison.png", metrics=["nrmse"])
        assert len(drawn[0].axes) == 1
        with pytest.raises(InputError, match="none of the metrics"):
            plots.plot_comparison({"HTLNet": report(0.7, 0.9)}, tmp_path / "comparison.png", metrics=["gini"])

    def test_many_models_and_metrics(self, tmp_path: Path, drawn: list[Any]) -> None:
        metrics = ["nrmse", "nmae", "spearman", "gini"]
        rows = tuple(MetricRow("spend", "continuous", metric, 0.5) for metric in metrics)
        reports: Reports = {f"model {i}": [Report(rows, num_rows=10)] * 2 for i in range(12)}
        plots.plot_comparison(reports, tmp_path / "comparison.png")
        figure = drawn[0]
        lines = {round(axes.get_position().y0, 3) for axes in figure.axes}
        assert len(figure.axes) == 4
        assert len(lines) == 2  # two and two, not four in a line that no page has the width for
        boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
        assert len(boxes) == 12
        assert all(above.y0 >= below.y1 for above, below in pairwise(boxes))

    def test_references_stand_below_a_line(self, tmp_path: Path, drawn: list[Any]) -> None:
        core = Report((MetricRow("spend", "continuous", "nrmse", 0.9),), num_rows=10)
        reports: Reports = {"lightgbm@tweedie": core, "HTLNet": report(0.7, 0.95), "glm": report(0.6, 1.0)}
        plots.plot_comparison(reports, tmp_path / "comparison.png", references=["glm", "lightgbm@tweedie"])
        check(tmp_path / "comparison.png")
        click, spend = drawn[0].axes
        assert [label.get_text() for label in click.get_yticklabels()] == ["HTLNet", "lightgbm@tweedie", "glm"]
        dividers = [[line for line in axes.lines if list(line.get_ydata()) == [0.5, 0.5]] for axes in (click, spend)]
        assert [len(lines) for lines in dividers] == [1, 1]
        # A circle is a model, a square a reference; the one without steps has nothing there.
        markers = [[c.lines[0].get_marker() for c in axes.containers] for axes in (click, spend)]
        assert [sorted(m) for m in markers] == [["o", "s"], ["o", "s", "s"]]
