"""The tables of measurements in the pages: rewritten between `<!-- bench:NAME -->` and `<!-- /bench:NAME -->`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from htlnet_tf.errors import InputError
from htlnet_tf.files import atomic_file

Cells = Sequence[Sequence[str]]
Document = Mapping[str, Any]


def rewrite(page: Path, tables: Mapping[str, str]) -> list[str]:
    """Puts texts between a page's markers, each on lines of its own.

    Args:
      page: A Markdown file.
      tables: By the markers' name. A name that the page has no markers for is left out.

    Returns:
      The names that were found.

    Raises:
      InputError: A marker is not closed, stands twice, or is closed without being opened.
    """
    text = page.read_text(encoding="utf-8")
    found = marked(page, text)
    for name in found:
        if name in tables:
            body = tables[name]
            pattern = re.compile(rf"(<!-- bench:{name} -->\n).*?(<!-- /bench:{name} -->)", re.DOTALL)
            text = pattern.sub(lambda m, body=body: f"{m[1]}{body}\n{m[2]}", text)  # type: ignore[misc]
    with atomic_file(page) as partial:
        partial.write_text(text, encoding="utf-8")
    return [name for name in found if name in tables]


def marked(page: Path, text: str) -> list[str]:
    """The names between whose markers a page's text has room; errors are those of `rewrite`."""
    marks = re.findall(r"^<!-- (/?)bench:(\w+) -->$", text, re.MULTILINE)
    names = [name for slash, name in marks if not slash]
    if marks != [(slash, name) for name in names for slash in ("", "/")] or len(set(names)) < len(names):
        raise InputError(
            f"'{page}': the markers must be pairs of lines, '<!-- bench:NAME -->' and '<!-- /bench:NAME -->', one pair "
            f"per name; received {[slash + name for slash, name in marks]}"
        )
    return names


def tables_of(document: Document, to_reach: Mapping[str, str]) -> str:
    """The Markdown tables of a benchmark.

    Args:
      document: What `htlnet bench NAME --json` printed.
      to_reach: By ratio, what is asked of it; `"report"`: nothing.
    """
    tables = [render(document[name]) for name, render in _PARTS.items() if document.get(name)]
    facts = [[f"`{name}`", number(value)] for name, value in document.items() if isinstance(value, (int, float))]
    if facts:
        tables.append([["once", ""], *facts])
    tables.append(_ratios(document, to_reach))
    return "\n\n".join(_markdown(table) for table in tables)


def number(value: float) -> str:
    """Three digits, or all of a large whole."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _ratios(document: Document, to_reach: Mapping[str, str]) -> Cells:
    table = [["ratio", "median", "quartiles", "to reach"]]
    for name, ratio in document["ratios"].items():
        low, high = document["ratio_spread"][name]
        asked = to_reach.get(name, "report")
        spread = "" if low == ratio == high else f"{number(low)} .. {number(high)}"
        table.append([f"`{name}`", number(ratio), spread, "" if asked == "report" else asked])
    return table


def _timings(header: str, shown: Callable[[float], float]) -> Callable[[Document], Cells]:
    def render(timings: Document) -> Cells:
        table = [[*header.split(", "), "quartiles"]]
        for name, t in timings.items():
            low, high = sorted((shown(t["low"]), shown(t["high"])))
            table.append([name, number(shown(t["median"])), f"{number(low)} .. {number(high)}"])
        return table

    return render


def _values(header: str, shown: Callable[[float], float]) -> Callable[[Document], Cells]:
    def render(values: Document) -> Cells:
        return [header.split(", "), *([name, number(shown(value))] for name, value in values.items())]

    return render


def _loads(loads: Sequence[Document]) -> Cells:
    """Median latencies one at a time, by kind and candidates; and at the highest concurrency requests per second."""
    most = max(load["concurrency"] for load in loads)
    counts = sorted({load["candidates"] for load in loads})
    found = {(load["kind"], load["candidates"], load["concurrency"]): load for load in loads}
    table = [["request", *(f"{n} candidates, p50 ms" for n in counts), f"{counts[-1]}, {most} at a time, per second"]]
    for kind in dict.fromkeys(load["kind"] for load in loads):
        latencies = [number(1e3 * found[kind, n, 1]["p50"]) if (kind, n, 1) in found else "" for n in counts]
        table.append([kind, *latencies, number(found[kind, counts[-1], most]["requests_per_second"])])
    return table


def _latencies(latencies: Document) -> Cells:
    table = [["latency", "requests", "p50 ms", "p99 ms", "p99.9 ms", "largest"]]
    for name, found in latencies.items():
        table.append([name, *(number(found[key]) for key in ("requests", "p50", "p99", "p99.9", "max"))])
    return table


def _machine(machine: Document) -> Cells:
    return [["machine", ""], *([name, number(v) if isinstance(v, (int, float)) else v] for name, v in machine.items())]


# By the key of a document, how it is shown.
_PARTS: dict[str, Callable[[Any], Cells]] = {
    "machine": _machine,
    "seconds_per_step": _timings("case, ms per step", lambda s: 1e3 * s),
    "seconds_per_row": _timings("case, rows per second", lambda s: 1.0 / s),
    "bytes_per_step": _values("a worker of two gives per step, kB", lambda size: size / 1e3),
    "loads": _loads,
    "seconds_in_process": _timings("500 candidates in process, ms on one thread", lambda s: 1e3 * s),
    "latency_ms": _latencies,
    "seconds": _timings("until the server has it, seconds", lambda s: s),
}


def _markdown(table: Cells) -> str:
    header, *rows = ["| " + " | ".join(cells) + " |" for cells in table]
    return "\n".join([header, "|" + "---|" * len(table[0]), *rows])
