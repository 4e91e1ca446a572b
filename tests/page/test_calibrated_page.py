"""What a calibration changed and what quantiles cover, told by the report alone."""

from __future__ import annotations

import dataclasses

from htlnet_tf.judging.reports import MetricRow
from htlnet_tf.page.render import render
from htlnet_tf.page.run_page import run_page
from tests.page.pages import inputs, read, report


def test_before_after_and_coverage_are_read_from_the_report() -> None:
    whole = report()
    told = ("calibration_error_before", "coverage_p90")
    plain = dataclasses.replace(whole, rows=tuple(row for row in whole.rows if row.metric not in told))
    more = (
        MetricRow("click", "binary", "calibration_error_before", 0.0456),
        MetricRow("spend", "continuous", "coverage_p97_5", 0.9611),
    )
    page = read(render(run_page(inputs(report=dataclasses.replace(plain, rows=(*plain.rows, *more))))))
    assert page.tables["Calibration error on the test rows"][1:] == [["click", "0.0456", "0.0123"]]
    assert page.tables["Test rows below the predicted quantiles"][1:] == [["spend P97.5", "97.5\u00a0%", "96.1\u00a0%"]]
    spend = {row[0]: row[1] for row in page.tables["spend (continuous, the core)"]}
    assert spend["coverage P97.5"] == "0.9611"
    page = read(render(run_page(inputs(report=plain))))
    assert "Calibration error on the test rows" not in page.tables
