"""References in a comparison: runs, tables and pictures, stopped and gone on with, and what is refused."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
import tensorflow as tf

import htlnet_tf as htl
from htlnet_tf.comparison import compare, reference_runs, reference_tuning, workers
from htlnet_tf.comparison.protocol import Comparison
from htlnet_tf.comparison.variants import variant
from htlnet_tf.judging.references import REFERENCES, BoostedTrees
from htlnet_tf.runs.config import ModelConfig, RunConfig
from tests.conftest import small_frame

pytestmark = pytest.mark.usefixtures("undrawn")

SMALL = """
data: {loader: generated, num_rows: 2000}
training: {epochs: 1, batch_size: 512}
"""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """For rows as few as these, threads wait for one another."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.config.threading, "get_intra_op_parallelism_threads", lambda: 1)
        yield


def small(folder: Path, text: str = SMALL) -> RunConfig:
    path = folder / "small.yaml"
    path.write_text(text)
    return RunConfig.from_yaml(path)


@pytest.fixture(scope="module")
def made(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Comparison, RunConfig]]:
    """All references with two seeds, and no model."""
    folder = tmp_path_factory.mktemp("references")
    config = small(folder)
    comparison = compare(config, [], [0, 1], folder / "out", references=True, write=lambda _: None)
    yield folder / "out", comparison, config


def test_references_are_runs_like_others(made: tuple[Path, Comparison, RunConfig]) -> None:
    output, comparison, _ = made
    assert list(comparison.records) == list(REFERENCES)
    runs = pd.read_csv(output / "runs.csv").set_index(["variant", "seed"])
    assert len(runs) == 2 * len(REFERENCES)
    # Those that have the core alone say nothing of the steps.
    assert runs["click/auc"].notna().groupby("variant").all().to_dict() == {
        name: "@" not in name for name in REFERENCES
    }
    assert runs["spend/regret"].notna().all()
    assert (runs["training_seconds"] > 0).all()
    # A linear model draws nothing, trees do.
    for name in REFERENCES:
        assert (runs.loc[(name, 0), "spend/nrmse"] == runs.loc[(name, 1), "spend/nrmse"]) == (name == "glm")
    record = json.loads((output / "runs" / "lightgbm@poisson" / "seed_1" / "run.json").read_text())
    assert record["versions"]["lightgbm"]
    assert record["settings"]["model"]["arguments"] == REFERENCES["lightgbm"].defaults
    calibration = pd.read_csv(output / "runs" / "lightgbm@poisson" / "seed_1" / "calibration.csv")
    assert set(calibration["target"]) == {"spend"}


def test_tables_and_pictures_have_them_as_a_group(made: tuple[Path, Comparison, RunConfig]) -> None:
    output, comparison, _ = made
    click, _, spend = (part.splitlines() for part in comparison.text.split("\n### ")[1:4])
    labels = [[line.split("|")[1].strip() for line in part if line.startswith("|")][2:] for part in (click, spend)]
    assert labels[0] == ["oracle", "mean", "*references*", "glm", "lightgbm"]
    assert labels[1] == ["oracle", "mean", "zero", "*references*", *REFERENCES]
    assert "leaves, coefficients" in comparison.text and "s / epoch" not in comparison.text
    assert "references: what one would take instead" in comparison.text
    assert {path.name for path in output.glob("*.png")} == {"metrics_models.png", "calibration_references.png"}
    assert not (output / "significance.csv").exists()  # there is no HTLNet


