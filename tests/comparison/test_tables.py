"""The tables of made-up runs."""

from __future__ import annotations

import json

import pandas as pd

import htlnet_tf as htl
from htlnet_tf.comparison.runs import RunRecord
from htlnet_tf.comparison.tables import good_reports, legend, runs_table, table_markdown
from htlnet_tf.comparison.variants import plan
from htlnet_tf.judging.reports import MetricRow, Report

SCHEMA = htl.Schema(
    features=[htl.Categorical("user_id")], targets=[htl.Binary("click"), htl.Continuous("spend", unit="EUR")]
)


def report(auc: float, nrmse: float) -> Report:
    rows = (MetricRow("click", "binary", "auc", auc), MetricRow("spend", "continuous", "nrmse", nrmse))
    return Report(rows, num_rows=10, unit="EUR")


def record(variant: str, seed: int, judged: Report | None, failure: str = "") -> RunRecord:
    settings = {"model": {"name": variant, "arguments": {}}, "training": {"epochs": 2}}
    return RunRecord(variant, seed, settings, 1234567, 2.0, 1.5, 3.25, {"python": "3"}, judged, failure)


RECORDS = {
    "htlnet": [record("htlnet", 0, report(0.75, 0.9)), record("htlnet", 1, report(0.77, 0.9))],
    "mmoe": [record("mmoe", 0, report(0.72, 0.8)), record("mmoe", 1, report(0.74, 0.82))],
    "ple": [record("ple", 0, report(0.70, 0.85)), record("ple", 1, None, "target 'spend': loss inf")],
}


def test_best_in_bold_and_significant_marked() -> None:
    table = plan(["htlnet", "mmoe"]).tables[0]
    text = table_markdown(table, RECORDS, SCHEMA)
    # By hand: click 0.76 against 0.73; the standard deviation of two is |a - b| / sqrt 2. Both differences are 0.03 but
    # for rounding, so p < 0.001.
    assert "| htlnet | **0.7600 ± 0.0141** † |" in text
    assert "| mmoe   |       0.7300 ± 0.0141 |" in text
    assert "### spend (EUR)" in text
    # 0.9 against 0.81: differences 0.1 and 0.08, mean 0.09, standard deviation 0.01 sqrt 2, so t = 9; with one degree
    # of freedom p = 1 - 2 atan(9) / pi = 0.0704.
    assert "| mmoe   | **0.8100 ± 0.0141** |" in text
    assert [line.split("|")[2].strip() for line in text.splitlines() if line.startswith("| p ")] == ["< 0.001", "0.070"]
    assert "| htlnet |  1,234,567 |      3.25 |   2.00 |       1.50 |" in text


def test_a_variant_with_a_run_that_diverged_has_no_row() -> None:
    table = plan(["htlnet", "mmoe", "ple"]).tables[0]
    assert set(good_reports(RECORDS, table.rows.values())) == {"htlnet", "mmoe"}
    text = table_markdown(table, RECORDS, SCHEMA)
    assert "ple: 1 of 2 runs diverged, so it has no row (target 'spend': loss inf)." in text
    runs = runs_table(RECORDS)
    assert runs["failure"].tolist() == ["", "", "", "", "", "target 'spend': loss inf"]
    assert runs["click/auc"].isna().tolist() == [False] * 5 + [True]


def test_the_oracle_stands_on_top_and_is_not_the_best() -> None:
    text = table_markdown(plan(["htlnet", "mmoe"]).tables[0], RECORDS, SCHEMA, {"oracle": report(0.9, 0.5)})
    lines = [line for line in text.splitlines() if line.startswith("| oracle")]
    assert [line.split("|")[2].strip() for line in lines] == ["0.9000", "0.5000"]
    assert "**0.9000" not in text


