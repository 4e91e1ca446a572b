"""`htlnet train` after a kill: what is kept beside the run, when it is used, and when it is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import htlnet_tf as htl
from htlnet_tf.runs.config import RunConfig
from htlnet_tf.runs.folder import Run
from htlnet_tf.runs.training import train

pytestmark = pytest.mark.usefixtures("undrawn")

ENSEMBLE = """
data: {loader: generated, num_rows: 4000}
model: {name: shared_bottom, arguments: {tower_units: [8]}}
training: {epochs: 2, batch_size: 256, ensemble: 2}
"""


class Kill(Exception):
    """Stands for a SIGKILL."""


def killing(line: str, times: int = 1) -> tuple[Callable[[str], None], list[str]]:
    """A `write` that kills at the n-th line with a text in it, and the lines that it was given."""
    lines: list[str] = []

    def write(given: str) -> None:
        lines.append(given)
        if sum(line in earlier for earlier in lines) == times and line in given:
            raise Kill

    return write, lines


def config(folder: Path, changes: Sequence[str] = ()) -> RunConfig:
    (folder / "config.yaml").write_text(ENSEMBLE)
    return RunConfig.from_yaml(folder / "config.yaml", changes)


def weights(run: Run) -> list[np.ndarray]:
    return [weight for member in run.trained for weight in member.model.get_weights()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("whole")
    return train(config(folder), folder / "run", importance_rows=0, write=lambda _: None)


def test_a_killed_ensemble_goes_on_in_the_member_that_was_under_way(whole: Run, tmp_path: Path) -> None:
    def go(write: Any, **arguments: Any) -> Run:
        return train(config(tmp_path), tmp_path / "run", importance_rows=0, write=write, **arguments)

    # After the first pass of the second member, whose checkpoint is written behind this line: none is there yet.
    write, _ = killing("member 2/2, epoch 2/2")
    with pytest.raises(Kill):
        go(write)
    beside = tmp_path / ".run.checkpoints"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".run.checkpoints", "config.yaml"]
    assert (beside / "seed_0" / "trained" / "state.npz").exists()
    assert not (beside / "seed_0" / "steps").exists()
    assert len(list((beside / "seed_1" / "steps").glob("0*"))) == 1
    before = {path.relative_to(beside) for path in beside.rglob("*")}
    with pytest.raises(htl.InputError, match=r"training\.batch_size is 256 there, 128 here; --overwrite begins anew"):
        train(config(tmp_path, ["training.batch_size=128"]), tmp_path / "run", write=lambda _: None)
    with pytest.raises(htl.InputError, match=r"data\.seed is 0 there, 1 here; --overwrite begins anew"):
        train(config(tmp_path, ["data.seed=1"]), tmp_path / "run", write=lambda _: None)
    assert {path.relative_to(beside) for path in beside.rglob("*")} == before
    # How often checkpoints are written is nobody's affair; nor is a kill between training and the run folder.
    write, lines = killing("importance")
    done = train(
        config(tmp_path, ["training.checkpoint_minutes=7"]), tmp_path / "run", importance_rows=0, write=lines.append
    )
    assert "  member 1/2, trained before" in lines
    assert any("training goes on in epoch 2/2 behind 0 batches" in line for line in lines)
    assert not any("member 2/2, epoch 1/2" in line for line in lines)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "run"]
    for a, b in zip(weights(whole), weights(done), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    for one, two in zip(whole.trained, done.trained, strict=True):
        assert (one.seed, one.best_check, len(one.seconds)) == (two.seed, two.best_check, len(two.seconds))
        np.testing.assert_allclose(one.history["val_loss"], two.history["val_loss"], rtol=1e-5)
    with pytest.raises(htl.InputError, match="exists already"):
        go(lines.append)


def test_overwrite_begins_anew(tmp_path: Path) -> None:
    single = ["training.ensemble=1", "training.epochs=1"]
    write, _ = killing("written", 1)
    settings = config(tmp_path, single)
    with pytest.raises(Kill):
        train(settings, tmp_path / "run", write=killing("epoch 1/1")[0])
    # Nothing was kept when the first epoch had not come to its end, and so nothing is left.
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]
    (tmp_path / ".run.checkpoints" / "seed_0" / "trained").mkdir(parents=True)
    (tmp_path / ".run.checkpoints" / "seed_0" / "trained" / "trained.json").write_text("{}")
    (tmp_path / ".run.checkpoints" / "run.json").write_text("{")
    with pytest.raises(htl.InputError, match=r"cannot be read .*: --overwrite begins anew"):
        train(settings, tmp_path / "run", write=write)
    lines: list[str] = []
    train(settings, tmp_path / "run", overwrite=True, importance_rows=0, write=lines.append)
    assert not any("goes on" in line or "before" in line for line in lines)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "run"]


def test_a_step_that_is_not_finite_leaves_nothing_to_go_on_from(tmp_path: Path) -> None:
    changes = ["training.ensemble=1", "training.epochs=20", "training.learning_rate=1e38"]
    with pytest.raises(htl.NonFiniteError):
        train(config(tmp_path, changes), tmp_path / "run", write=lambda _: None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "run.last_good"]


def test_a_trained_network_that_is_damaged_is_trained_again(whole: Run, tmp_path: Path) -> None:
    with pytest.raises(Kill):
        train(config(tmp_path), tmp_path / "run", write=killing("member 2/2, epoch 1/2")[0])
    state = tmp_path / ".run.checkpoints" / "seed_0" / "trained" / "state.npz"
    state.write_bytes(state.read_bytes()[:1000])
    lines: list[str] = []
    done = train(config(tmp_path), tmp_path / "run", importance_rows=0, write=lines.append)
    assert any("with seed 0 cannot be read, and is trained again" in line for line in lines)
    for a, b in zip(weights(whole), weights(done), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
