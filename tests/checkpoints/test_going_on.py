"""A `fit` that was killed, at whatever step, ends as one that was not."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import htlnet_tf as htl
from htlnet_tf import locks
from htlnet_tf.checkpoints.stops import kept_back
from tests.checkpoints.trainings import Kill, KillAfter, Result, trained, trained_with_kills
from tests.data.test_stream import write_parts

BATCH = 32  # 400 rows: 13 batches
Train = Callable[[Sequence[Any]], Result]


@pytest.fixture
def model(reused_model: Any) -> Callable[[], Any]:
    """A model with all the state that there is, with its first values: what is drawn in training depends on it too."""

    def build() -> Any:
        return reused_model(label_embedding="soft", dropout=0.1)

    return build


@pytest.fixture
def parts(tmp_path: Path, schema: htl.Schema, frame: pd.DataFrame) -> htl.data.Stream:
    return htl.data.open_stream(write_parts(tmp_path / "rows", frame), schema)


@pytest.fixture
def training(
    model: Callable[[], Any], schema: htl.Schema, frame: pd.DataFrame, encoder: Any, parts: htl.data.Stream
) -> Callable[[str], Train]:
    """From the kind of rows to a training of three passes over them."""

    def of(kind: str) -> Train:
        def train(callbacks: Sequence[Any]) -> Result:
            buffer = {"shuffle_buffer": 150} if kind.startswith("stream") else {}
            source: Any = parts if kind.startswith("stream") else frame
            rows = htl.data.make_dataset(source, schema, encoder, batch_size=BATCH, shuffle=True, seed=1, **buffer)
            valid = htl.data.make_dataset(frame[:100], schema, encoder, batch_size=100)
            given: dict[str, Any] = {"epochs": 3, "validation_data": valid}
            fed = rows
            if kind.endswith("in parts"):
                # Five validations in a little more than three passes.
                fed, given = rows.repeat(), given | {"epochs": 5, "steps_per_epoch": 8}
            elif kind == "of another maker":
                fed = rows.map(lambda *batch: batch)
            return trained(model(), fed, callbacks, level_rows=rows, **given)

        return train

    return of


def quiet(folder: Path, minutes: float = 0.0, **arguments: Any) -> htl.Checkpoints:
    return htl.Checkpoints(folder, minutes, write=lambda _: None, **arguments)


@pytest.fixture(scope="module")
def _made() -> list[Result]:
    return []


@pytest.fixture
def whole(training: Callable[[str], Train], _made: list[Result]) -> Result:
    """The training on a frame without a kill."""
    if not _made:
        _made.append(training("frame")([]))
    return _made[0]


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        ("frame", 1),  # each is a training that is traced anew
        ("stream in parts", 1),
        *(pytest.param(k, 3, marks=pytest.mark.slow) for k in ("frame in parts", "stream", "of another maker")),
    ],
)
def test_kills_make_no_difference(training: Callable[[str], Train], kind: str, number: int, tmp_path: Path) -> None:
    train, folder = training(kind), tmp_path / "checkpoints"
    random = np.random.default_rng(sum(map(ord, kind)))
    kills = [int(k) for k in random.integers(1, 13, number)]  # at most 36 of 39 steps
    got = trained_with_kills(train, kills, lambda: quiet(folder))
    got.require_same(train([]))
    assert not folder.exists()


def test_after_validations_alone(training: Callable[[str], Train], whole: Result, tmp_path: Path) -> None:
    trained_with_kills(training("frame"), [5, 20], lambda: quiet(tmp_path / "c", 60.0)).require_same(whole)


class KillAtTheEnd(tf.keras.callbacks.Callback):
    """Kills when all epochs are made and nothing else."""

    def on_train_end(self, logs: Any = None) -> None:
        raise Kill


def test_a_training_that_is_over_is_not_made_again(
    training: Callable[[str], Train], whole: Result, tmp_path: Path
) -> None:
    train = training("frame")
    with pytest.raises(Kill):
        train([quiet(tmp_path / "c"), KillAtTheEnd()])
    train([quiet(tmp_path / "c"), KillAfter(1)]).require_same(whole)  # it makes no step


def checkpoints_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def test_damaged_checkpoints_are_passed_over(
    training: Callable[[str], Train], whole: Result, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train = training("frame")
    with pytest.raises(Kill):
        train([KillAfter(17), quiet(tmp_path / "c")])
    _, newer = checkpoints_in(tmp_path / "c")
    shutil.copytree(tmp_path / "c", tmp_path / "both")
    shutil.copytree(tmp_path / "c", tmp_path / "document")
    damage(newer / "state.npz")
    lines: list[str] = []
    train([htl.Checkpoints(tmp_path / "c", 60.0, write=lines.append)]).require_same(whole)
    assert f"'{newer}' is passed over" in caplog.text
    assert "in epoch 2/3 behind 2 batches" in lines[0]
    caplog.clear()
    for path in checkpoints_in(tmp_path / "both"):
        damage(path / "callbacks.npz")
    for path in checkpoints_in(tmp_path / "document"):
        (path / "training.json").write_text("{")
    for name in ("both", "document"):
        train([quiet(tmp_path / name, 60.0)]).require_same(whole)
        assert f"no checkpoint in '{tmp_path / name}' could be read: the training begins anew" in caplog.text


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def test_a_full_disk_costs_a_warning(
    training: Callable[[str], Train],
    whole: Result,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write(folder: Path, *_: Any, **__: Any) -> None:
        (folder / "callbacks.npz").write_bytes(b"the beginning")
        raise full

    monkeypatch.setattr("htlnet_tf.checkpoints.callback.write_arrays", write)
    with pytest.raises(Kill):
        training("frame")([KillAfter(30), quiet(tmp_path / "c", 60.0)])
    assert "no checkpoint could be written, training goes on: [Errno 28] No space left" in caplog.text
    assert [path.name for path in (tmp_path / "c").iterdir()] == [".lock"]  # nothing half-written
    monkeypatch.undo()
    training("frame")([quiet(tmp_path / "c")]).require_same(whole)


def test_checkpoints_of_another_training_are_refused(
    training: Callable[[str], Train], whole: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = training("frame")

    def refused(match: str, **arguments: Any) -> None:
        with pytest.raises(htl.InputError, match=rf"{match}.*overwrite=True \(--overwrite\) begins anew"):
            train([quiet(tmp_path / "c", **arguments)])

    with pytest.raises(Kill):
        train([KillAfter(3), quiet(tmp_path / "c", identity={"data": "here"})])
    refused("whose data is another: 'here' there, 'elsewhere' here", identity={"data": "elsewhere"})
    monkeypatch.setattr(htl, "__version__", "99")
    refused("whose version is another", identity={"data": "here"})
    monkeypatch.undo()
    train([quiet(tmp_path / "c", overwrite=True)]).require_same(whole)


def test_what_else_is_told_apart(
    model: Callable[[], Any], tmp_path: Path, schema: Any, frame: Any, encoder: Any
) -> None:
    rows = htl.data.make_dataset(frame, schema, encoder, batch_size=BATCH, shuffle=True, seed=1)
    with pytest.raises(Kill):
        trained(model(), rows, [KillAfter(3), quiet(tmp_path / "c")])
    with pytest.raises(htl.InputError, match="whose epochs is another: 1 there, 2 here"):
        trained(model(), rows, [quiet(tmp_path / "c")], epochs=2)
    other = model()
    other.optimizer.learning_rate.assign(0.5)
    with pytest.raises(htl.InputError, match="whose optimizer is another"):
        trained(other, rows, [quiet(tmp_path / "c")])
    other.optimizer.learning_rate.assign(1e-2)
    with pytest.raises(htl.InputError, match="whose rows is another"):
        trained(model(), rows.take(5), [quiet(tmp_path / "c")])


def test_wrong_use(model: Callable[[], Any], tmp_path: Path, batch: Any, schema: Any, frame: Any, encoder: Any) -> None:
    with pytest.raises(htl.InputError, match=r"a tf\.data\.Dataset .* received dict"):
        model().fit(*batch, callbacks=[quiet(tmp_path / "c")], verbose=0)
    once = htl.data.make_dataset(htl.data.stream_batches(iter([frame]), schema), schema, encoder)
    with pytest.raises(htl.InputError, match=r"gone once they were read: give .* a function"):
        model().fit(once, callbacks=[quiet(tmp_path / "c")], verbose=0)
    rows = htl.data.make_dataset(frame, schema, encoder)
    with pytest.raises(htl.InputError, match="one callback Checkpoints, received 2"):
        model().fit(rows, callbacks=[quiet(tmp_path / "c"), quiet(tmp_path / "d")], verbose=0)
    with pytest.raises(htl.InputError, match="negative"):
        htl.Checkpoints(tmp_path, -1.0)
    (tmp_path / "c").mkdir(exist_ok=True)
    descriptor = locks.hold(tmp_path / "c" / ".lock")
    try:
        with pytest.raises(htl.InputError, match="another process is training"):
            model().fit(rows, callbacks=quiet(tmp_path / "c"), verbose=0)
    finally:
        os.close(descriptor)


class Stop(tf.keras.callbacks.Callback):
    """Sends this process a signal while it makes a step."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._left = steps

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_stop_waits_for_the_step_and_its_checkpoint(
    training: Callable[[str], Train], whole: Result, tmp_path: Path
) -> None:
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        with pytest.raises(SystemExit) as stopped:
            training("frame")([Stop(6), quiet(tmp_path / "c", 60.0)])
        assert stopped.value.code == 143
        assert signal.getsignal(signal.SIGTERM) not in (None, signal.SIG_DFL)
    finally:
        signal.signal(signal.SIGTERM, before)
    lines: list[str] = []
    training("frame")([htl.Checkpoints(tmp_path / "c", write=lines.append)]).require_same(whole)
    assert "in epoch 1/3 behind 6 batches" in lines[0]


def test_a_second_signal_is_not_kept_back() -> None:
    done: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: done.append(number))
    try:
        with kept_back() as stops:
            os.kill(os.getpid(), signal.SIGINT)
            assert stops.asked
            assert done == []
            os.kill(os.getpid(), signal.SIGINT)
            assert done == [signal.SIGINT]
            os.kill(os.getpid(), signal.SIGINT)
        assert done == [signal.SIGINT] * 2  # what is asked for is done in the end
        os.kill(os.getpid(), signal.SIGINT)
        assert done == [signal.SIGINT] * 3
    finally:
        signal.signal(signal.SIGINT, before)
