"""docs/serving.md: the flags, paths and variables that it names are there."""

from __future__ import annotations

import re

import yaml

from tests.conftest import REPO
from tests.serving.stack import FLAGS

TEXT = (REPO / "docs" / "serving.md").read_text(encoding="utf-8")


def test_flags_and_paths_are_there() -> None:
    assert set(re.findall(r"`--([a-z]+_[a-z_]+)[`=]", TEXT)) <= FLAGS
    paths = set(re.findall(r"(serving/(?:kubernetes/\w+|config/[\w.]+|[\w.-]+))", TEXT))
    assert paths and all((REPO / path).exists() for path in paths)


def test_every_variable_of_the_stack_is_explained() -> None:
    document = (REPO / "serving" / "docker-compose.yml").read_text(encoding="utf-8")
    assert yaml.safe_load(document)
    assert all(f"`{name}" in TEXT or f"`{name}=" in TEXT for name in set(re.findall(r"\$\{(\w+)", document)))
