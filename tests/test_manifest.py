"""Checksums of folders: what is not as it was written is told, whichever bit it is."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from htlnet_tf.errors import InputError
from htlnet_tf.manifest import SUMS, accept, differences, record, require_intact, unchecked, write_manifest

FILES = {"a.json": b"{}", "weights/model.data": bytes(range(256)), "weights/empty": b""}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        path = tmp_path / "run" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    write_manifest(tmp_path / "run")
    return tmp_path / "run"


def test_the_list_is_that_of_sha256sum(folder: Path) -> None:
    expected = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    lines = (folder / SUMS).read_text().splitlines()
    assert dict(line.split("  ")[::-1] for line in lines) == expected
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--check", "--quiet", SUMS], cwd=folder, check=True)


def test_what_is_whole_is_used(folder: Path) -> None:
    assert differences(folder) == []
    require_intact(folder)
    require_intact(folder, "a.json", "weights", "not/there")


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_flipped_bit_is_told(folder: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([*(n for n, c in FILES.items() if c), SUMS]))
    path = folder / name
    whole = path.read_bytes()
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    flipped = bytearray(whole)
    flipped[bit // 8] ^= 1 << bit % 8
    path.write_bytes(flipped)
    try:
        with pytest.raises(InputError, match=name if name != SUMS else None):
            require_intact(folder)
    finally:
        path.write_bytes(whole)


def test_all_that_differs_is_named(folder: Path) -> None:
    (folder / "a.json").write_bytes(b"[]")
    shutil.rmtree(folder / "weights")
    found = [(d.name, d.what) for d in differences(folder)]
    assert found == [("a.json", "changed"), ("weights/empty", "missing"), ("weights/model.data", "missing")]
    require_intact(folder, "other")
    with pytest.raises(InputError, match=r"a\.json' is changed: .*`htlnet verify .*run`.*--no_verify"):
        require_intact(folder, "a.json")
    with pytest.raises(InputError, match="weights/empty' is missing"):
        require_intact(folder, "weights")
    with unchecked():
        require_intact(folder)
    with unchecked(False), pytest.raises(InputError):
        require_intact(folder)


def test_what_is_written_later(folder: Path) -> None:
    (folder / "report.html").write_bytes(b"page")
    require_intact(folder)
    require_intact(folder, "report.html")
    (folder / "a.json").write_bytes(b"[1]")
    record(folder, ["report.html", "a.json"])
    require_intact(folder, "report.html", "a.json")
    assert differences(folder) == []
    (folder / "report.html").write_bytes(b"")
    with pytest.raises(InputError, match=r"report\.html' is changed"):
        require_intact(folder, "report.html")
    accept(folder, ["report.html"])
    require_intact(folder, "report.html")
    for outside in ("../run/a.json", str(folder / "a.json"), "weights"):
        with pytest.raises(InputError, match="has no file"):
            accept(folder, [outside])


def test_a_folder_without_checksums(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    require_intact(tmp_path, "a")
    with pytest.raises(InputError, match="has no SHA256SUMS"):
        accept(tmp_path, ["a"])
    record(tmp_path, ["a"])
    assert [d.what for d in differences(tmp_path)] == ["no list of checksums"]
    with pytest.raises(InputError, match="is no folder"):
        differences(tmp_path / "a")


def test_a_version_has_it_beside_its_schema(tmp_path: Path) -> None:
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / "saved_model.pb").write_bytes(np.arange(9, dtype=np.uint8).tobytes())
    write_manifest(tmp_path, f"assets.extra/{SUMS}")
    require_intact(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(InputError, match=r"saved_model\.pb' is changed"):
        require_intact(tmp_path)
