"""The page of a comparison, from a folder whose tables are made by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf.comparison.page import write_comparison_page
from htlnet_tf.comparison.variants import Table
from htlnet_tf.judging.reports import MetricRow, Report
from htlnet_tf.judging.summaries import summarise_reports
from htlnet_tf.reporting import report
from tests.page.pages import Read, read

SCHEMA = htl.Schema(
    features=[htl.Categorical("user_id"), htl.Categorical("NA")],
    targets=[htl.Binary("click"), htl.Continuous("spend", unit="EUR")],
)
CONFIG = "data: {loader: generic, path: rows.csv}\n"


def of(auc: float, nrmse: float) -> Report:
    rows = (MetricRow("click", "binary", "auc", auc), MetricRow("spend", "continuous", "nrmse", nrmse))
    return Report(rows, 1000, "EUR", {}, {})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two models and a reference with two seeds each, and what a comparison writes of them."""
    root = tmp_path / "compared"
    root.mkdir()
    reports = {
        "htlnet": [of(0.71, 0.91), of(0.73, 0.93)],
        "mmoe": [of(0.70, 0.95), of(0.70, 0.97)],
        "lightgbm": [of(0.69, 0.90), of(0.69, 0.90)],
    }
    (root / "comparison.yaml").write_text(CONFIG)
    (root / "data.json").write_text(json.dumps({"num_train": 8000, "sha256": "0"}))
    (root / "versions.json").write_text(json.dumps({"htlnet_tf": "0.1.0"}))
    summarise_reports(reports).assign(table="models").to_csv(root / "summary.csv", index=False)
    rows = [
        {"variant": v, "seed": s, "parameters": 100, "seconds_per_epoch": 2.0, "failure": ""}
        | {f"{r.target}/{r.metric}": r.value for r in each.rows}
        for v, of_variant in reports.items()
        for s, each in enumerate(of_variant)
    ]
    pd.DataFrame(rows).to_csv(root / "runs.csv", index=False)
    tests = {"target": "click", "metric": "auc", "subject": "htlnet", "other": "mmoe", "difference": 0.02, "n": 2}
    flags = {"p_value": 0.295, "best_other": True, "is_reference": False, "table": "models"}
    pd.DataFrame([tests | flags]).to_csv(root / "significance.csv", index=False)
    pd.DataFrame({"feature": ["user_id", "NA"], "train": [0.0, 0.25]}).to_csv(
        root / "out_of_vocabulary.csv", index=False
    )
    for seed, shift in ((0, 0.0), (1, 0.02)):
        run = root / "runs" / "htlnet" / f"seed_{seed}"
        run.mkdir(parents=True)
        bins = {"target": "click", "bin": [0, 1], "rows": 500, "mean_prediction": [0.2 + shift, 0.6], "mean_label": 0.4}
        pd.DataFrame(bins).to_csv(run / "calibration.csv", index=False)
        history = {"check": [1, 2], "val_relative_loss": [0.9, 0.8]}
        pd.DataFrame(history).to_csv(run / "history.csv", index=False)
    return root


def written(folder: Path) -> Read:
    table = Table("models", "Models <all>", {"HTLNet": "htlnet", "MMoE": "mmoe"}, ("lightgbm",))
    write_comparison_page(folder, [table], SCHEMA, {"oracle": of(0.8, 0.8), "mean": of(0.5, 1.0)}, "htlnet compare x")
    return read((folder / "report.html").read_text(encoding="utf-8"))


def test_numbers_are_read_back(folder: Path) -> None:
    page = written(folder)
    assert page.headings[0] == (1, "Models on rows")
    assert page.ids[:3] == ["compared", "models", "calibration"]
    assert page.tables["click"] == [
        ["model", "AUC ↑"],
        ["without a model"],
        ["oracle", "0.8000"],
        ["mean", "0.5000"],
        ["references"],
        ["lightgbm", "0.6900"],
        ["models"],
        ["HTLNet", "0.7200"],
        ["MMoE", "0.7000"],
    ]
    assert "± 0.0141" in page.text  # of 0.71 and 0.73
    assert page.tables["Tests"][1] == ["click", "AUC ↑", "MMoE", "+0.0200", "0.295"]
    assert [row[:3] for row in page.tables["Every run"][1:3]] == [["htlnet", "0", "0.7100"], ["htlnet", "1", "0.7300"]]
    assert page.tables["Features"][2][:4] == ["NA", "item", "categorical", "25.0\u00a0%"]
    assert "htlnet compare x" in page.codes
    (reliability,) = [tags for says, tags in page.charts.items() if says.startswith("click: HTLNet over mean")]
    assert reliability.count("circle") == 2
    assert any(says.startswith("relative loss") for says in page.charts)
    assert any("HTLNet: 0.72" in says for says in page.charts)


def test_the_command_writes_it_again(folder: Path, tmp_path: Path) -> None:
    written(folder)
    first = (folder / "report.html").read_text(encoding="utf-8")
    assert report(folder, tmp_path / "other.html") == tmp_path / "other.html"
    assert (tmp_path / "other.html").read_text(encoding="utf-8") == first
    with pytest.raises(htl.InputError, match="--data is for a run folder"):
        report(folder, data="rows.csv")


def test_an_old_folder_says_what_is_missing(folder: Path) -> None:
    (folder / "comparison.yaml").write_text("data: {loader: generated}\n")
    summary = pd.read_csv(folder / "summary.csv").assign(target=lambda t: t["target"].replace("buy", "click"))
    summary.to_csv(folder / "summary.csv", index=False)
    report(folder)
    page = read((folder / "report.html").read_text(encoding="utf-8"))
    assert "made by a version that kept nothing for a page" in page.text
    assert page.tables["click"][1] == ["references"]
    (folder / "summary.csv").unlink()
    with pytest.raises(htl.InputError, match=r"summary\.csv"):
        report(folder)


def test_what_is_no_folder_of_ours_is_refused(tmp_path: Path) -> None:
    with pytest.raises(htl.InputError, match="no run folder"):
        report(tmp_path)
