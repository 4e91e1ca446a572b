"""`benchmarks/committed.json`: the ratios that were measured last, and whether new ones are as good."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from htlnet_tf.errors import InputError
from htlnet_tf.files import atomic_file
from htlnet_tf.text_tables import aligned

FILE = Path(__file__).resolve().parent / "committed.json"
TOLERANCE = 0.1

Better = Literal["lower", "higher"]
Status = Literal["as committed", "better", "REGRESSION", "not measured", "not committed", "told"]


@dataclasses.dataclass(frozen=True)
class Entry:
    """A ratio as it was committed.

    Attributes:
      ratio: Its value; None: it was not measured yet.
      to_reach: What is asked of it, `"<= 1.08"`, or `"report"`: nothing.
      better: Which direction; None: neither, it is told and not compared.
      tolerance: By which share of it a new value may be worse.
      because: Why the tolerance is another one than a tenth, or nothing is compared, or it may be absent.
      optional: Whether it may be absent.
    """

    ratio: float | None
    to_reach: str
    better: Better | None
    tolerance: float = TOLERANCE
    because: str = ""
    optional: bool = False


Committed = dict[str, dict[str, Entry]]
"""By benchmark and ratio."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """A ratio beside what was committed.

    Attributes:
      benchmark: `"train"`.
      name: Of the ratio.
      measured: None: it was not measured.
      entry: What was committed; None: it is new.
    """

    benchmark: str
    name: str
    measured: float | None
    entry: Entry | None

    @property
    def status(self) -> Status:
        """What is to be said of it."""
        if self.measured is None:
            return "told" if self.entry is not None and self.entry.optional else "not measured"
        if self.entry is None or self.entry.ratio is None:
            return "not committed"
        if self.entry.better is None:
            return "told"
        sign = 1.0 if self.entry.better == "lower" else -1.0
        measured, ratio, allowed = sign * self.measured, sign * self.entry.ratio, self.entry.tolerance
        best, worst = ratio - allowed * abs(ratio), ratio + allowed * abs(ratio)
        # Written so that NaN is a regression.
        return "better" if measured < best else "as committed" if measured <= worst else "REGRESSION"

    @property
    def is_bad(self) -> bool:
        """Whether it is worse than committed, or has gone."""
        return self.status in ("REGRESSION", "not measured")

    @property
    def reached(self) -> bool | None:
        """Whether the value is what is to be reached; None: nothing is, or it was not measured."""
        limit = None if self.entry is None else limit_of(self.entry.to_reach)
        if limit is None or self.measured is None:
            return None
        return self.measured <= limit[1] if limit[0] == "lower" else self.measured >= limit[1]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        entry = self.entry or Entry(None, "report", None)
        return {
            "benchmark": self.benchmark,
            "ratio": self.name,
            "measured": self.measured,
            "committed": entry.ratio,
            "to_reach": entry.to_reach,
            "reached": self.reached,
            "status": self.status,
        }


def limit_of(to_reach: str) -> tuple[Better, float] | None:
    """The direction and the number of `"<= 1.08"`, `">= 4"` or `"<= T + 1 = 4"`; None of `"report"`.

    Raises:
      InputError: It is neither.
    """
    if to_reach == "report":
        return None
    found = re.fullmatch(r"([<>])=? (?:.* = )?([0-9.e+-]+)", to_reach)
    if found is None:
        raise InputError(f"what is to be reached must be '<= NUMBER', '>= NUMBER' or 'report', received {to_reach!r}")
    return ("lower" if found[1] == "<" else "higher"), float(found[2])


def compare(committed: Committed, measured: Mapping[str, Mapping[str, float]]) -> list[Finding]:
    """Every ratio of the benchmarks that were run, in the committed order, new ones last.

    Args:
      committed: As read.
      measured: By benchmark and ratio; a benchmark that failed has none.
    """
    findings = []
    for benchmark, ratios in measured.items():
        entries = committed.get(benchmark, {})
        names = [*entries, *(name for name in ratios if name not in entries)]
        findings += [Finding(benchmark, name, ratios.get(name), entries.get(name)) for name in names]
    return findings


def to_text(findings: list[Finding], *, color: bool) -> str:
    """A table; regressions in red, if `color`."""
    table = [["benchmark", "ratio", "measured", "committed", "to reach", ""]]
    for found in findings:
        entry = found.entry or Entry(None, "report", None)
        values = ("-" if value is None else f"{value:.4g}" for value in (found.measured, entry.ratio))
        missed = ", not reached" if found.reached is False else ""
        table.append([found.benchmark, found.name, *values, entry.to_reach, f"{found.status}{missed}"])
    lines = aligned(table, left=(0, 1, 4, 5)).splitlines()
    for i, found in enumerate(findings, 2):  # behind the header and its rule
        if found.is_bad and color:
            lines[i] = f"\x1b[31m{lines[i]}\x1b[0m"
    return "\n".join(lines)


def read(path: Path = FILE) -> Committed:
    """Reads a file of committed ratios.

    Raises:
      InputError: It is damaged, or an entry lacks a reason that is due.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        committed = {b: {name: Entry(**entry) for name, entry in ratios.items()} for b, ratios in document.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"'{path}' must hold committed ratios by benchmark and name: {error}") from error
    for benchmark, entries in committed.items():
        for name, entry in entries.items():
            limit = limit_of(entry.to_reach)
            if entry.better not in (None, "lower", "higher") or (entry.better and limit and limit[0] != entry.better):
                raise InputError(
                    f"'{path}', {benchmark}, {name}: better={entry.better!r} where {entry.to_reach!r} is due"
                )
            if not entry.because and (entry.tolerance != TOLERANCE or entry.better is None or entry.optional):
                raise InputError(f"'{path}', {benchmark}, {name}: 'because' must say why it is not compared as others")
    return committed


def updated(committed: Committed, measured: Mapping[str, Mapping[str, float]]) -> Committed:
    """The ratios that were measured in place of the committed ones; tolerances and reasons stay.

    A new ratio is told and not compared, until somebody writes into the file which direction is better.
    """
    result = {benchmark: dict(entries) for benchmark, entries in committed.items()}
    for benchmark, ratios in measured.items():
        entries = result.setdefault(benchmark, {})
        for name, ratio in ratios.items():
            before = entries.get(name) or Entry(None, "report", None, because="new: which direction is better?")
            entries[name] = dataclasses.replace(before, ratio=ratio)
    return result


def write(committed: Committed, path: Path = FILE) -> None:
    """Replaces the file."""
    defaults = {f.name: f.default for f in dataclasses.fields(Entry) if f.default is not dataclasses.MISSING}

    def plain(entry: Entry) -> dict[str, Any]:
        return {name: v for name, v in dataclasses.asdict(entry).items() if name not in defaults or v != defaults[name]}

    document = {b: {name: plain(entry) for name, entry in entries.items()} for b, entries in committed.items()}
    with atomic_file(path) as partial:
        partial.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
