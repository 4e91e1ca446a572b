"""docs/ranking.md: its Python runs as it stands, its commands and its line of YAML are read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import htlnet_tf as htl
from htlnet_tf import cli
from htlnet_tf.serving import EmbeddedServer
from tests.conftest import REPO

TEXT = (REPO / "docs" / "ranking.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.M | re.S)


@pytest.mark.slow
def test_the_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It trains, exports and asks a server."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in blocks("python"):
        if "localhost:8501" not in block:
            exec(block, names)
            continue
        with EmbeddedServer("models", port=0) as server:
            exec(block.replace("http://localhost:8501", server.url), names)
    assert names["ranked"].index.equals(names["best"].index)
    assert list(names["scores"].columns) == ["click", "purchase", "spend", "score"]


def test_the_line_declares_a_ranking() -> None:
    (line,) = blocks("yaml")
    document = yaml.safe_load(line)
    schema = {
        "features": [{"kind": "categorical", "name": "user_id"}],
        "targets": [{"kind": "binary", "name": "click"}, {"kind": "continuous", "name": "watch_time"}],
    }
    assert htl.Schema.from_dict(schema | document).ranking == htl.Ranking(
        {"click": 0.5, "watch_time": 1.0}, floor={"watch_time": 100.0}
    )


def test_the_commands_are_read() -> None:
    commands = [line.split() for block in blocks("bash") for line in block.splitlines()]
    assert len(commands) == 2
    for words in commands:
        assert cli._parse(words).run == "RUN"