def test_what_is_no_model_has_rows_of_its_targets_alone() -> None:
    of_spend = Report((MetricRow("spend", "continuous", "nrmse", 1.4),), num_rows=10, unit="EUR")
    constants = {"mean": report(0.5, 1.0), "zero": of_spend}
    text = table_markdown(plan(["htlnet", "mmoe"]).tables[0], RECORDS, SCHEMA, constants)
    rows = [line.split("|")[1:3] for line in text.splitlines() if line.startswith(("| mean", "| zero"))]
    cells = [[cell.strip() for cell in row] for row in rows]
    assert cells == [["mean", "0.5000"], ["mean", "1.0000"], ["zero", "1.4000"]]
    assert "same prediction for every row" in legend(2, tested=True, constants=constants)


def test_references_are_a_group_with_a_test_of_its_own() -> None:
    beaten = Report((MetricRow("spend", "continuous", "nrmse", 0.95),), num_rows=10)
    better = Report((MetricRow("spend", "continuous", "nrmse", 0.7),), num_rows=10)
    references = {
        "glm": [record("glm", seed, report(0.7, 1.1)) for seed in (0, 1)],
        "lightgbm@poisson": [record("lightgbm@poisson", 0, better), record("lightgbm@poisson", 1, better)],
        "lightgbm@tweedie": [record("lightgbm@tweedie", 0, beaten), record("lightgbm@tweedie", 1, beaten)],
    }
    table = plan(["htlnet", "mmoe", *references]).tables[0]
    text = table_markdown(table, {**RECORDS, **references}, SCHEMA)
    click, spend = (
        [[cell.strip() for cell in line.split("|")[1:3]] for line in part.splitlines() if line.startswith("|")][2:]
        for part in text.split("### ")[1:3]
    )
    # Of click there is but one reference, whose differences from HTLNet are 0.05 and 0.07: t = 6, p = 0.105.
    assert click == [
        ["*references*", ""],
        ["glm", "0.7000 ± 0.0000"],
        ["*models*", ""],
        ["htlnet", "**0.7600 ± 0.0141** †"],
        ["mmoe", "0.7300 ± 0.0141"],
        ["p", "< 0.001"],
        ["p, references", "0.105"],
    ]
    # HTLNet has 0.9 in both: all differences from the best reference are 0.2.
    assert spend[:4] == [
        ["*references*", ""],
        ["glm", "1.1000 ± 0.0000"],
        ["lightgbm@poisson", "**0.7000 ± 0.0000** ‡"],
        ["lightgbm@tweedie", "0.9500 ± 0.0000"],
    ]
    assert spend[-2:] == [["p", "0.070"], ["p, references", "< 0.001"]]
    cost = text.split("### Cost")[1]
    assert "| lightgbm@poisson |            1,234,567 |                 2 |        - |" in cost
    told = legend(2, tested=True, references=references)
    assert "‡: likewise against the best reference" in told and "what one would take instead" in told
    assert "‡" not in legend(2, tested=True)
    assert "references see little" not in told
    assert "of user_id, which have" in legend(1, tested=False, references=references, without_means=["user_id"])


def test_one_seed_has_no_spread_and_no_test() -> None:
    records = {name: runs[:1] for name, runs in RECORDS.items() if name != "ple"}
    text = table_markdown(plan(["htlnet", "mmoe"]).tables[0], records, SCHEMA)
    assert "±" not in text
    assert not any(line.startswith("| p ") for line in text.splitlines())
    assert "±" not in legend(1, tested=False)


def test_a_record_survives_its_file(tmp_path: object) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path))
    for run in (RECORDS["htlnet"][0], RECORDS["ple"][1]):
        (folder / "run.json").write_text(run.to_json(), encoding="utf-8")
        assert RunRecord.load(folder, SCHEMA) == run
    # One of a version that did not tell all its seconds.
    old = json.loads(RECORDS["htlnet"][0].to_json())
    del old["training_seconds"]
    (folder / "run.json").write_text(json.dumps(old), encoding="utf-8")
    assert RunRecord.load(folder, SCHEMA) == RECORDS["htlnet"][0]
    assert isinstance(runs_table(RECORDS), pd.DataFrame)
