"""`htlnet gate`: two runs' models on the rows of a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf.runs.gate import gate_settings
from tests.conftest import htlnet, small_frame

FEW = ("--set", "gate.resamples=40")
ORDER = ("--set", "gate.margins={level: 100, calibration_error: 100, logloss: 100}")  # of models that were not trained


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gated")


@pytest.fixture
def runs(folder: Path, reused_model: Callable[..., Any]) -> tuple[Path, Path]:
    """A model, and one that says the opposite of every step; with `rows.parquet`, whose order is as the first says."""
    if not (folder / "rows.parquet").exists():
        model = reused_model()
        htl.save_run(model, folder / "good")
        rows = small_frame(1000, seed=3)
        scores = htl.predict(model, rows)
        random = np.random.default_rng(0)
        steps = {name: scores[name] + random.normal(0, scores[name].std(), len(rows)) for name in ("click", "buy")}
        steps = {name: (values > values.median()).astype(int) for name, values in steps.items()}
        for tower in model.towers[:2]:
            kernel, bias = tower.head.weights
            kernel.assign(-kernel)
            bias.assign(-bias)
        htl.save_run(model, folder / "bad")
        rows.assign(**steps, spend=scores["spend"]).to_parquet(folder / "rows.parquet")
    return folder / "good", folder / "bad"


def test_the_command(runs: tuple[Path, Path], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = map(str, runs)
    data = ("--data", str(folder / "rows.parquet"))
    assert htlnet("gate", good, "--against", bad, *data, *FEW, *ORDER) == 0
    assert "no metric is worse" in capsys.readouterr().out
    assert htlnet("gate", bad, "--against", good, *data, *FEW, "--json") == 1
    document = json.loads(capsys.readouterr().out)
    assert "click auc" in document["failed"]
    stable = next(m["stable"] for m in document["metrics"] if (m["target"], m["metric"]) == ("click", "auc"))
    rows = pd.read_parquet(folder / "rows.parquet")
    assert stable == pytest.approx(htl.evaluate(htl.load_run(good).model, rows).value("click", "auc"))
    assert htlnet("gate", bad, "--against", good, "--data", str(folder / "none.parquet")) == 2
    assert htlnet("gate", bad, "--against", good, *data, "--set", "training.epochs=1") == 2
    # A frame gives the same as its file.
    report = htl.gate(good, bad, rows, changes=[FEW[1], ORDER[1]])
    assert report.ok
    assert {v.metric: v.new for v in report.verdicts if v.target == "click"}["auc"] == pytest.approx(stable)


def test_labels_have_to_be_right(runs: tuple[Path, Path], tmp_path: Path) -> None:
    rows = small_frame(100)
    with pytest.raises(htl.InputError, match="they need labels"):
        htl.gate(*runs, rows.assign(click=np.nan, buy=np.nan, spend=np.nan))
    pd.concat([rows, rows.assign(click=7)]).to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(htl.InputError, match=r"rows\.csv, column 'click', row 100"):
        htl.gate(*runs, tmp_path / "rows.csv")


def test_settings_by_the_command_line() -> None:
    settings = gate_settings(["gate.margins.auc=0.5", "gate.strict=true"])
    assert (settings.margins, settings.strict) == ({"auc": 0.5}, True)
    with pytest.raises(htl.InputError, match="there is no such field"):
        gate_settings(["gate.margin=1"])
    with pytest.raises(htl.InputError, match="settings of the gate are such as"):
        gate_settings(["margins.auc=1"])
