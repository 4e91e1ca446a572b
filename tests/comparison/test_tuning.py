"""The search of settings on the validation rows."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf.comparison import compare, tuning
from htlnet_tf.comparison.folder import Folder
from htlnet_tf.comparison.variants import variant
from htlnet_tf.runs.config import ModelConfig, RunConfig
from htlnet_tf.runs.trained import Trained

pytestmark = pytest.mark.usefixtures("undrawn")  # pictures of comparisons are for test_protocol.py

SMALL = """
data: {loader: generated, num_rows: 2000}
model: {name: htlnet}
training: {epochs: 1, batch_size: 512}
"""


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    (tmp_path / "small.yaml").write_text(SMALL)
    return RunConfig.from_yaml(tmp_path / "small.yaml")


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[RunConfig]:
    """What was trained: a stand-in whose loss is |log10(learning rate) + 2.8| and which diverges at half width."""
    asked: list[RunConfig] = []

    def train_model(config: RunConfig, *_: Any, **__: Any) -> Trained:
        asked.append(config)
        if widest(config) < 128:
            raise htl.NonFiniteError("target 'spend': loss inf")
        loss = abs(math.log10(config.training.learning_rate) + 2.8)
        history = {"val_relative_loss": [loss + 1.0, loss, loss + 0.5]}
        return Trained(None, config.training.seed, history, {}, 2, [])  # type: ignore[arg-type]

    monkeypatch.setattr(tuning, "train_model", train_model)
    return asked


def widest(config: RunConfig) -> int:
    return max(units[0] for name, units in config.model.arguments.items() if name.endswith("_units"))


def tune(config: RunConfig, folder: Path, variants: dict[str, ModelConfig], trials: int) -> dict[str, tuning.Tuned]:
    folder.mkdir(exist_ok=True)
    prepared: Any = object()  # the stand-in looks at no rows
    return tuning.tune_variants(config, variants, prepared, Folder(folder), trials=trials, jobs=1, write=lambda _: None)


def test_the_first_trial_has_the_defaults_and_the_best_is_taken(
    config: RunConfig, tmp_path: Path, tried: list[RunConfig]
) -> None:
    base = ModelConfig("htlnet", {"gradient_adjustment": {"gamma": 0.3}})
    tuned = tune(config, tmp_path / "out", {"htlnet": base}, 6)["htlnet"]
    assert len(tried) == tuned.trials == 6
    assert tried[0].training.learning_rate == pytest.approx(1e-3)
    assert tried[0].model.arguments["tower_units"] == [128, 64, 32]
    # The configuration's own gamma is where the search starts, and the paper's alpha and C.
    assert tried[0].model.arguments["gradient_adjustment"] == {
        "name": "htlnet",
        "alpha": 1.0,
        "gamma": 0.3,
        "clip": 100.0,
    }
    trials = pd.read_csv(tmp_path / "out" / "tuning" / "htlnet.csv")
    assert tuned.value == trials["value"].min()
    finite = [c for c in tried if widest(c) >= 128]
    best = min(finite, key=lambda c: abs(math.log10(c.training.learning_rate) + 2.8))
    assert tuned.learning_rate == pytest.approx(best.training.learning_rate)
    assert tuned.model.arguments == best.model.arguments
    job = tuned.job(config, "htlnet", 7)
    assert (job.config.training.seed, job.config.training.learning_rate) == (7, tuned.learning_rate)


def test_a_stopped_search_goes_on_and_no_trial_is_repeated(
    config: RunConfig, tmp_path: Path, tried: list[RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    variants = {"mmoe": variant("mmoe", ModelConfig())}
    whole = tuning.train_model

    def killed_at_the_fourth(*arguments: Any, **options: Any) -> Trained:
        if len(tried) == 3:
            raise KeyboardInterrupt
        return whole(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(tuning, "train_model", killed_at_the_fourth)
        with pytest.raises(KeyboardInterrupt):
            tune(config, tmp_path / "out", variants, 5)
    tuned = tune(config, tmp_path / "out", variants, 5)["mmoe"]
    assert len(tried) == tuned.trials == 5
    assert len({c.training.learning_rate for c in tried}) == 5
    tune(config, tmp_path / "out", variants, 5)
    assert len(tried) == 5


def test_the_configured_settings_are_tried_though_the_first_trial_was_killed(
    config: RunConfig, tmp_path: Path, tried: list[RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any, **__: Any) -> Trained:
        raise KeyboardInterrupt

    variants = {"mmoe": variant("mmoe", ModelConfig())}
    with monkeypatch.context() as patch:
        patch.setattr(tuning, "train_model", killed)
        with pytest.raises(KeyboardInterrupt):
            tune(config, tmp_path / "out", variants, 2)
    tune(config, tmp_path / "out", variants, 2)
    assert len(tried) == 2
    assert tried[0].training.learning_rate == pytest.approx(1e-3)
    assert tried[0].model.arguments["expert_units"] == [128]


def test_another_search_is_refused_before_any_trial(config: RunConfig, tmp_path: Path, tried: list[RunConfig]) -> None:
    variants = {"mmoe": variant("mmoe", ModelConfig())}
    tune(config, tmp_path / "out", variants, 2)
    other = dataclasses.replace(config, training=dataclasses.replace(config.training, seed=5))
    for changed, trials, message in ((config, 3, "trials is 2 there, 3 here"), (other, 2, "training.seed is 0 there")):
        with pytest.raises(htl.InputError, match=message):
            tune(changed, tmp_path / "out", variants, trials)
    with pytest.raises(htl.InputError, match=r"model\.arguments\.num_experts"):
        tune(config, tmp_path / "out", {"mmoe": ModelConfig("mmoe", {"num_experts": 2})}, 2)
    assert len(tried) == 2


@pytest.mark.parametrize(
    ("name", "searched"),
    [
        ("mmoe", {"learning_rate", "width"}),
        ("htlnet", {"learning_rate", "width", "alpha", "gamma", "clip"}),
        ("htlnet+sum", {"learning_rate", "width"}),
        ("htlnet+uncertainty", {"learning_rate", "width"}),
        ("htlnet-architecture", {"learning_rate", "width", "alpha", "gamma", "clip"}),
        ("mmoe+metabalance", {"learning_rate", "width", "relax"}),
        ("ple+cagrad", {"learning_rate", "width", "c"}),
    ],
)
def test_what_is_searched(name: str, searched: set[str], schema: htl.Schema, encoder: htl.FeatureEncoder) -> None:
    from htlnet_tf.runs.building import build_model
    from htlnet_tf.runs.config import DataConfig

    model = variant(name, ModelConfig())
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    config = RunConfig(DataConfig("generated"))
    study.enqueue_trial(tuning._defaults(config, model) | {"width": 0.5})
    trial = study.ask()
    chosen, learning_rate = tuning._settings(trial, config, model)
    assert set(trial.params) == searched
    assert learning_rate == pytest.approx(1e-3)
    widths = {name: units for name, units in chosen.arguments.items() if name.endswith("_units")}
    assert [64, 32, 16][: len(widths[min(widths)])] == widths[min(widths)]  # half of 128, 64, 32
    assert chosen.arguments.get("fusion_width") == (32 if chosen.name == "htlnet" else None)
    build_model(dataclasses.replace(config, model=chosen), schema, encoder)


def test_the_published_form_keeps_its_guard(schema: htl.Schema, encoder: htl.FeatureEncoder) -> None:
    from htlnet_tf.runs.building import build_model
    from htlnet_tf.runs.config import DataConfig

    model = ModelConfig("htlnet", {"paper": True})
    config = RunConfig(DataConfig("generated"))
    trial = optuna.trial.FixedTrial(tuning._defaults(config, model))
    chosen, _ = tuning._settings(trial, config, model)
    adjustment = build_model(dataclasses.replace(config, model=chosen), schema, encoder).gradient_adjustment
    assert not adjustment.relative_clip


def test_a_variant_is_searched_with_its_objective(config: RunConfig, tmp_path: Path, tried: list[RunConfig]) -> None:
    variants = {name: variant(name, ModelConfig()) for name in ("htlnet", "htlnet@ziln")}
    tune(config, tmp_path / "tuned", variants, trials=1)
    assert [asked.objective for asked in tried] == [None, "ziln"]


def test_no_finite_trial_is_an_error(config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverge(*_: Any, **__: Any) -> Trained:
        raise htl.NonFiniteError("target 'spend': loss inf")

    monkeypatch.setattr(tuning, "train_model", diverge)
    with pytest.raises(htl.InputError, match="none of the 2 trials of mmoe"):
        tune(config, tmp_path / "out", {"mmoe": ModelConfig("mmoe")}, 2)


def test_tuned_settings_are_those_of_the_runs(config: RunConfig, tmp_path: Path) -> None:
    comparison = compare(config, ["shared_bottom"], [0], tmp_path / "out", tune=2, write=lambda _: None)
    record = comparison.records["shared_bottom"][0]
    trials = pd.read_csv(tmp_path / "out" / "tuning" / "shared_bottom.csv")
    best = trials.loc[trials["value"].idxmin()]
    assert record.settings["training"]["learning_rate"] == pytest.approx(best["params_learning_rate"])
    assert "Tuned on the validation rows:\n- shared_bottom: " in comparison.text
    # Runs that were tuned and runs that were not do not stand in one folder.
    with pytest.raises(htl.InputError, match="other settings"):
        compare(config, ["shared_bottom"], [0], tmp_path / "out", write=lambda _: None)
    assert dataclasses.is_dataclass(record)
