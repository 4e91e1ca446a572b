"""serving/config/start.sh, which starts the server in the container and the pod, with a stand-in for the server."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from htlnet_tf.errors import InputError
from htlnet_tf.manifest import write_manifest
from htlnet_tf.serving import EmbeddedServer
from tests.conftest import REPO
from tests.serving.stack import FLAGS, SERVING, flags

pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in ("bash", "perl")), reason="needs bash and perl"
)

TWO_MODELS = """
model_config_list {{
  config {{ name: "ctr" base_path: "{models}/ctr" model_platform: "tensorflow"  # a comment with a }}
    model_version_policy {{ {policy} }}
    version_labels {{ key: "stable" value: 1 }} }}
  config: {{ name: 'other' base_path: '{models}/other' }}
}}
"""


def versions(models: Path, name: str, *numbers: int, damaged: tuple[int, ...] = ()) -> None:
    for number in (*numbers, *damaged):
        (models / name / str(number)).mkdir(parents=True)
    for number in damaged:
        (models / name / str(number) / "damaged").touch()


class Started:
    """A run of the script: what its servers were called with and have loaded."""

    def __init__(self, models: Path, log: Path, process: subprocess.Popen[str]) -> None:
        self.models, self.log, self.process = models, log, process

    def lines(self, count: int) -> list[dict[str, Any]]:
        """Waits until the servers have written `count` lines, and returns them."""
        for _ in range(400):
            found = self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []
            if len(found) >= count:
                return [json.loads(line) for line in found]
            time.sleep(0.05)
        raise AssertionError(f"{count} lines expected, {found} found")

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Exit code and standard error, after the signal."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=20)
        return self.process.returncode, errors


@contextmanager
def started(tmp_path: Path, config: str | None = None, *arguments: str, words: Path | None = None) -> Iterator[Started]:
    """Runs the script with a stand-in for the server, which fails with the text of the file `words`."""
    models, log = tmp_path / "models", tmp_path / "log"
    if config is not None:
        (models / "models.config").write_text(config, encoding="utf-8")
    (tmp_path / "bin").mkdir()
    (tmp_path / "tmp").mkdir()
    program = tmp_path / "bin" / "tensorflow_model_server"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tests.serving.genuine_start "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        ["bash", str(SERVING / "config" / "start.sh"), f"--rest_api_port={port}", *arguments],
        cwd=REPO,
        env=os.environ
        | {
            "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "LOG": str(log),
            "MODELS_DIR": str(models),
            "MODELS_CONFIG": str(models / "models.config"),
            "MODEL_NAME": "ctr",
            "TMPDIR": str(tmp_path / "tmp"),
        }
        | ({} if words is None else {"WORDS": str(words)}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield Started(models, log, process)
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=20)
    assert not list((tmp_path / "tmp").iterdir()), "it leaves nothing behind"


@pytest.mark.parametrize("promoted", [True, False])
def test_the_server_starts_with_models_config_if_there_is_one(tmp_path: Path, promoted: bool) -> None:
    versions(tmp_path / "models", "ctr", 1, 2)
    versions(tmp_path / "models", "other", 1)
    models = tmp_path / "models"
    config = TWO_MODELS.format(models=models, policy="all {}") if promoted else None
    with started(tmp_path, config, "--enable_model_warmup=true") as run:
        (line,) = run.lines(1)
        found = flags(line["flags"])
        assert found.keys() <= FLAGS and found["enable_model_warmup"] == "true"
        if promoted:
            assert found["model_config_file"] == str(models / "models.config") and "model_name" not in found
            assert int(found["model_config_file_poll_wait_seconds"]) > 0
            assert line["start"] == {"ctr": [1, 2], "other": [1]}
        else:
            assert (found["model_name"], found["model_base_path"]) == ("ctr", str(models / "ctr"))
            assert "model_config_file" not in found
        code, errors = run.end()
        assert code == 128 + signal.SIGTERM and "start.sh" not in errors


@pytest.mark.parametrize(
    ("policy", "reduced", "whole"),
    [
        ("all {}", [1, 3], [1, 2, 3, 7]),
        ("specific { versions: 1 versions: 2 }", [1], [1, 2]),
        ("latest { num_versions: 3 }", [1, 3], [2, 3, 7]),
        ("", [3], [7]),
    ],
)
def test_damaged_versions_are_left_out_of_the_start_alone(
    tmp_path: Path, policy: str, reduced: list[int], whole: list[int]
) -> None:
    models = tmp_path / "models"
    versions(models, "ctr", 1, 3, damaged=(2, 7))
    versions(models, "other", 5, damaged=(4,))
    with started(tmp_path, TWO_MODELS.format(models=models, policy=policy)) as run:
        first, second, polled = run.lines(3)
        assert first["start"] == {"ctr": whole, "other": [5]}
        assert second["start"] == {"ctr": reduced, "other": [5]}
        # Up, it reads the real file, and lists the failed versions as one that was running before they came.
        assert polled == {"polled": first["start"]}
        _, errors = run.end()
    for version in set(whole) & {2, 7}:
        assert f"version {version} of ctr cannot be loaded" in errors
    assert "other" not in errors and (models / "ctr" / "2" / "damaged").exists()


def test_without_a_file_the_newest_sound_version_starts_and_a_file_that_appears_is_read(tmp_path: Path) -> None:
    models = tmp_path / "models"
    versions(models, "ctr", 1, 2, damaged=(3, 4))
    with started(tmp_path) as run:
        lines = run.lines(4)
        # Version 3 is tried only when 4, which hid it, is left out.
        assert [line.get("start") for line in lines] == [{"ctr": [4]}, {"ctr": [3]}, {"ctr": [2]}, None]
        assert lines[-1] == {"polled": {"ctr": [4]}}
        versions(models, "other", 1)
        new = models / ".new"
        new.write_text(TWO_MODELS.format(models=models, policy="specific { versions: 1 }"), encoding="utf-8")
        new.rename(models / "models.config")
        assert run.lines(5)[-1] == {"polled": {"ctr": [1], "other": [1]}}


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_a_version_that_is_not_as_it_was_written_is_never_served(tmp_path: Path) -> None:
    models = tmp_path / "models"
    versions(models, "ctr", 1, 2, 3)
    versions(models, "other", 5)
    for number in (1, 2):
        version = models / "ctr" / str(number)
        (version / "assets.extra").mkdir()
        (version / "saved_model.pb").write_bytes(bytes(range(99)))
        write_manifest(version, "assets.extra/SHA256SUMS")
    flipped = bytearray(range(99))
    flipped[40] ^= 4
    (models / "ctr" / "2" / "saved_model.pb").write_bytes(flipped)
    config = TWO_MODELS.format(models=models, policy="all {}")
    with started(tmp_path, config) as run:
        assert run.lines(1)[0]["start"] == {"ctr": [1, 3], "other": [5]}
        # Nor when the file changes.
        new = models / ".new"
        new.write_text(config.replace("all {}", "specific { versions: 1 versions: 2 }"), encoding="utf-8")
        new.rename(models / "models.config")
        wanted = {"polled": {"ctr": [1], "other": [5]}}
        lines = run.lines(2)
        if lines[-1] != wanted:  # the server was quicker than the new file
            assert lines[-1] == {"polled": {"ctr": [1, 3], "other": [5]}}
            lines = run.lines(3)
        assert lines[-1] == wanted
        _, errors = run.end()
    assert "saved_model.pb: FAILED" in errors
    assert "version 2 of ctr is not as it was written (its files are above): starting without it" in errors


def test_a_model_without_a_sound_version_does_not_stop_the_others(tmp_path: Path) -> None:
    models = tmp_path / "models"
    versions(models, "ctr", damaged=(1,))
    versions(models, "other", 1)
    with started(tmp_path, TWO_MODELS.format(models=models, policy="all {}")) as run:
        assert run.lines(2)[1]["start"] == {"other": [1]}


def test_without_any_sound_version_it_ends_and_says_so(tmp_path: Path) -> None:
    versions(tmp_path / "models", "ctr", damaged=(1, 2))
    with started(tmp_path) as run:
        output, errors = run.process.communicate(timeout=20)
        assert run.process.returncode == 255
        assert "version 1 of ctr" in errors and "version 2 of ctr" in errors and "no other version is left" in errors
        assert "Failed to start server" in output  # the server's own words are passed on


def test_another_reason_to_exit_is_passed_on(tmp_path: Path) -> None:
    versions(tmp_path / "models", "ctr", 1)
    with started(tmp_path, "model_config_list { config { nonsense } }") as run:
        output, errors = run.process.communicate(timeout=20)
        assert run.process.returncode == 1 and "ParseError" in output and "start.sh" not in errors


def test_it_understands_the_embedded_server_too(tmp_path: Path, models: Path, caplog: pytest.LogCaptureFixture) -> None:
    # A stand-in for the image has the embedded server in it: the words are its own, taken here from a failed start.
    shutil.copytree(models, tmp_path / "models")
    versions(tmp_path / "models", "tiny", damaged=(7, 8))
    config = (
        f'model_config_list {{ config {{ name: "tiny" base_path: "{tmp_path}/models/tiny" model_platform: "tensorflow" '
        "model_version_policy { all {} } } }"
    )
    every = tmp_path / "every.config"
    every.write_text(config, encoding="utf-8")
    server = EmbeddedServer(tmp_path / "models", port=0, model_config_file=every)
    with caplog.at_level(logging.WARNING), pytest.raises(InputError, match="must load") as error:
        server.start()
    words = tmp_path / "words"
    words.write_text(f"{caplog.text}\nerror: {error.value}\n", encoding="utf-8")
    with started(tmp_path, config, words=words) as run:
        first, second = run.lines(2)
        assert (first["start"], second["start"]) == ({"tiny": [1, 2, 7, 8]}, {"tiny": [1, 2]})
