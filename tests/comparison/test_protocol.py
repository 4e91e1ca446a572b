"""A comparison from the configuration to the tables, stopped and gone on with."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf.comparison import compare, workers
from htlnet_tf.comparison import runs as runs_module
from htlnet_tf.comparison.folder import Folder
from htlnet_tf.comparison.runs import Job, RunRecord
from htlnet_tf.runs.config import RunConfig

# What a module's fixture makes has its pictures; those of the tests' own runs are never looked at.
pytestmark = pytest.mark.usefixtures("undrawn")

SMALL = """
data: {loader: generated, num_rows: 4000}
model: {name: htlnet, arguments: {tower_units: [16, 8]}}
training: {epochs: 1, batch_size: 512, validations_per_epoch: 2}
"""


def small(folder: Path, text: str = SMALL) -> RunConfig:
    path = folder / "small.yaml"
    path.write_text(text)
    return RunConfig.from_yaml(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Any, RunConfig]]:
    """Two models with two seeds."""
    folder = tmp_path_factory.mktemp("comparison")
    config = small(folder)
    output = folder / "out"
    yield output, compare(config, ["htlnet", "shared_bottom"], [0, 1], output, write=lambda _: None), config


def test_the_folder_has_tables_runs_and_pictures(made: tuple[Path, Any, RunConfig]) -> None:
    output, comparison, _ = made
    assert {path.name for path in output.iterdir()} == {
        *("comparison.yaml", "data.json", "versions.json", "split.yaml", "out_of_vocabulary.csv", "oracle.json"),
        *("results.md", "runs.csv", "summary.csv", "significance.csv", "runs", "extra", ".lock"),
        *("metrics_models.png", "calibration_models.png", "gradients.png", "attention.png"),
        *("report.html", "page.json"),
    }
    runs = pd.read_csv(output / "runs.csv")
    assert runs[["variant", "seed"]].to_numpy().tolist() == [
        *(["htlnet", 0], ["htlnet", 1], ["shared_bottom", 0], ["shared_bottom", 1])
    ]
    assert {"click/group_auc", "spend/xauc", "spend/regret", "seconds_per_epoch"} <= set(runs)
    results = (output / "results.md").read_text().strip()
    assert results.endswith(comparison.text)
    heading = results.removesuffix(comparison.text)
    assert "3,200 rows to train, 11 features; split by time (`split.yaml`). Batches of 512" in heading
    assert "Seeds 0, 1. Made with htlnet_tf " in heading
    # The oracle's regret is 0, and it is the model's measure on the same rows.
    assert json.loads((output / "oracle.json").read_text())["num_rows"] == 400
    assert (runs["purchase/regret"] > 0).all()
    # HTLNet without its adjustment is run once for the picture of the gradients, and stands in no table.
    assert {path.name for path in (output / "runs").iterdir()} == {"htlnet", "shared_bottom"}
    assert [path.name for path in (output / "extra").iterdir()] == ["htlnet+sum"]
    assert set(pd.read_csv(output / "summary.csv")["table"]) == {"models"}
    assert "htlnet+sum" not in comparison.text


def test_the_same_command_repeats_nothing(made: tuple[Path, Any, RunConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    output, comparison, config = made
    monkeypatch.setattr(workers, "make_run", _refuse)
    lines: list[str] = []
    again = compare(config, ["htlnet", "shared_bottom"], [0, 1], output, write=lines.append)
    assert again.text == comparison.text
    assert any("5 of 5 runs are in" in line for line in lines)
    # Fewer models are a smaller table from the same runs.
    fewer = compare(config, ["shared_bottom"], [0], output, write=lines.append)
    assert list(fewer.records) == ["shared_bottom"]


def test_after_a_stop_only_the_missing_runs_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []

    def until_the_third(job: Job, prepared: Any, root: Path, **_: Any) -> RunRecord:
        asked.append((job.variant, job.seed))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return pretend(job, prepared, root)

    monkeypatch.setattr(workers, "make_run", until_the_third)
    config, models, output = small(tmp_path), ["shared_bottom", "mmoe"], tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        compare(config, models, [0, 1], output, write=lambda _: None)
    assert not (output / "results.md").exists()
    compare(config, models, [0, 1], output, write=lambda _: None)
    assert (output / "results.md").exists()
    first = [("shared_bottom", 0), ("mmoe", 0), ("shared_bottom", 1)]
    assert asked == [*first, ("shared_bottom", 1), ("mmoe", 1)]


def test_a_run_can_be_made_again_from_its_configuration(made: tuple[Path, Any, RunConfig]) -> None:
    output, _, config = made
    again = RunConfig.from_yaml(output / "runs" / "shared_bottom" / "seed_1" / "config.yaml")
    assert (again.model.name, again.training.seed) == ("shared_bottom", 1)
    assert dataclasses.replace(again, model=config.model, training=config.training) == config


def test_two_processes_do_not_make_the_same_runs(made: tuple[Path, Any, RunConfig]) -> None:
    output, _, config = made
    with Folder(output).locked():
        for overwrite in (False, True):
            with pytest.raises(htl.InputError, match="another process is at work"):
                compare(config, ["htlnet"], [0], output, overwrite=overwrite, write=lambda _: None)
    assert (output / "runs" / "htlnet").is_dir()


def test_what_a_killed_process_left_half_written_is_removed(made: tuple[Path, Any, RunConfig]) -> None:
    output, _, config = made
    half = output / "runs" / "htlnet" / ".seed_7.abc.partial"
    half.mkdir()
    compare(config, ["htlnet", "shared_bottom"], [0, 1], output, write=lambda _: None)
    assert not half.exists()


def test_a_setting_that_is_newer_than_the_folder_has_its_default_there(made: tuple[Path, Any, RunConfig]) -> None:
    output, _, config = made
    for path in (output / "runs" / "shared_bottom").glob("*/run.json"):
        document = json.loads(path.read_text())
        del document["settings"]["training"]["early_stopping"]
        path.write_text(json.dumps(document))
    whole = (output / "comparison.yaml").read_text()
    assert "early_stopping: true" in whole
    (output / "comparison.yaml").write_text(whole.replace("early_stopping: true,", ""))
    assert "early_stopping" not in (output / "comparison.yaml").read_text()
    compare(config, ["shared_bottom"], [0, 1], output, write=lambda _: None)


def test_overwriting_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, output = small(tmp_path), tmp_path / "out"
    monkeypatch.setattr(workers, "make_run", pretend)
    compare(config, ["mmoe", "ple"], [0], output, write=lambda _: None)
    other = dataclasses.replace(config, training=dataclasses.replace(config.training, batch_size=64))
    compare(other, ["ple"], [0], output, overwrite=True, write=lambda _: None)
    assert [path.name for path in (output / "runs").iterdir()] == ["ple"]
    assert RunConfig.from_yaml(output / "comparison.yaml").training.batch_size == 64


def test_other_settings_are_refused(made: tuple[Path, Any, RunConfig]) -> None:
    output, _, config = made
    other = dataclasses.replace(config, training=dataclasses.replace(config.training, learning_rate=0.01))
    with pytest.raises(htl.InputError, match=r"training.learning_rate is 0.001 there, 0.01 here"):
        compare(other, ["htlnet"], [0], output)
    wider = dataclasses.replace(config, model=dataclasses.replace(config.model, arguments={"tower_units": [8]}))
    with pytest.raises(htl.InputError, match=r"seed_0' was made with other settings: model.arguments.tower_units"):
        compare(wider, ["htlnet"], [0], output, write=lambda _: None)
    more = dataclasses.replace(config, data=dataclasses.replace(config.data, seed=1))
    with pytest.raises(htl.InputError, match=r"data.seed is 0 there, 1 here"):
        compare(more, ["htlnet"], [0], output)


def test_other_rows_are_refused(made: tuple[Path, Any, RunConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    from htlnet_tf.data import synthetic

    output, _, config = made
    shop = synthetic.generate_funnel(4000, seed=3)
    monkeypatch.setattr(synthetic, "generate_funnel", lambda *_, **__: shop)
    with pytest.raises(htl.InputError, match="were made with other rows"):
        compare(config, ["htlnet"], [0], output, write=lambda _: None)


def test_a_damaged_record_is_named(made: tuple[Path, Any, RunConfig]) -> None:
    output, _, config = made
    record = output / "runs" / "shared_bottom" / "seed_1" / "run.json"
    whole = record.read_text()
    record.write_text(whole[: len(whole) // 2])
    try:
        with pytest.raises(htl.InputError, match=r"seed_1/run.json' is damaged .*; remove its folder"):
            compare(config, ["shared_bottom"], [0, 1], output, write=lambda _: None)
    finally:
        record.write_text(whole)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(htl.InputError, match="is no comparison"):
            compare(small(tmp_path), ["htlnet"], [0], tmp_path / "run", overwrite=overwrite)
    assert (tmp_path / "run" / "config.yaml").read_text() == "precious"
    with pytest.raises(htl.InputError, match="is a file"):
        compare(small(tmp_path), ["htlnet"], [0], tmp_path / "run" / "config.yaml")


def test_a_run_that_diverges_does_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = runs_module.fit

    def fit(config: RunConfig, *arguments: Any, **options: Any) -> Any:
        if config.model.name == "mmoe":
            raise htl.NonFiniteError("target 'spend': loss inf")
        return whole(config, *arguments, **options)

    monkeypatch.setattr(runs_module, "fit", fit)
    comparison = compare(small(tmp_path), ["mmoe", "shared_bottom"], [0], tmp_path / "out", write=lambda _: None)
    assert "mmoe: 1 of 1 runs diverged" in comparison.text
    assert len(comparison.reports("shared_bottom")) == 1
    assert comparison.reports("mmoe") == []


@pytest.mark.slow  # two processes that import TensorFlow and trace
def test_side_by_side_is_the_same(made: tuple[Path, Any, RunConfig], tmp_path: Path) -> None:
    _, comparison, config = made
    parallel = compare(config, ["shared_bottom"], [0, 1], tmp_path / "out", jobs=2, write=lambda _: None)
    for one, two in zip(comparison.reports("shared_bottom"), parallel.reports("shared_bottom"), strict=True):
        # Sums of floats in another order.
        assert two.value("click", "logloss") == pytest.approx(one.value("click", "logloss"), rel=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": []}, "at least one seed"),
        ({"seeds": [0, 0]}, "each once"),
        ({"jobs": 0}, "jobs must be at least 1"),
        ({"tune": -1}, "tune not negative"),
    ],
)
def test_wrong_numbers(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(htl.InputError, match=message):
        compare(small(tmp_path), ["mmoe"], **({"seeds": [0]} | options), output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def pretend(job: Job, _: Any, root: Path, **__: Any) -> RunRecord:
    record = RunRecord(job.variant, job.seed, job.settings, 1, 1.0, 1.0, 1.0, {}, None, "pretended")
    (root / job.folder).mkdir(parents=True)
    (root / job.folder / "run.json").write_text(record.to_json())
    return record


def _refuse(job: Job, *_: Any, **__: Any) -> RunRecord:
    raise AssertionError(f"{job.variant} was run again")
