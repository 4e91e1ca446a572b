"""The comparison of days runs whole, on few rows; how good and how fast anything is, is measured elsewhere."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from htlnet_tf.benchmarks import days
from htlnet_tf.errors import InputError
from htlnet_tf.runs.config import RunConfig, load_rows

SMALL = """
data: {loader: generated, num_rows: 12000}
model: {name: shared_bottom, arguments: {tower_units: [4], embedding_dim: 2}}
training: {epochs: 1, batch_size: 512}
"""


def config(tmp_path: Path) -> RunConfig:
    (tmp_path / "small.yaml").write_text(SMALL)
    return RunConfig.from_yaml(tmp_path / "small.yaml")


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_every_model_predicts_every_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = days._write_days
    few: Any = lambda *arguments: write(*arguments)[:4]  # noqa: E731
    monkeypatch.setattr(days, "_write_days", few)
    # The schema of generated rows is not in their configuration, and days are read as files.
    run = config(tmp_path)
    run = dataclasses.replace(run, schema=load_rows(run).schema)
    cases = days.compare_days(run, output=tmp_path / "out", first=2, write=lambda _: None)
    assert {(case.model, case.day) for case in cases} == {
        (model, day) for model in ("left alone", "updated", "trained anew") for day in (3, 4)
    }
    by_model = {case.model: case.report.value("click", "auc") for case in cases if case.day == 3}
    assert len(set(by_model.values())) == 1  # on the first day they are one and the same
    assert len(json.loads((tmp_path / "out" / "days.json").read_text())) == 6
    assert days.to_text(cases).count("updated") == 2


def test_days_behind_the_first_are_needed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none is left"):
        days.compare_days(config(tmp_path), output=tmp_path / "out", first=40)
