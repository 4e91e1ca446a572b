"""Code blocks say their language, and what is configuration is read by what reads configurations."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from htlnet_tf.runs.config import RunConfig
from htlnet_tf.schema import Schema
from tests.conftest import REPO
from tests.docs.blocks import LANGUAGES, PAGES, Block, blocks, every_block

SHORT = re.compile(r"`((?:training|model|data|split|statistics): [\[{][^`]*[\]}])`")


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_its_language(page: str) -> None:
    text = (REPO / page).read_text(encoding="utf-8")
    assert len(re.findall(r"^ *(?:```|~~~)", text, re.M)) == 2 * len(blocks(page))
    assert {block.language for block in blocks(page)} <= LANGUAGES


def read(document: dict[str, Any], folder: Path) -> None:
    """Reads a document, or the part of one, as the package does."""
    schema = {
        "features": [{"kind": "categorical", "name": f"{of}_id"} for of in ("user", "video", "author", "music")],
        "targets": [{"kind": "binary", "name": "click"}, {"kind": "continuous", "name": "watch_time"}],
        "timestamp": "time_ms",
    }
    if document.keys() <= {"features", "targets", "timestamp", "delimiter", "ranking", "statistics"}:
        Schema.from_dict(schema | document)
    else:
        path = folder / "config.yaml"
        path.write_text(yaml.safe_dump({"data": {"loader": "generated"}} | document), encoding="utf-8")
        RunConfig.from_yaml(path)


@pytest.mark.parametrize("block", every_block("yaml"), ids=str)
def test_yaml_blocks(block: Block, tmp_path: Path) -> None:
    read(yaml.safe_load(block.text), tmp_path)


@pytest.mark.parametrize("page", PAGES)
def test_yaml_in_a_line(page: str, tmp_path: Path) -> None:
    # What leaves something out says so.
    for text in SHORT.findall((REPO / page).read_text(encoding="utf-8").replace("\n", " ")):
        if "..." not in text:
            read(yaml.safe_load(text), tmp_path)


def test_the_table_of_splits(tmp_path: Path) -> None:
    text = (REPO / "docs" / "data.md").read_text(encoding="utf-8")
    section = text[text.index("## Splits") : text.index("## What goes wrong")]
    splits = re.findall(r"`(\{by: .*?\}|\[.*?\])`", section)
    assert len(splits) >= 6
    for written in splits:
        split = written
        for part in ("[a]", "[b]", "[c]") if "by: column" in split else ("[0.8, 0.1, 0.1]",):
            split = split.replace("[...]", part, 1)
        read({"split": yaml.safe_load(split)}, tmp_path)


@pytest.mark.parametrize("block", every_block("textproto"), ids=str)
def test_configurations_of_the_server(block: Block) -> None:
    parsed = text_format.Parse(block.text, model_server_config_pb2.ModelServerConfig())
    assert parsed.model_config_list.config[0].name == "htlnet"
