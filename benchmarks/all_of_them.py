"""`htlnet bench all`, `make bench`: every benchmark, compared with what is committed, and shown in the pages."""

from __future__ import annotations

import dataclasses
import datetime
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from htlnet_tf import cores
from htlnet_tf.benchmarks import committed as committed_ratios
from htlnet_tf.benchmarks.committed import Committed, Finding, compare, updated
from htlnet_tf.benchmarks.pages import rewrite, tables_of
from htlnet_tf.errors import InputError

BENCHMARKS = ("train", "data", "serve", "scale", "score", "switch", "memory", "start")
DOCS = Path(__file__).resolve().parents[1] / "docs"

Document = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class AllBenchmarks:
    """What all of them found.

    Attributes:
      documents: By benchmark, what `htlnet bench NAME --json` printed; of one that failed, nothing.
      findings: Every ratio beside what was committed.
      failed: The benchmarks that ended with an error.
    """

    documents: dict[str, Document]
    findings: list[Finding]
    failed: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether no ratio is worse than committed or gone, and nothing failed."""
        return not self.failed and not any(found.is_bad for found in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: `ratios` by benchmark, the findings, and the documents."""
        return {
            "ratios": {name: document["ratios"] for name, document in self.documents.items()},
            "findings": [found.to_dict() for found in self.findings],
            "failed": list(self.failed),
            "benchmarks": self.documents,
        }

    def to_text(self, *, color: bool = False) -> str:
        """The table of findings, and what failed; regressions in red, if `color`."""
        text = committed_ratios.to_text(self.findings, color=color)
        bad = sum(found.is_bad for found in self.findings)
        last = f"{bad} of {len(self.findings)} ratios are worse than committed, or were not measured"
        return "\n".join([text, "", last, *(f"htlnet bench {name} failed" for name in self.failed)])


def run_one(name: str, rounds: int | None) -> Document | None:
    """Runs a benchmark in a process of its own, whose progress goes to standard error; None if it failed."""
    command = [sys.executable, "-m", "htlnet_tf", "bench", name, "--json"]
    command += [] if rounds is None else ["--rounds", f"{rounds}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


def bench_all(
    *,
    rounds: int | None = None,
    update: bool = False,
    run: Callable[[str, int | None], Document | None] = run_one,
    file: Path = committed_ratios.FILE,
    docs: Path = DOCS,
    write: Callable[[str], None] = print,
) -> AllBenchmarks:
    """Runs every benchmark in turn and compares its ratios with the committed ones.

    The pages in `docs` get the new tables, unless `rounds` makes them too few to be shown, or there is no such folder:
    the package is installed without it.

    Args:
      rounds: As of each benchmark; None: its own.
      update: Commit the new ratios, in place of the old ones.
      run: Runs one.
      file: The committed ratios.
      docs: The folder with the pages.
      write: Where progress lines go.

    Raises:
      InputError: The file of ratios is damaged; or `update` with `rounds`, which would commit what says little.
    """
    if update and rounds is not None:
        raise InputError("--update commits what a whole run has measured; received --rounds with it")
    before = committed_ratios.read(file)
    documents: dict[str, Document] = {}
    for name in BENCHMARKS:
        write(f"htlnet bench {name}")
        document = run(name, rounds)
        if document is not None:
            documents[name] = document
    ratios = {name: document["ratios"] for name, document in documents.items()}
    failed = tuple(name for name in BENCHMARKS if name not in documents)
    result = AllBenchmarks(documents, compare(before, {**ratios, **{name: {} for name in failed}}), failed)
    if update:
        committed_ratios.write(updated(before, ratios), file)
        write(f"written to {file}")
    if rounds is None:
        _show(documents, before, docs, write)
    return result


def _show(documents: dict[str, Document], committed: Committed, docs: Path, write: Callable[[str], None]) -> None:
    tables = {}
    for name, document in documents.items():
        asked = {ratio: entry.to_reach for ratio, entry in committed.get(name, {}).items()}
        told = f"Measured by `htlnet bench {name}` on {cores.count()} CPU cores, {datetime.date.today().isoformat()}."
        tables[name] = f"\n{told}\n\n{tables_of(document, asked)}\n"
    for page in sorted(docs.glob("*.md")):
        if "<!-- bench:" in page.read_text(encoding="utf-8"):
            shown = rewrite(page, tables)
            write(f"{page}: {', '.join(shown)}")
