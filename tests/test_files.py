"""Paths as users write them, and outputs that appear whole or not at all, whoever is killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf.data.splits import Split
from htlnet_tf.files import atomic_directory, atomic_file, checkpoint_path, local_path
from htlnet_tf.plots.figure import save as save_figure
from htlnet_tf.runs.config import DataConfig, RunConfig, load_rows
from htlnet_tf.runs.training import train


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that `~` is; the current folder is another, empty one."""
    (tmp_path / "home").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "home"


def test_a_tilde_is_the_home_folder(home: Path) -> None:
    assert local_path("~/a/~b") == home / "a" / "~b"
    assert local_path(Path("~")) == home
    assert local_path("a~") == Path("a~")
    with pytest.raises(htl.InputError, match="the home folder that it begins with is not known"):
        local_path("~nobody-of-that-name/x")


class TestTilde:
    """Every way in, one by one: written below the home folder, found there, and nothing lands in a folder '~'."""

    @pytest.fixture(autouse=True)
    def nothing_lands_in_the_current_folder(self, home: Path) -> Any:
        yield
        assert list(Path.cwd().iterdir()) == []

    def test_schema_split_encoder_and_weights(
        self, home: Path, schema: htl.Schema, frame: pd.DataFrame, make_model: Callable[..., Any]
    ) -> None:
        schema.to_yaml("~/s.yaml")
        assert htl.Schema.from_yaml("~/s.yaml") == schema
        split = Split.from_yaml(self.split(home))
        split.to_yaml("~/again.yaml")
        assert Split.from_yaml("~/again.yaml").to_dict() == split.to_dict()
        model = make_model(htl.SharedBottom)
        model.encoder.save("~/encoder.json")
        assert htl.FeatureEncoder.load("~/encoder.json").schema == model.schema
        model.save_weights("~/weights/w")
        model.load_weights("~/weights/w")
        htl.save_run(model, "~/runs/mine", held_out=frame.head(3))
        assert len(htl.load_run("~/runs/mine").held_out) == 3  # type: ignore[arg-type]
        assert {p.name for p in home.iterdir()} >= {"s.yaml", "again.yaml", "encoder.json", "weights", "runs"}

    @staticmethod
    def split(home: Path) -> Path:
        (home / "split.yaml").write_text("{config: {by: random, fractions: [0.8, 0.1, 0.1], seed: 0}}")
        return home / "split.yaml"

    def test_data_and_configurations(self, home: Path, schema: htl.Schema, frame: pd.DataFrame) -> None:
        (home / "logs").mkdir()
        frame.to_csv(home / "logs" / "a.csv", index=False)
        for path in ("~/logs", "~/logs/a.csv", "~/logs/*.csv", ["~/logs/a.csv"]):
            assert sum(map(len, htl.data.open_stream(path, schema))) == len(frame)
        schema.to_yaml("~/logs.schema.yaml")
        (home / "c.yaml").write_text("{data: {loader: generic, path: ~/logs}, schema: ~/logs.schema.yaml}")
        config = RunConfig.from_yaml("~/c.yaml")
        assert config.data.path == str(home / "logs")
        assert sum(map(len, load_rows(config).rows)) == len(frame)
        from_python = RunConfig(data=DataConfig(loader="generic", path="~/logs"), schema=schema)
        assert sum(map(len, load_rows(from_python).rows)) == len(frame)
        with pytest.raises(htl.InputError, match=r"it has no config\.yaml"):
            htl.load_run("~/logs")

    def test_models_and_pictures(self, home: Path) -> None:
        from htlnet_tf.export import list_versions, model_directory
        from htlnet_tf.inspection import inspect_path

        (home / "models").mkdir()
        assert list_versions("~/models") == []
        assert model_directory("~/models", "m") == home / "models" / "m"
        assert htl.serving.EmbeddedServer("~/models")._models == home / "models"
        figure = plt.figure()
        assert save_figure(figure, "~/plots/p.png") == home / "plots" / "p.png"
        (home / "draft.yaml").write_text("x")
        with pytest.raises(htl.InputError, match="exists already"):
            inspect_path("~/t.csv", draft="~/draft.yaml")


