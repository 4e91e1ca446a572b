"""`training: {ensemble: N}` from the configuration to the server, and back from the folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf.comparison import compare
from htlnet_tf.parity import check_parity
from htlnet_tf.runs.callbacks import KeepBest
from htlnet_tf.runs.config import RunConfig
from htlnet_tf.runs.exporting import export_run
from htlnet_tf.runs.folder import Run, load_model
from htlnet_tf.runs.preparation import prepare
from htlnet_tf.runs.training import load_test_rows, train, train_model
from htlnet_tf.serving import EmbeddedServer, GrpcClient, RestClient

pytestmark = pytest.mark.usefixtures("undrawn")

Build = Callable[..., Any]

SMALL = """
data: {loader: generated, num_rows: 2000}
model: {name: shared_bottom, arguments: {tower_units: [8], gradient_metrics: true}}
training: {epochs: 2, batch_size: 512, learning_rate: 0.01, seed: 4, ensemble: 2}
"""


def config(folder: Path, *changes: str) -> RunConfig:
    (folder / "config.yaml").write_text(SMALL)
    return RunConfig.from_yaml(folder / "config.yaml", changes)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path, list[str]]:
    """A run of two members, its folder, and the lines of its progress."""
    folder = tmp_path_factory.mktemp("ensemble")
    lines: list[str] = []
    return train(config(folder), folder / "run", write=lines.append), folder / "run", lines


def test_the_folder_has_one_model_and_the_histories_of_its_members(trained: tuple[Run, Path, list[str]]) -> None:
    run, folder, lines = trained
    assert {path.name for path in folder.iterdir()} == {
        *("config.yaml", "encoder.json", "weights", "metrics.json", "held_out.parquet", "split.yaml"),
        *("reference_train.parquet", "reference_valid.parquet"),
        *("out_of_vocabulary.csv", "history.csv", "gradient_history.csv"),
        *("calibration.png", "page.json", "report.html", "SHA256SUMS"),
        *(f"{picture}_seed_{seed}.png" for picture in ("learning_curves", "gradients") for seed in (4, 5)),
    }
    history = pd.read_csv(folder / "history.csv")
    assert history[["seed", "epoch"]].to_numpy().tolist() == [[4, 1], [4, 2], [5, 1], [5, 2]]
    assert history["val_loss"].tolist() == [value for member in run.trained for value in member.history["val_loss"]]
    steps = pd.read_csv(folder / "gradient_history.csv")
    assert steps.groupby("seed").size().tolist() == [8, 8]  # two passes over 1,600 rows by 512
    assert steps["step"].tolist() == [*range(1, 9)] * 2
    assert any(line.startswith("  member 2/2, epoch 2/2: ") for line in lines)


def test_the_folder_gives_the_model_back(trained: tuple[Run, Path, list[str]]) -> None:
    run, folder, _ = trained
    kept, model = load_model(folder)
    assert kept.training.ensemble == 2
    assert isinstance(model, htl.Ensemble)
    rows = load_test_rows(folder)
    assert isinstance(rows, pd.DataFrame)
    pd.testing.assert_frame_equal(htl.predict(model, rows), htl.predict(run.model, rows))
    assert htl.evaluate(model, rows).to_dict() == json.loads((folder / "metrics.json").read_text())
    expected = np.mean([htl.predict(member, rows).to_numpy(np.float64) for member in run.model.members], axis=0)
    np.testing.assert_allclose(htl.predict(model, rows), expected, rtol=1e-6)


def test_a_member_is_the_model_that_its_seed_alone_gives(
    trained: tuple[Run, Path, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _, _ = trained
    stoppers: list[KeepBest] = []
    begin = KeepBest.on_train_begin
    monkeypatch.setattr(KeepBest, "on_train_begin", lambda self, *a: (stoppers.append(self), begin(self, *a))[1])
    alone = config(tmp_path, "training.ensemble=1", "training.seed=5")
    single = train_model(alone, prepare(alone, write=lambda _: None), write=lambda _: None)
    assert len(stoppers) == 1
    assert single.best_check == run.trained[1].best_check
    for ours, theirs in zip(run.trained[1].model.get_weights(), single.model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)  # sums of floats in another order


def test_members_have_the_schedule_the_averages_and_the_level_of_a_single_model(tmp_path: Path) -> None:
    options = ("training.schedule={name: cosine}", "training.ema_momentum=0.9")
    averaged = config(tmp_path, *options, "training.level_share=0.5")
    run = train(averaged, tmp_path / "run", write=lambda _: None)
    _, model = load_model(tmp_path / "run")
    pd.testing.assert_frame_equal(htl.predict(model, run.held_out), htl.predict(run.model, run.held_out))
    rows = prepare(averaged, write=lambda _: None).level
    assert rows is not None
    # Each member has the total of the latest half of the training rows, so their mean has it.
    total = float(model(rows.features)["spend"].numpy().sum())
    assert total == pytest.approx(float(rows.labels["spend"].sum()), rel=1e-4)
    factors = [float(member.heads["spend"].level.factor) for member in model.members]
    assert factors[0] != factors[1]


def test_a_server_answers_with_the_mean(trained: tuple[Run, Path, list[str]], tmp_path: Path) -> None:
    run, folder, _ = trained
    version = export_run(folder, tmp_path / "models" / "htlnet")
    summary = json.loads((version.path / "assets.extra" / "training_summary.json").read_text())
    assert (summary["model"], summary["training"]["ensemble"]) == ("SharedBottom x2", 2)
    single = sum(int(np.prod(w.shape)) for w in run.trained[0].model.trainable_variables)
    assert summary["parameters"] == 2 * single
    rows = run.held_out.head(20)
    expected = htl.predict(run.model, rows)
    user = [f.source for f in run.model.schema.features if f.group in ("user", "context")]
    items = rows.drop(columns=user)
    of_first = htl.predict(run.model, items.assign(**rows[user].iloc[0]))
    scale = {"spend": run.model.encoder.statistics.labels["spend"].std}
    with EmbeddedServer(tmp_path / "models", port=0, grpc_port=0) as server:
        with RestClient(server.url, "htlnet") as rest, GrpcClient(server.grpc_target, "htlnet") as remote:
            for client in (rest, remote):
                scores = client.predict(rows)
                ranked = client.predict_candidates(rows[user].iloc[0].to_dict(), items[_items(run)])
                for name in expected:
                    tolerance = 1e-5 * scale.get(name, 1.0)
                    np.testing.assert_allclose(scores[name], expected[name], rtol=1e-5, atol=tolerance)
                    np.testing.assert_allclose(ranked[name], of_first[name], rtol=1e-5, atol=tolerance)
        assert check_parity(server.url, None, folder).ok


def _items(run: Run) -> list[str]:
    return [f.source for f in run.model.schema.features if f.group == "item"]


def test_a_member_that_diverges_leaves_its_last_good_weights_as_a_single_model(tmp_path: Path) -> None:
    diverging = config(tmp_path, "training.learning_rate=1e30")
    with pytest.raises(htl.NonFiniteError, match="The last good weights are in"):
        train(diverging, tmp_path / "run", write=lambda _: None)
    kept, model = load_model(tmp_path / "run.last_good")
    assert (kept.training.ensemble, kept.training.seed) == (1, 4)
    assert isinstance(model, htl.SharedBottom)
    assert not (tmp_path / "run").exists()


def test_an_ensemble_from_python_is_kept(make_model: Build, frame: pd.DataFrame, batch: Any, tmp_path: Path) -> None:
    def member(seed: int, **arguments: Any) -> Any:
        built = make_model(htl.SharedBottom, name=f"of_seed_{seed}", **arguments)
        built.embedding.table.assign_add(0.1 * (seed + 1) * built.embedding.table)
        return built

    model = htl.Ensemble([member(0), member(1)])
    model.members[0].train_step(batch)  # an optimizer's state is not kept
    report = htl.evaluate(model, frame)
    htl.save_run(model, tmp_path / "run", report=report, held_out=frame.tail(5))
    loaded = htl.load_run(tmp_path / "run")
    assert loaded.config.training.ensemble == 2
    np.testing.assert_array_equal(htl.predict(loaded.model, frame), htl.predict(model, frame))
    assert loaded.report is not None
    assert loaded.report.to_dict() == report.to_dict()
    # What two folders hold may be joined: their encoders are equal.
    htl.save_run(model.members[0], tmp_path / "one")
    htl.save_run(htl.Ensemble([model.members[1]]), tmp_path / "two")
    parts = [htl.load_run(tmp_path / name).model for name in ("one", "two")]
    assert [type(part) for part in parts] == [htl.SharedBottom] * 2
    np.testing.assert_array_equal(htl.predict(htl.Ensemble(parts), frame), htl.predict(model, frame))
    with pytest.raises(
        htl.InputError, match=r"one model for all members of an ensemble, but member 2 is .*embedding_dim"
    ):
        htl.save_run(htl.Ensemble([member(0), member(1, embedding_dim=3)]), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_compare_sets_an_ensemble_beside_its_model(tmp_path: Path) -> None:
    single = config(tmp_path, "training.ensemble=1", "training.epochs=1")
    asked = (single, ["shared_bottom", "shared_bottom x2"], [1], tmp_path / "out")
    made = compare(*asked, write=lambda _: None)
    runs = made.runs.set_index(["variant", "seed"])
    parameters = runs["parameters"].unstack()[1]
    assert parameters["shared_bottom x2"] == 2 * parameters["shared_bottom"]
    assert (runs["best_epoch"] == 1.0).all()
    assert "| shared_bottom x2 |" in made.text
    folder = tmp_path / "out" / "runs" / "shared_bottom x2"
    assert pd.read_csv(folder / "seed_1" / "history.csv")["seed"].tolist() == [2, 3]
    again = RunConfig.from_yaml(folder / "seed_1" / "config.yaml").training
    assert (again.seed, again.ensemble) == (2, 2)
    lines: list[str] = []
    assert compare(*asked, write=lines.append).text == made.text
    assert any("2 of 2 runs are in" in line for line in lines)


def test_at_least_one_member(tmp_path: Path) -> None:
    with pytest.raises(htl.InputError, match=r"training\.ensemble"):
        config(tmp_path, "training.ensemble=0")
