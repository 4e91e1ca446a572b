"""Shell blocks: `htlnet` commands by the command's own parser and readers, and run where that is cheap."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from argparse import Namespace
from pathlib import Path

import pytest

from htlnet_tf import cli
from htlnet_tf.comparison import METHODS, plan
from htlnet_tf.data.synthetic import generate_funnel
from htlnet_tf.files import local_path
from htlnet_tf.models import MODELS
from htlnet_tf.objectives import OBJECTIVES
from htlnet_tf.runs.config import find_config
from htlnet_tf.serving import EmbeddedServer
from tests.conftest import REPO
from tests.docs.blocks import Block, blocks, commands, every_block

# What cannot be tried here, by the first word, and why.
EXCEPTIONS = {
    "docker": "needs a Docker engine: tests/serving/test_docker.py, `make test-stack`",
    "source": "a word of the reader's own shell",
}
# Configurations that a reader is to write first, or to choose.
PLACEHOLDERS = {"CONFIG", "my.yaml"}


def parsed(words: list[str]) -> Namespace:
    return cli._parse(words)


def check_htlnet(words: list[str]) -> None:
    arguments = parsed(words)
    name = getattr(arguments, "config", None)
    if name is not None and name not in PLACEHOLDERS:
        find_config(name, arguments.set)
    if words[1] == "compare":
        given = {
            "methods": list(METHODS) if arguments.methods == "all" else cli._names(arguments.methods),
            "objectives": list(OBJECTIVES) if arguments.objectives == "all" else cli._names(arguments.objectives),
        }
        models = list(MODELS) if arguments.models is None else cli._names(arguments.models)
        plan(models, ablations=arguments.ablations, references=arguments.references, **given)


def check_make(words: list[str]) -> None:
    targets = re.findall(r"^([a-z-]+):", (REPO / "Makefile").read_text(encoding="utf-8"), re.M)
    assert words[1] in targets


def check_pip(words: list[str]) -> None:
    extras = set(re.findall(r'"(\w+)": [A-Z]+', (REPO / "setup.py").read_text(encoding="utf-8")))
    assert words[1] == "install"
    for target in words[2:]:
        named = re.fullmatch(r"\.(?:\[(\w+)\])?", target)
        assert named and (named[1] is None or named[1] in extras)


def check_curl(words: list[str]) -> None:
    """tests/docs/test_requests.py sends those that ask for scores."""
    assert words[1].startswith("http://localhost:8501/v1/models/htlnet")


CHECKS = {"htlnet": check_htlnet, "make": check_make, "pip": check_pip, "curl": check_curl}


@pytest.mark.parametrize("block", every_block("bash"), ids=str)
def test_every_command_is_one(block: Block) -> None:
    found = list(commands(block))
    assert found
    for words in found:
        if words[0] not in EXCEPTIONS:
            assert words[0] in CHECKS, f"{words[0]}: give it a check, or an exception with its reason"
            CHECKS[words[0]](words)


def test_every_exception_is_needed() -> None:
    assert {words[0] for block in every_block("bash") for words in commands(block)} >= EXCEPTIONS.keys() | CHECKS.keys()


def test_the_table_of_commands_is_whole() -> None:
    text = (REPO / "docs" / "commands.md").read_text(encoding="utf-8")
    with pytest.raises(SystemExit), pytest.MonkeyPatch.context() as patch:
        helped: list[str] = []
        patch.setattr("argparse.ArgumentParser._print_message", lambda self, message, file=None: helped.append(message))
        cli._parse(["htlnet", "--help"])
    known = re.findall(r"^    ([a-z-]+)(?: |$)", "".join(helped), re.M)
    assert len(known) >= 14
    assert set(known) == set(re.findall(r"^\| `htlnet ([a-z-]+)", text, re.M))
    for command in known:
        with pytest.raises(SystemExit) as exit_:
            cli._parse(["htlnet", command, "--help"])
        assert exit_.value.code == 0


@pytest.mark.slow
@pytest.mark.parametrize("page", ["docs/commands.md", "docs/data.md"])
def test_from_rows_to_a_server(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    local_path("logs").mkdir()
    generate_funnel(4000).frame.to_parquet("logs/part.parquet")
    (block,) = (b for b in blocks(page, "bash") if "htlnet export" in b.text)
    shorter = dataclasses.replace(block, text=block.text.replace("num_rows=20000", "num_rows=4000"))
    for words in commands(shorter):
        if words[1] == "serve":
            continue  # it would not end
        if "--url" not in words:
            assert cli._main(parsed(words)) == 0, words
            continue
        with EmbeddedServer("models", port=0) as server:
            at = words.index("--url") + 1
            assert cli._main(parsed([*words[:at], server.url, *words[at + 1 :]])) == 0, words


def test_the_shell_reads_the_blocks() -> None:
    for block in every_block("bash"):
        subprocess.run(["bash", "-n"], input=block.text, text=True, check=True, capture_output=True)
