"""Configurations and run folders."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import htlnet_tf as htl
from htlnet_tf.data.split_config import RandomSplit
from htlnet_tf.data.synthetic import generate_funnel
from htlnet_tf.files import atomic_directory, atomic_file
from htlnet_tf.manifest import record
from htlnet_tf.runs.building import build_model
from htlnet_tf.runs.callbacks import KeepBest, ProgressLines
from htlnet_tf.runs.config import DataConfig, RunConfig, ScheduleConfig, find_config, load_rows, shipped
from htlnet_tf.runs.exporting import export_run
from htlnet_tf.runs.folder import Run, load_held_out, load_model
from htlnet_tf.runs.preparation import prepare
from htlnet_tf.runs.training import load_test_rows, train, train_model

# What a module's fixture makes has its pictures; those of the tests' own runs are never looked at.
pytestmark = pytest.mark.usefixtures("undrawn")

# A model that is traced in half of HTLNet's time: which one it is, is nothing to these tests.
SMALL = """
data: {loader: generated, num_rows: 4000}
model:
  name: shared_bottom
  arguments: {tower_units: [16, 8], gradient_adjustment: {gamma: 0.2}, gradient_metrics: true}
training: {epochs: 2, batch_size: 256}
"""


def config(tmp_path: Path, text: str = SMALL) -> RunConfig:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return RunConfig.from_yaml(path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path, list[str]]:
    """A run, its folder, and the lines of its progress; tests that damage the folder take a copy."""
    folder = tmp_path_factory.mktemp("trained")
    lines: list[str] = []
    return train(config(folder), folder / "run", write=lines.append), folder / "run", lines


def test_a_run_folder_starts_evaluate_and_export(trained: tuple[Run, Path, list[str]], tmp_path: Path) -> None:
    run, folder, lines = trained
    files = {p.name for p in folder.iterdir()}
    assert files == {
        "config.yaml",
        "encoder.json",
        "weights",
        "history.csv",
        "metrics.json",
        "held_out.parquet",
        "reference_train.parquet",
        "reference_valid.parquet",
        "learning_curves.png",
        "calibration.png",
        "report.html",
        "page.json",
        "gradient_history.csv",
        "gradients.png",
        "split.yaml",
        "out_of_vocabulary.csv",
        "SHA256SUMS",
    }
    shares = pd.read_csv(folder / "out_of_vocabulary.csv", index_col="feature")
    assert list(shares) == ["train", "valid", "test"]
    assert shares.notna().all(axis=None)
    steps = pd.read_csv(folder / "gradient_history.csv")
    assert len(steps) == 26
    assert lines[0] == "3,200 rows to train, 400 to validate, 400 to test; 11 features, " + lines[0].split(", ")[-1]
    assert any("epoch 2/2" in line and "purchase auc" in line for line in lines)
    _, model = load_model(folder)
    rows = load_test_rows(folder)
    assert isinstance(rows, pd.DataFrame)
    pd.testing.assert_frame_equal(htl.predict(model, rows), htl.predict(run.model, rows))
    assert htl.evaluate(model, rows).to_dict() == json.loads((folder / "metrics.json").read_text())
    assert model.gradient_adjustment.gamma == 0.2
    assert len(load_held_out(folder)) == 400
    exported = export_run(folder, tmp_path / "models" / "htlnet")
    summary = json.loads((exported.path / "assets.extra" / "training_summary.json").read_text())
    assert summary["test_metrics"]["metrics"]["click"]["auc"] == run.report.value("click", "auc")


def test_paths_are_relative_to_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    path = tmp_path / "deep" / "my.yaml"
    path.write_text("data: {loader: generic, path: ../logs/*.parquet}\n")
    assert RunConfig.from_yaml(path).data.path == str((tmp_path / "logs" / "*.parquet").resolve())
    assert RunConfig.from_yaml(path).with_data("x.csv").data.path == str(Path("x.csv").resolve())


def test_an_existing_folder_is_kept_unless_told_otherwise_and_a_seed_makes_a_run_reproducible(
    trained: tuple[Run, Path, list[str]], tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious").write_text("x")
    with pytest.raises(htl.InputError, match="exists already"):
        train(config(tmp_path), tmp_path / "run")
    assert (tmp_path / "run" / "precious").exists()
    again = train(config(tmp_path), tmp_path / "run", overwrite=True, write=lambda _: None)
    assert not (tmp_path / "run" / "precious").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.yaml", "run"]
    for a, b in zip(trained[0].model.get_weights(), again.model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)  # sums of floats in another order


def test_settings_in_place_of_the_file_s(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(SMALL)
    changes = ["training.epochs=3", "model.arguments.gradient_adjustment.clip=1e9", "split=[0.6, 0.2, 0.2]"]
    changed = RunConfig.from_yaml(tmp_path / "config.yaml", changes)
    assert changed.training.epochs == 3
    assert changed.model.arguments["gradient_adjustment"] == {"gamma": 0.2, "clip": 1e9}
    assert changed.model.arguments["tower_units"] == [16, 8]
    assert changed.split.fractions == (0.6, 0.2, 0.2)
    assert RunConfig.from_yaml(tmp_path / "config.yaml", ["schema=null", "data.seed=4"]).data.seed == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("training.epochs", "field=value"),
        ("=3", "field=value"),
        ("training..epochs=3", "field=value"),
        ("training.epochs=[", "not YAML"),
        ("training.epochs=three", r"training\.epochs"),
        ("training.epoch=3", r"config\.yaml with training\.epoch=3: training\.epoch: there is no such field"),
        ("model.name.first=3", "'model.name' has no fields"),
    ],
)
def test_wrong_settings_in_place_of_the_file_s(tmp_path: Path, change: str, message: str) -> None:
    (tmp_path / "config.yaml").write_text(SMALL)
    with pytest.raises(htl.InputError, match=message):
        RunConfig.from_yaml(tmp_path / "config.yaml", [change])


def test_without_early_stopping_the_last_weights_are_kept(tmp_path: Path) -> None:
    text = SMALL.replace("epochs: 2", "epochs: 3, early_stopping: false, patience: 0, learning_rate: 0.1")
    run = train(config(tmp_path, text), tmp_path / "run", write=lambda _: None)
    history = run.trained[0].history
    assert len(history["loss"]) == run.trained[0].best_check == 3
    _, model = load_model(tmp_path / "run")
    valid = prepare(run.config, write=lambda _: None).valid
    batches = htl.data.make_dataset(valid, model.schema, model.encoder, batch_size=8192)
    # The loss is of the outputs; what is judged has the level since, which fit sets at its end.
    last = model.evaluate(batches, verbose=0, return_dict=True)["loss"]
    assert last == pytest.approx(history["val_loss"][-1], rel=1e-5)


def test_validations_within_an_epoch_and_a_raw_core_is_kept_in_the_run_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    levelled: list[int] = []
    fit_level = htl.SharedBottom.fit_level
    monkeypatch.setattr(
        htl.SharedBottom,
        "fit_level",
        lambda model, rows, **options: (levelled.append(len(rows)), fit_level(model, rows))[1],
    )
    text = SMALL.replace("epochs: 2", "epochs: 2, validations_per_epoch: 3") + "standardise: false\n"
    run = train(config(tmp_path, text), tmp_path / "run", write=lines.append)
    # By hand: 3,200 rows are 13 steps of 256, and a third of them, rounded, 4.
    (member,) = run.trained
    assert len(member.history["val_relative_loss"]) == len(member.seconds) == 6
    assert len(member.gradient_history["click_gradient_norm"]) == 24
    assert member.best_check == 1 + int(np.argmin(member.history["val_relative_loss"]))
    assert any("epoch 0.333333/2: " in line for line in lines)
    assert (np.array(member.seconds) > 0).all()
    # Once, on all training rows, though Keras' epochs are thirds of them without an end.
    assert levelled == [13]
    kept, model = load_model(tmp_path / "run")
    assert kept.standardise is False and kept.schema == model.schema == run.model.schema
    assert model.schema.core.standardise is False


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": {"loader": "parquet"}}, "data.loader"),
        ({"training": {"epochs": 0}}, "training.epochs"),
        ({"training": {"epoch": 3}}, "training.epoch"),
        ({"split": [0.8, 0.2]}, r"split.*three numbers"),
        ({"split": [0.8, 0.2, 0.5]}, r"split.*sum to 1; received"),
        ({"training": {"seed": -1}}, "training.seed"),
        ({"split": [0.8, 0.1, 1.5]}, r"split.*received 1.5 at position 2"),
        ({"split": {"by": "luck"}}, r"split.*luck"),
        (
            {"data": {"loader": "generated", "streaming": True}},
            "streaming and on_bad_rows are for",
        ),
        ({"schema": {"features": []}}, "schema.*targets"),
        ({"data": {"loader": "generated", "dependence": 1.5}}, "data.dependence"),
        ({"data": {"loader": "generated", "unit": "USD"}}, "data.unit.*'EUR' or 'cent'"),
        ({"data": {"loader": "generic", "dependence": 0.5}}, "dependence and unit are for the loader 'generated'"),
        ({"data": {"loader": "generic", "unit": "cent"}}, "dependence and unit are for .* not for 'generic'"),
        ({"standardise": "perhaps"}, "standardise"),
    ],
)
def test_a_faulty_configuration_names_the_field(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(htl.InputError, match=message):
        config(tmp_path, yaml.safe_dump(yaml.safe_load(SMALL) | change))


@pytest.mark.parametrize(
    ("declared", "kind"),
    [
        ("pcgrad", htl.PCGrad),
        ("sum", htl.GradientSum),
        ("{gamma: 0.2}", htl.GradientAdjustment),
        ("{name: metabalance, relax: 0.5}", htl.MetaBalance),
    ],
)
def test_adjustments_by_name(tmp_path: Path, encoder: object, schema: htl.Schema, declared: str, kind: type) -> None:
    text = f"data: {{loader: generated}}\nmodel: {{name: htlnet, arguments: {{gradient_adjustment: {declared}}}}}"
    model = build_model(config(tmp_path, text), schema, encoder)  # type: ignore[arg-type]
    assert type(model.gradient_adjustment) is kind


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("{name: resnet}", "'resnet' is not known"),
        ("{name: htlnet, arguments: {depth: 3}}", "depth"),
        ("{name: htlnet, arguments: {gradient_adjustment: {alpha: 2}}}", "alpha"),
        ("{name: htlnet, arguments: {gradient_adjustment: best}}", "gradient_adjustment"),
    ],
)
def test_a_faulty_model_is_an_input_error(tmp_path: Path, model: str, message: str) -> None:
    text = f"data: {{loader: generated, num_rows: 2000}}\nmodel: {model}"
    with pytest.raises(htl.InputError, match=message):
        train(config(tmp_path, text), tmp_path / "run", write=lambda _: None)
    assert [p.name for p in tmp_path.iterdir()] == ["config.yaml"]


def test_a_damaged_run_folder_is_an_input_error(trained: tuple[Run, Path, list[str]], tmp_path: Path) -> None:
    with pytest.raises(htl.InputError, match="no run folder"):
        load_model(tmp_path)
    shutil.copytree(trained[1], tmp_path / "run")
    weights = next((tmp_path / "run" / "weights").glob("*.data*"))
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(htl.InputError, match=r"weights.* is changed"):
        load_model(tmp_path / "run")
    (tmp_path / "run" / "held_out.parquet").write_bytes(b"PAR1")
    with pytest.raises(htl.InputError, match="held_out"):
        load_held_out(tmp_path / "run")


def test_a_run_that_explodes_leaves_the_last_good_weights(tmp_path: Path) -> None:
    text = SMALL.replace("batch_size: 256", "batch_size: 256, learning_rate: 1.0e+30")
    with pytest.raises(htl.NonFiniteError, match=r"optimizer step .*run\.last_good"):
        train(config(tmp_path, text), tmp_path / "run", write=lambda _: None)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.yaml", "run.last_good"]
    _, model = load_model(tmp_path / "run.last_good")
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_weights_of_another_architecture_are_refused(trained: tuple[Run, Path, list[str]], tmp_path: Path) -> None:
    shutil.copytree(trained[1], tmp_path / "run")
    path = tmp_path / "run" / "config.yaml"
    path.write_text(path.read_text().replace("[16, 8]", "[16, 8, 8]"))
    record(tmp_path / "run", ["config.yaml"])
    with pytest.raises(htl.InputError, match="weights"):
        load_model(tmp_path / "run")


def test_the_data_path_is_kept_for_evaluate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    kuairand = find_config("kuairand_pure")
    assert kuairand.with_data("rows").data.path == str(tmp_path / "rows")
    assert kuairand.with_data(None) is kuairand


def test_the_level_is_that_of_the_latest_training_rows(tmp_path: Path) -> None:
    text = SMALL.replace("epochs: 2", "epochs: 1, validations_per_epoch: 2, level_share: 0.25")
    asked = config(tmp_path, text)
    prepared = prepare(asked, write=lambda _: None)
    assert prepared.level is not None and len(prepared.level) == 800  # of 3,200
    model = train_model(asked, prepared, write=lambda _: None).model
    # The training rows are in order of time, and of 3,200 the last quarter begins with the 2,401st.
    latest = {name: values[2400:] for name, values in prepared.train.features.items()}
    total = model.predict(latest, batch_size=800, verbose=0)["spend"].sum()
    assert total == pytest.approx(prepared.train.labels["spend"][2400:].sum(), rel=1e-4)


def test_schedule_and_averages_of_a_run(tmp_path: Path) -> None:
    extra = "epochs: 2, validations_per_epoch: 2, schedule: {name: linear, warmup: 0.2}, ema_momentum: 0.9"
    asked = config(tmp_path, SMALL.replace("epochs: 2", extra))
    again = RunConfig.from_yaml(tmp_path / "config.yaml", ["training.schedule=cosine"])
    assert again.training.schedule == ScheduleConfig(name="cosine")
    lines: list[str] = []
    trained = train_model(asked, prepare(asked, write=lambda _: None), write=lines.append)
    # By hand: 3,200 rows are 13 steps of 256, in halves of 6, so 24 in all: 5 rise, and from the sixth on, which
    # has the whole rate, it falls in 18 steps to 0.
    assert int(trained.model.optimizer.iterations) == 24
    rates = [line.split("learning rate ")[1].split(" |")[0] for line in lines if "learning rate" in line]
    assert rates == ["0.001", "0.00067", "0.00033", "0"]
    assert trained.model.optimizer.use_ema
    valid = prepare(asked, write=lambda _: None).valid
    batches = htl.data.make_dataset(valid, trained.model.schema, trained.model.encoder, batch_size=8192)
    # What was validated is what the model has.
    assert trained.model.evaluate(batches, verbose=0, return_dict=True)["loss"] == pytest.approx(
        trained.history["val_loss"][trained.best_check - 1], rel=1e-5
    )
    with pytest.raises(htl.InputError, match="exponential schedule never falls to 0"):
        RunConfig.from_yaml(tmp_path / "config.yaml", ["training.schedule=exponential"])
    htl.save_run(trained.model, tmp_path / "run")  # whose rate has fallen to 0, which no configuration may say
    assert htl.load_run(tmp_path / "run").config.training.learning_rate == 1e-3


def test_a_level_of_the_latest_rows_needs_times(tmp_path: Path) -> None:
    asked = config(tmp_path, SMALL.replace("epochs: 2", "epochs: 1, level_share: 0.5"))
    timeless = dataclasses.replace(generate_funnel(1000).schema, timestamp=None)
    asked = dataclasses.replace(asked, schema=timeless, split=RandomSplit(fractions=(0.8, 0.1, 0.1)))
    with pytest.raises(htl.InputError, match=r"training\.level_share: .*'timestamp' is None"):
        prepare(asked, write=lambda _: None)


def test_generated_rows_come_as_asked_for_with_their_truth(tmp_path: Path) -> None:
    text = "{data: {loader: generated, num_rows: 4000, seed: 3, dependence: 0.2, unit: cent}, standardise: false}"
    asked = config(tmp_path, text)
    rows, schema, truth = load_rows(asked)
    made = generate_funnel(4000, seed=3, dependence=0.2, unit="cent")
    assert isinstance(rows, pd.DataFrame) and truth is not None
    pd.testing.assert_frame_equal(rows, made.frame)
    pd.testing.assert_frame_equal(truth, made.truth)
    assert schema.core == dataclasses.replace(made.schema.core, standardise=False)
    assert schema.targets[:-1] == made.schema.targets[:-1]
    prepared = prepare(asked, write=lambda _: None)
    assert isinstance(prepared.test, pd.DataFrame) and prepared.truth is not None
    pd.testing.assert_frame_equal(prepared.truth, made.truth.loc[prepared.test.index])
    assert prepared.schema.core == schema.core


def test_truth_of_other_targets_is_not_known(tmp_path: Path) -> None:
    plain = config(tmp_path)
    click, purchase, spend = generate_funnel(1000).schema.targets
    for targets in ((click, dataclasses.replace(purchase, observed_if="click"), spend), (htl.Binary("sold"), spend)):
        other = dataclasses.replace(generate_funnel(1000).schema, targets=targets)
        assert load_rows(dataclasses.replace(plain, schema=other)).truth is None
    fewer = dataclasses.replace(generate_funnel(1000).schema, targets=(click, spend))
    assert load_rows(dataclasses.replace(plain, schema=fewer)).truth is not None


@pytest.mark.parametrize("asked", [True, False, None])
@pytest.mark.parametrize("declared", [True, False])
def test_standardise_stands_in_for_the_schemas(tmp_path: Path, asked: bool | None, declared: bool) -> None:
    schema = generate_funnel(1000).schema
    core = dataclasses.replace(schema.core, standardise=declared)
    schema = dataclasses.replace(schema, targets=(*schema.targets[:-1], core))
    asked_for = RunConfig(DataConfig("generated", num_rows=1000), schema=schema, standardise=asked)
    loaded = load_rows(asked_for)
    assert loaded.schema.core.standardise is (declared if asked is None else asked)
    # As a run folder keeps it: with the settled schema.
    kept = dataclasses.replace(asked_for, schema=loaded.schema)
    again = config(tmp_path, kept.to_yaml())
    assert again == kept
    assert load_rows(again).schema == loaded.schema


def test_shipped_configurations() -> None:
    assert find_config("generated").data.loader == "generated"
    funnel = find_config("funnel_1m")
    assert (funnel.data.loader, funnel.data.num_rows, funnel.schema) == ("generated", 1_000_000, None)
    kuairand = find_config("kuairand_pure")
    assert kuairand.schema is not None
    assert kuairand.schema.core.unit == "ms"
    raw = find_config("kuairand_pure", ["standardise=false"])
    assert dataclasses.replace(raw, standardise=None) == kuairand
    assert kuairand.schema.core.standardise and not raw.settled(kuairand.schema).core.standardise
    with pytest.raises(htl.InputError, match="no configuration 'other'"):
        shipped("other")
    with pytest.raises(htl.InputError, match=r"cannot read 'none\.yaml'"):
        find_config("none.yaml")


def test_one_class_in_validation_is_undefined_and_no_crash(
    schema: htl.Schema, frame: pd.DataFrame, reused_model: object
) -> None:
    rows = frame.assign(buy=0, spend=0.0)
    model = reused_model()  # type: ignore[operator]
    dataset = htl.data.make_dataset(frame, schema, model.encoder)
    one_class = htl.data.make_dataset(rows, schema, model.encoder)
    lines: list[str] = []
    progress = ProgressLines(schema, write=lines.append)
    history = model.fit(dataset, validation_data=one_class, epochs=1, verbose=0, callbacks=[progress]).history
    assert np.isnan(history["val_buy_auc"][0])
    assert "buy auc undefined" in lines[-1]
    report = htl.evaluate(model, rows)
    assert np.isnan(report.value("buy", "auc"))
    assert "undefined" in str(report)


def test_keep_best_ends_with_the_best_weights(schema: htl.Schema, frame: pd.DataFrame, reused_model: object) -> None:
    model = reused_model()  # type: ignore[operator]
    dataset = htl.data.make_dataset(frame, schema, model.encoder, batch_size=32)
    valid = htl.data.make_dataset(frame[::-1].reset_index(drop=True)[:60], schema, model.encoder)
    history = model.fit(dataset, validation_data=valid, epochs=12, verbose=0, callbacks=[KeepBest(20)]).history
    assert model.evaluate(valid, return_dict=True, verbose=0)["loss"] == pytest.approx(min(history["val_loss"]))


def test_atomic_outputs(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), atomic_directory(tmp_path / "out") as stage:
        (stage / "half").write_text("x")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with atomic_file(tmp_path / "t") as partial:
        partial.write_text("x")
    with pytest.raises(htl.InputError, match="is a file"), atomic_directory(tmp_path / "t"):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["t"]


def test_what_appears_in_the_meantime_is_kept(tmp_path: Path) -> None:
    with pytest.raises(htl.InputError, match="exists already"), atomic_directory(tmp_path / "out") as stage:
        (stage / "late").write_text("x")
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "first").write_text("x")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["first"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    with pytest.raises(htl.InputError, match="cannot write"), atomic_file(tmp_path / "out"):
        pass
