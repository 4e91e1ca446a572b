"""Runs of several comparisons side by side."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf.comparison import across_conditions


def test_a_row_per_run_and_target(tmp_path: Path) -> None:
    for name, regret in (("weak", 0.1), ("strong", 0.2)):
        (tmp_path / name).mkdir()
        runs = {"variant": ["htlnet", "ple"], "seed": [0, 0], "click/regret": [regret, None], "click/auc": [0.7, 0.7]}
        pd.DataFrame(runs).to_csv(tmp_path / name / "runs.csv", index=False)
    rows = across_conditions({"0": tmp_path / "weak", "1": tmp_path / "strong"})
    # A run that diverged has no metrics.
    assert rows.to_numpy().tolist() == [["0", "htlnet", 0, "click", 0.1], ["1", "htlnet", 0, "click", 0.2]]
    with pytest.raises(htl.InputError, match="has the metric 'gini'"):
        across_conditions({"0": tmp_path / "weak"}, "gini")
    with pytest.raises(htl.InputError, match=r"cannot read '.*runs\.csv'"):
        across_conditions({"0": tmp_path / "none"})