@pytest.mark.parametrize("name", ["lr=[0.1]", "a]", "b\\c"])
def test_where_tensorflow_would_not_find_its_weights_is_refused_before_anything_is_done(
    tmp_path: Path, make_model: Callable[..., Any], name: str
) -> None:
    from htlnet_tf.demo import run_demo

    path = tmp_path / name
    model = make_model(htl.SharedBottom)
    config = RunConfig(data=DataConfig(loader="generated", num_rows=1000))
    said: list[str] = []
    for write in (
        lambda: model.save_weights(path / "w"),
        lambda: htl.save_run(model, path / "run"),
        lambda: htl.load_run(path / "run"),
        lambda: htl.export.export_model(model, path / "m"),
        lambda: train(config, path / "run", write=said.append),
        lambda: run_demo(output=tmp_path / "run", models=path, write=said.append),
        lambda: run_demo(output=path, models=tmp_path / "models", write=said.append),
        lambda: htl.serving.EmbeddedServer(path),
    ):
        with pytest.raises(htl.InputError, match=r"TensorFlow could not read the weights there"):
            write()
    assert said == []
    assert list(tmp_path.iterdir()) == []
    assert checkpoint_path(tmp_path / "st*r {x} ü") == tmp_path / "st*r {x} ü"


@pytest.mark.parametrize("folder", ["plain", "lr=[0.1]", "[ab]", "b\\c", "sp ace", "st*r"])
def test_data_are_read_from_any_folder(tmp_path: Path, schema: htl.Schema, frame: pd.DataFrame, folder: str) -> None:
    logs = tmp_path / folder / "logs"
    logs.mkdir(parents=True)
    frame[:200].to_csv(logs / "a[1].csv", index=False)
    frame[200:].to_csv(logs / "b.csv", index=False)
    for path, rows in ((logs, 400), (logs / "a[1].csv", 200), (logs / "*.csv", 400), (logs / "[b-z].csv", 200)):
        assert sum(map(len, htl.data.open_stream(path, schema))) == rows, path


_WRITER = """
import sys, time
from pathlib import Path
from htlnet_tf.files import atomic_directory, atomic_file
with atomic_directory(sys.argv[1], overwrite=True) as stage, atomic_file(sys.argv[2]) as partial:
    (stage / "half").write_text("x"); partial.write_text("x")
    print("writing", flush=True); time.sleep(60)
"""


def test_what_a_killed_writer_left_goes_with_the_next_one_and_what_a_living_one_has_stays(tmp_path: Path) -> None:
    run, file = tmp_path / "run", tmp_path / "table.csv"
    other = tmp_path / f".other.{'0' * 32}.partial"
    other.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(run), str(file)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        left = {p.name for p in tmp_path.iterdir()} - {other.name}
        assert [re.sub(r"[0-9a-f]{32}", "", name) for name in sorted(left)] == [".run..partial", ".table.csv..partial"]
        with atomic_directory(run) as stage, atomic_file(file) as partial:
            (stage / "whole").write_text("x")
            partial.write_text("y")
        assert left <= {p.name for p in tmp_path.iterdir()}
        process.send_signal(signal.SIGKILL)
    with atomic_directory(run, overwrite=True) as stage, atomic_file(file) as partial:
        partial.write_text("z")
    assert {p.name for p in tmp_path.iterdir()} == {"run", "table.csv", other.name}  # another path's is not ours


def test_a_folder_between_two_renames_comes_back(tmp_path: Path) -> None:
    """As a writer leaves it that is killed after it has moved the old folder away and before the new one is there."""
    abandoned = tmp_path / f".run.{'a' * 32}.partial"
    (abandoned / "old").mkdir(parents=True)
    (abandoned / "old" / "precious").write_text("x")
    (abandoned / "owner").touch()
    with pytest.raises(htl.InputError, match="exists already"), atomic_directory(tmp_path / "run"):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    assert (tmp_path / "run" / "precious").read_text() == "x"


def test_without_locks_nothing_is_taken_for_abandoned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno
    import fcntl

    def no_locks(*_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    abandoned = tmp_path / f".run.{'a' * 32}.partial"
    abandoned.mkdir()
    (abandoned / "owner").touch()
    with atomic_directory(tmp_path / "run") as stage:
        (stage / "x").touch()
    assert {p.name for p in tmp_path.iterdir()} == {"run", abandoned.name}
