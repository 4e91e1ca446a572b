"""What the pages name in passing is there: names of the package, files of the repository, `htlnet` commands."""

from __future__ import annotations

import contextlib
import importlib
import re
from typing import Any

import pytest

import htlnet_tf
from htlnet_tf import cli
from tests.conftest import REPO
from tests.docs.blocks import PAGES

FOLDERS = "benchmarks|configs|docs|export|htlnet_tf|serving|tests"


def found(name: str) -> bool:
    """Whether `htl.NAME` is there, as an attribute or a module."""
    item: Any = htlnet_tf
    for part in name.split("."):
        if not hasattr(item, part):
            with contextlib.suppress(ImportError):
                importlib.import_module(f"{getattr(item, '__name__', '')}.{part}")
        if not hasattr(item, part):
            return False
        item = getattr(item, part)
    return True


@pytest.mark.parametrize("page", PAGES)
def test_names_of_the_package(page: str) -> None:
    text = (REPO / page).read_text(encoding="utf-8")
    named = set(re.findall(r"\bhtl(?:net_tf)?\.((?:[A-Za-z_]+\.)*[A-Za-z_]+)", text))
    placeholders = {"NAME", "ROOM.NAME"}
    assert [name for name in sorted(named - placeholders) if not found(name)] == []


@pytest.mark.parametrize("page", PAGES)
def test_files_of_the_repository(page: str) -> None:
    text = (REPO / page).read_text(encoding="utf-8")
    named = set(re.findall(rf"`((?:{FOLDERS})/[\w./-]*\w/?)`", text))
    assert [name for name in sorted(named) if not (REPO / name).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_commands(page: str) -> None:
    text = (REPO / page).read_text(encoding="utf-8")
    for command in set(re.findall(r"`htlnet ([a-z]+(?:-[a-z]+)*)\b", text)):
        with pytest.raises(SystemExit) as exit_:
            cli._parse(["htlnet", command, "--help"])
        assert exit_.value.code == 0, command
