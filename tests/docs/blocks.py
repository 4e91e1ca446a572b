"""The code blocks of the documentation, as a reader finds them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from tests.conftest import REPO

# The changelog has none, and is no page to learn from.
PAGES = ["README.md", "CONTRIBUTING.md", *sorted(str(p.relative_to(REPO)) for p in (REPO / "docs").rglob("*.md"))]
LANGUAGES = {"bash", "json", "python", "sh", "yaml", "textproto"}  # bash: commands to type; sh: a script


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        """As a test's parameter."""
        return f"{self.page}:{self.line}"


def blocks(page: str, language: str | None = None) -> list[Block]:
    """The blocks of a page, or those in one language."""
    text = (REPO / page).read_text(encoding="utf-8")
    found = [
        Block(page, text.count("\n", 0, match.start()) + 1, match[1], match[2])
        for match in re.finditer(r"^```([^\n]*)\n(.*?)^```$", text, re.S | re.M)
    ]
    return [block for block in found if language in (None, block.language)]


def every_block(language: str) -> list[Block]:
    """Those of all pages in a language."""
    return [block for page in PAGES for block in blocks(page, language)]


def pages_with(language: str) -> list[str]:
    """Pages that have such blocks."""
    return [page for page in PAGES if blocks(page, language)]


def commands(block: Block) -> Iterator[list[str]]:
    """The commands of a shell block as words: lines that go on are joined, comments left out, variables set in."""
    waiting, variables = "", dict[str, str]()
    for line in block.text.splitlines():
        waiting += line
        if waiting.endswith("\\"):
            waiting = waiting[:-1]
            continue
        try:
            words = shlex.split(waiting, comments=True)
        except ValueError:  # a quotation that the next line goes on with
            waiting += "\n"
            continue
        waiting = ""
        while words and (assigned := re.fullmatch(r"([A-Z_]+)=(.*)", words[0])):
            variables[f"${assigned[1]}"] = assigned[2]
            words = words[1:]
        if words:
            yield [variables.get(word, word) for word in words]
    assert not waiting, f"{block} ends within a command"