def test_only_missing_seeds_and_variants_are_made(
    made: tuple[Path, Comparison, RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    output, comparison, config = made
    asked: list[tuple[str, int]] = []
    whole = workers.make_reference_run

    def counted(job: Any, *arguments: Any, **options: Any) -> Any:
        asked.append((job.variant, job.seed))
        return whole(job, *arguments, **options)

    monkeypatch.setattr(workers, "make_reference_run", counted)
    again = compare(config, [], [0, 1], output, references=True, write=lambda _: None)
    assert again.text == comparison.text and not asked
    compare(config, ["lightgbm@tweedie"], [0, 1, 2], output, write=lambda _: None)
    assert asked == [("lightgbm@tweedie", 2)]


def test_other_settings_are_another_run(
    made: tuple[Path, Comparison, RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    output, _, config = made
    monkeypatch.setattr(BoostedTrees, "defaults", {**REFERENCES["lightgbm"].defaults, "num_leaves": 7})
    with pytest.raises(htl.InputError, match=r"model.arguments.num_leaves is 31 there, 7 here"):
        compare(config, ["lightgbm"], [0], output, write=lambda _: None)


def test_what_cannot_be_fitted_is_told_before_rows_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small(tmp_path)
    streamed = dataclasses.replace(config, data=dataclasses.replace(config.data, loader="generic", streaming=True))
    with pytest.raises(htl.InputError, match="'glm' is fitted on encoded rows in memory, but"):
        compare(streamed, ["mmoe"], [0], tmp_path / "out", references=True)
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "lightgbm" else find_spec(name))
    with pytest.raises(htl.InputError, match=r"needs lightgbm: pip install 'htlnet-tf\[references\]'"):
        compare(config, ["mmoe"], [0], tmp_path / "out", references=True)
    reference_runs.require_possible(["glm"], config)
    assert not (tmp_path / "out").exists()


def test_a_core_that_may_be_negative(tmp_path: Path) -> None:
    config = small(tmp_path)
    schema = htl.data.generate_funnel(1000).schema
    core = dataclasses.replace(schema.core, non_negative=False)
    config = dataclasses.replace(config, schema=schema.with_targets((*schema.targets[:-1], core)))
    with pytest.raises(
        htl.InputError, match="'lightgbm@poisson' is not for these rows: target 'spend' may be negative"
    ):
        compare(config, ["lightgbm@poisson"], [0], tmp_path / "out", write=lambda _: None)
    lines: list[str] = []
    comparison = compare(config, [], [0], tmp_path / "out", references=True, write=lines.append)
    assert list(comparison.records) == ["glm", "lightgbm"]
    assert "the reference 'lightgbm@two_part' is left out: target 'spend' may be negative" in lines


def test_processes_share_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: tuple[Path, Comparison, RunConfig]
) -> None:
    threads: list[int] = []
    whole = BoostedTrees.fit

    def fit(self: BoostedTrees, *arguments: Any, **options: Any) -> Any:
        threads.append(options["threads"])
        return whole(self, *arguments, **options | {"threads": 1})

    monkeypatch.setattr(BoostedTrees, "fit", fit)
    compare(made[2], ["lightgbm@tweedie"], [0], tmp_path / "share", write=lambda _: None)
    # Of a process of its own TensorFlow is told its share, see htlnet_tf.comparison.workers; else it has all of them.
    monkeypatch.setattr(tf.config.threading, "get_intra_op_parallelism_threads", lambda: 0)
    monkeypatch.setattr(reference_runs.cores, "count", lambda: 2)
    compare(made[2], ["lightgbm@tweedie"], [0], tmp_path / "all", write=lambda _: None)
    assert threads == [1, 2]


def test_test_rows_in_files(tmp_path: Path, schema: htl.Schema) -> None:
    """The test rows of files are a stream, whose frames are scored one by one."""
    small_frame(600).to_csv(tmp_path / "rows.csv", index=False)
    schema.to_yaml(tmp_path / "schema.yaml")
    config = small(tmp_path, "data: {loader: generic, path: rows.csv}\nschema: schema.yaml\n")
    comparison = compare(config, ["glm"], [0], tmp_path / "out", write=lambda _: None)
    assert comparison.reports("glm")[0].num_rows == 60
    assert comparison.reports("glm")[0].value("spend", "level") == pytest.approx(1.0, abs=0.5)


def test_as_many_trials_as_models_have(tmp_path: Path, made: tuple[Path, Comparison, RunConfig]) -> None:
    comparison = compare(made[2], ["glm"], [0], tmp_path / "out", tune=3, write=lambda _: None)
    trials = pd.read_csv(tmp_path / "out" / "tuning" / "glm.csv")
    assert len(trials) == 3
    assert trials["params_alpha"].iloc[0] == pytest.approx(REFERENCES["glm"].defaults["alpha"])
    best = trials.loc[trials["value"].idxmin(), "params_alpha"]
    assert comparison.records["glm"][0].settings["model"]["arguments"]["alpha"] == pytest.approx(best)
    assert "Tuned on the validation rows:\n- glm: alpha " in comparison.text


@pytest.mark.parametrize("name", REFERENCES)
def test_what_is_searched_begins_with_the_defaults(name: str) -> None:
    model = variant(name, ModelConfig())
    defaults = reference_tuning.reference_defaults(model)
    assert defaults.items() <= REFERENCES[name].defaults.items()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial(defaults)
    trial = study.ask()
    assert reference_tuning.reference_settings(trial, model).arguments == pytest.approx(dict(model.arguments))
    other = reference_tuning.reference_settings(study.ask(), model)
    assert other.arguments.keys() == model.arguments.keys() and other.arguments != model.arguments
