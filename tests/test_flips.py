"""One flipped bit in a run folder or a version: whoever reads the file says so, or what is read is what it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from htlnet_tf.errors import InputError
from htlnet_tf.export import promote
from htlnet_tf.runs.folder import load_config, load_held_out, load_metrics, load_model
from htlnet_tf.runs.lineage import load_lineage
from htlnet_tf.runs.page import run_inputs
from htlnet_tf.runs.parts import load_split
from htlnet_tf.runs.reference import Reference
from htlnet_tf.serving.errors import StatusError
from htlnet_tf.serving.local_servable import LocalServable
from htlnet_tf.serving.server.version_loading import VersionLoader
from tests.conftest import htlnet


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)


def each_flip(folder: Path, count: int, seed: int, read: Callable[[Path], None]) -> None:
    """Flips one random bit at a time: of a random file, as often in small files as in large ones."""
    random = np.random.default_rng(seed)
    files = files_of(folder)
    for _ in range(count):
        path = files[random.integers(len(files))]
        whole = path.read_bytes()
        flipped = bytearray(whole)
        place = int(random.integers(len(whole)))
        flipped[place] ^= 1 << int(random.integers(8))
        path.write_bytes(flipped)
        try:
            read(path)
        finally:
            path.write_bytes(whole)


def test_a_flip_in_a_run_folder(command_run: tuple[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(command_run[0], folder)
    # What needs no model, which is only built from files that have been looked at.
    light: dict[str, Callable[[Path], Any]] = {
        "config.yaml": load_config,
        "metrics.json": load_metrics,
        "held_out.parquet": load_held_out,
        "split.yaml": load_split,
        "lineage.json": load_lineage,
        "reference_train.parquet": Reference.load,
        "reference_valid.parquet": Reference.load,
        "page.json": run_inputs,
        "history.csv": run_inputs,
        "gradient_history.csv": run_inputs,
        "out_of_vocabulary.csv": run_inputs,
        "encoder.json": load_model,
        "calibration.json": load_model,
    }
    told, unread = 0, set()

    def read(path: Path) -> None:
        nonlocal told
        name = path.relative_to(folder).as_posix()
        if name.startswith("weights/"):
            reader: Callable[[Path], Any] = load_model
        elif name == "SHA256SUMS":
            reader = lambda f: [load_metrics(f), load_split(f)]  # noqa: E731
            before = repr(reader(Path(command_run[0])))
            try:
                assert repr(reader(folder)) == before  # the flip was in another file's line
            except InputError:
                told += 1
            return
        elif name in light:
            reader = light[name]
        else:
            unread.add(path.suffix)
            return
        with pytest.raises(InputError, match=name):
            reader(folder)
        told += 1

    each_flip(folder, 300, 0, read)
    assert told > 150 and unread <= {".png", ".html"}
    load_model(folder)


def test_a_flip_in_a_version(command_export: tuple[Path, str], tmp_path: Path) -> None:
    models = tmp_path / "models"
    shutil.copytree(command_export[0], models)
    (version,) = (path for path in models.glob("*/*") if path.name.isdigit())
    load = VersionLoader()

    def read(path: Path) -> None:
        with pytest.raises(StatusError, match=r"SHA256SUMS|is changed|is missing"):
            load(version)
        with pytest.raises(InputError):
            LocalServable(version)
        with pytest.raises(InputError):
            promote(models, version.parent.name, int(version.name))

    each_flip(version, 100, 1, read)
    assert not (models / "models.config").exists()
    promote(models, version.parent.name, int(version.name))


def test_the_command(command_run: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    shutil.copytree(command_run[0], folder)
    assert htlnet("verify", str(folder)) == 0
    assert "is as it was written" in capsys.readouterr().out
    metrics = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "split.yaml").unlink()
    assert htlnet("verify", str(folder)) == 1
    assert capsys.readouterr().out == "metrics.json: changed\nsplit.yaml: missing\n"
    assert htlnet("report", str(folder)) == 2
    assert f"`htlnet verify {folder} --accept" in capsys.readouterr().err
    assert htlnet("report", str(folder), "--no_verify") == 0
    capsys.readouterr()
    assert htlnet("verify", str(folder), "--accept", "metrics.json", "--json") == 1
    assert json.loads(capsys.readouterr().out)["differences"] == {"split.yaml": "missing"}
    assert htlnet("verify", str(folder), "--accept", "split.yaml") == 2
    assert "has no file 'split.yaml'" in capsys.readouterr().err


def test_a_page_that_is_made_anew_is_as_it_was_written(command_run: tuple[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(command_run[0], folder)
    assert htlnet("report", str(folder)) == 0
    assert htlnet("verify", str(folder)) == 0
    assert len(pd.read_csv(folder / "history.csv"))
