"""Version folders appear whole, each number once, whatever happens to the exporters."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from htlnet_tf import locks
from htlnet_tf.errors import InputError
from htlnet_tf.export.version_folders import LAST_VERSION_FILE, LOCK_FILE, publish, remove_old, staged, versions

# Publishes versions one after another, as an export does, without a model: what takes time is left out, what is on disk
# at each moment is not. The last file says how many there should be.
EXPORTER = """
import sys
from pathlib import Path
from htlnet_tf.export.version_folders import publish, remove_old, staged

base = Path(sys.argv[1])
print("ready", flush=True)
while True:
    with staged(base) as stage:
        (stage / "variables").mkdir()
        for i in range(5):
            (stage / "variables" / str(i)).write_bytes(bytes(20_000))
        (stage / "saved_model.pb").write_bytes(b"complete")
        number = publish(stage, base).name
    print(number, flush=True)
    remove_old(base, 3, {1})
"""


def new_version(base: Path, content: str = "x") -> int:
    with staged(base) as stage:
        (stage / "saved_model.pb").write_text(content)
        return int(publish(stage, base).name)


def require_complete(base: Path) -> None:
    for path in versions(base).values():
        assert (path / "saved_model.pb").read_bytes() == b"complete", path
        assert [(path / "variables" / str(i)).stat().st_size for i in range(5)] == [20_000] * 5, path


@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=pytest.mark.slow)])
def test_a_killed_exporter_leaves_no_half_version(tmp_path: Path, kills: int) -> None:
    base = tmp_path / "m"
    moments = random.Random(0)
    seen: list[int] = []
    for _ in range(kills):
        command = [sys.executable, "-c", EXPORTER, str(base)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(moments.uniform(0.0, 0.2))  # several versions; where in the making of one is chance
        process.send_signal(signal.SIGKILL)
        printed = [int(line) for line in process.communicate()[0].split()]
        require_complete(base)
        seen += printed
        last = base / LAST_VERSION_FILE
        if versions(base):
            assert int(last.read_text()) >= max(versions(base))
    assert len(seen) > kills // 2  # or the moments were too early to say anything
    assert seen == sorted(set(seen))  # no number twice
    after = new_version(base, "complete")
    assert after > seen[-1]
    assert {path.name for path in base.iterdir() if not path.name.isdigit()} == {LOCK_FILE, LAST_VERSION_FILE}


@pytest.mark.parametrize("moment", ["staged", "numbered", "renamed"])
def test_a_kill_at_each_step(tmp_path: Path, moment: str) -> None:
    new_version(tmp_path)
    child = os.fork()
    if child == 0:  # pragma: no cover: it kills itself
        _exporter_that_dies(tmp_path, moment)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert list(versions(tmp_path)) == ([1, 2] if moment == "renamed" else [1])
    assert list(tmp_path.glob(".*.partial"))
    assert new_version(tmp_path) == (2 if moment == "staged" else 3)
    assert not list(tmp_path.glob(".*.partial"))


def _exporter_that_dies(base: Path, moment: str) -> None:
    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    rename = Path.rename
    with staged(base) as stage:
        (stage / "saved_model.pb").write_text("x")
        if moment == "staged":
            die()
        Path.rename = (  # type: ignore[method-assign, assignment]
            die if moment == "numbered" else lambda path, target: (rename(path, target), die())
        )
        publish(stage, base)


def _publish_many(base: str, count: int, found: multiprocessing.Queue[list[int]]) -> None:
    found.put([new_version(Path(base)) for _ in range(count)])


def test_exporters_at_once_get_numbers_of_their_own(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    found = context.Queue()
    workers = [context.Process(target=_publish_many, args=(str(tmp_path), 20, found)) for _ in range(2)]
    for worker in workers:
        worker.start()
    numbers = [found.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert sorted(numbers[0] + numbers[1]) == list(range(1, 41))
    assert list(versions(tmp_path)) == list(range(1, 41))
    assert all(numbers[i] == sorted(numbers[i]) for i in range(2))


def test_without_locks_the_rename_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Two hosts whose locks do not meet: the other one publishes between the look and the rename.
    rename = Path.rename

    def late(path: Path, target: Path) -> Path:
        if not target.exists() and target.name == "1":
            (target / "variables").mkdir(parents=True)
        return rename(path, target)

    with staged(tmp_path) as stage:
        (stage / "saved_model.pb").write_text("x")
        monkeypatch.setattr(Path, "rename", late)
        assert publish(stage, tmp_path) == tmp_path / "2"


def test_a_number_is_not_used_again(tmp_path: Path) -> None:
    assert [new_version(tmp_path) for _ in range(3)] == [1, 2, 3]
    for number in (2, 3):
        (tmp_path / str(number) / "saved_model.pb").unlink()
        (tmp_path / str(number)).rmdir()
    assert new_version(tmp_path) == 4
    (tmp_path / LAST_VERSION_FILE).unlink()
    (tmp_path / "00000009").mkdir()
    (tmp_path / "10").write_text("a file")
    assert new_version(tmp_path) == 11


def test_a_damaged_counter_is_told(tmp_path: Path) -> None:
    (tmp_path / LAST_VERSION_FILE).write_text("many")
    with pytest.raises(InputError, match="must hold the highest version number ever used"):
        new_version(tmp_path)
    assert versions(tmp_path) == {}


def test_the_largest_number(tmp_path: Path) -> None:
    (tmp_path / LAST_VERSION_FILE).write_text(str(2**63 - 1))
    with pytest.raises(InputError, match="version numbers end"):
        new_version(tmp_path)


def test_versions_are_what_a_server_takes_for_one(tmp_path: Path) -> None:
    for name in ("3", "00000007", "notes", ".5", "4x", str(2**63), "\u0664"):
        (tmp_path / name).mkdir()
    (tmp_path / "6").write_text("a file")
    assert versions(tmp_path) == {3: tmp_path / "3", 7: tmp_path / "00000007"}
    assert versions(tmp_path / "absent") == {}


@pytest.mark.parametrize(
    ("keep", "labelled", "left"),
    [(1, (), [5]), (2, (1,), [1, 4, 5]), (5, (), [1, 2, 3, 4, 5]), (9, (), [1, 2, 3, 4, 5]), (3, (4, 5), [3, 4, 5])],
)
def test_old_versions(tmp_path: Path, keep: int, labelled: tuple[int, ...], left: list[int]) -> None:
    for _ in range(5):
        new_version(tmp_path)
    removed = remove_old(tmp_path, keep, labelled)
    assert list(versions(tmp_path)) == left
    assert removed == [n for n in range(1, 6) if n not in left]
    assert not list(tmp_path.glob(".*.removed"))
    assert new_version(tmp_path) == 6


def test_a_live_exporter_keeps_its_stage(tmp_path: Path) -> None:
    with staged(tmp_path) as first:
        (first / "saved_model.pb").write_text("first")
        assert new_version(tmp_path) == 1
        assert publish(first, tmp_path).name == "2"
    assert (tmp_path / "2" / "saved_model.pb").read_text() == "first"


def test_a_failure_leaves_no_stage(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), staged(tmp_path) as stage:
        (stage / "saved_model.pb").write_text("x")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == [LOCK_FILE]


def test_a_file_system_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(InputError, match="must be on a file system with locks"):
        new_version(tmp_path)


def test_a_lock_is_free_when_its_holder_has_gone(tmp_path: Path) -> None:
    held = locks.hold(tmp_path / "lock")
    assert locks.is_held(tmp_path / "lock")
    os.close(held)
    assert not locks.is_held(tmp_path / "lock")
    assert not locks.is_held(tmp_path / "absent")
