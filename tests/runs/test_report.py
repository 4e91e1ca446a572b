"""`htlnet report` on a folder that training from Python left, and on rows that are streamed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf.runs.page import run_inputs
from htlnet_tf.runs.report import report_run
from tests.page.pages import read


def test_a_model_trained_from_python_has_a_page(
    make_model: Callable[..., Any], frame: pd.DataFrame, tmp_path: Path
) -> None:
    model, run = make_model(), tmp_path / "run"
    report = htl.evaluate(model, frame)
    htl.save_run(model, run, report=report, held_out=frame.tail(50))
    before = {path.name for path in run.iterdir()}
    assert report_run(run) == run / "report.html"
    page = read((run / "report.html").read_text(encoding="utf-8"))
    shown = {row[0]: row[1] for row in page.tables["click (binary)"]}
    assert float(shown["AUC ↑"]) == round(report.value("click", "auc"), 4)
    assert "page.json" in page.text
    assert run_inputs(f"{run}/").name == str(run)
    assert "calibration" not in page.ids
    assert "serving" in page.ids
    # With rows, the same is computed that training computes.
    half = frame.head(200)
    half.to_parquet(tmp_path / "rows.parquet")
    lines: list[str] = []
    output = report_run(
        run, tmp_path / "other.html", data=tmp_path / "rows.parquet", importance_rows=150, write=lines.append
    )
    page = read(output.read_text(encoding="utf-8"))
    again = htl.evaluate(model, half)
    shown = {row[0]: row[1] for row in page.tables["click (binary)"]}
    assert float(shown["AUC ↑"]) == round(again.value("click", "auc"), 4)
    assert {"calibration", "gains", "importance"} <= set(page.ids)
    assert "rows.parquet" in page.text
    # At most 150 of 200, evenly, are every second one.
    assert "get on 100 test rows" in page.text
    assert lines == ["importance of 6 columns on 100 test rows"]
    assert {path.name for path in run.iterdir()} == before | {"report.html"}
    with pytest.raises(htl.InputError, match="negative"):
        report_run(run, importance_rows=-1)
