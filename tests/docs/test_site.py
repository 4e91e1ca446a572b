"""The site: every page has its place, links hold on the code host, and the reference has every public name."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import htlnet_tf as htl
from tests.conftest import REPO
from tests.docs.blocks import PAGES

SUBMODULES = ("data", "export", "inspection", "objectives", "plots", "serving")
# Of these rooms, what is for those who extend the package: functions of registries, and bases.
INTERNAL = {
    "objectives": {
        *("BinaryCrossEntropy", "OBJECTIVES", "SoftmaxCrossEntropy", "Units", "WITH_DISTRIBUTION", "declared"),
        "objective_of",
    },
    "export": set(),
}


class _Loader(yaml.SafeLoader):
    """Reads the tags of MkDocs as plain values."""


_Loader.add_multi_constructor("!", lambda loader, suffix, node: None)
SITE: dict[str, Any] = yaml.load((REPO / "mkdocs.yml").read_text(encoding="utf-8"), _Loader)


def leaves(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    return [leaf for part in (nav.values() if isinstance(nav, dict) else nav) for leaf in leaves(part)]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as the code host and the site make them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.S | re.M), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_every_page_has_its_place() -> None:
    pages = {page.removeprefix("docs/") for page in PAGES} | {"tutorial.ipynb", "CHANGELOG.md"}
    assert sorted(leaves(SITE["nav"])) == sorted(pages)


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md", "docs/tutorial.ipynb"])
def test_links_hold_on_the_code_host(page: str) -> None:
    text = (REPO / page).read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = ((REPO / page).parent / path).resolve() if path else REPO / page
        assert target.is_file(), f"{page}: {link}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{page}: {link}"


def test_every_picture_is_shown() -> None:
    text = "".join((REPO / page).read_text(encoding="utf-8") for page in PAGES)
    assert [path.name for path in (REPO / "docs" / "images").iterdir() if f"images/{path.name})" not in text] == []


def documented() -> set[str]:
    found: list[str] = []
    for page in (REPO / "docs" / "api").glob("*.md"):
        found += re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.M)
    assert len(found) == len(set(found))
    return set(found)


def place(item: Any) -> str:
    return f"{item.__module__}.{item.__qualname__}"


def test_the_reference_has_every_public_name() -> None:
    public = [getattr(htl, name) for name in htl.__all__]
    public = [item for item in public if not hasattr(item, "__path__")]
    for name in SUBMODULES:
        room = getattr(htl, name)
        items = [getattr(room, n) for n in room.__all__ if n not in INTERNAL.get(name, ())]
        for module in [item for item in items if inspect.ismodule(item)]:
            items += [getattr(module, n) for n in module.__all__]
        public += [item for item in items if not inspect.ismodule(item)]
    assert {place(item) for item in public} <= documented()


def test_the_reference_names_what_is_there() -> None:
    for path in documented():
        module, _, name = path.rpartition(".")
        assert place(getattr(importlib.import_module(module), name)) == path


def test_nothing_is_fetched_from_elsewhere() -> None:
    assert SITE["theme"]["font"] is False
    assert not [script for script in SITE["extra"]["polyfills"] if "://" in script]
    assert any(
        "iframe-worker" in script for script in SITE["extra"]["polyfills"]
    )  # or the theme adds it from elsewhere
