"""Ratios against committed ones, and the pages' tables: on documents that are made up."""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path
from typing import Any

import pytest

from htlnet_tf.benchmarks import all_of_them, committed
from htlnet_tf.benchmarks.all_of_them import BENCHMARKS, bench_all
from htlnet_tf.benchmarks.committed import Entry, Finding, compare, limit_of, read, updated
from htlnet_tf.benchmarks.pages import marked, rewrite, tables_of
from htlnet_tf.errors import InputError
from tests.conftest import REPO, htlnet

MODULES = {"train": "training", "serve": "serving", "score": "scoring"}
LOWER, HIGHER = Entry(1.0, "<= 1.2", "lower"), Entry(2.0, ">= 1.5", "higher")


@pytest.mark.parametrize(
    ("entry", "measured", "status", "reached"),
    [
        (LOWER, 1.1, "as committed", True),
        (LOWER, 1.11, "REGRESSION", True),
        (LOWER, 1.3, "REGRESSION", False),
        (LOWER, 0.89, "better", True),
        (LOWER, math.nan, "REGRESSION", False),
        (LOWER, None, "not measured", None),
        (HIGHER, 1.8, "as committed", True),
        (HIGHER, 1.79, "REGRESSION", True),
        (HIGHER, 2.3, "better", True),
        (Entry(0.0, "<= 0", "lower"), 0.0, "as committed", True),
        (Entry(0.0, "<= 0", "lower"), 1.0, "REGRESSION", False),
        (Entry(1.0, "report", "lower", tolerance=0.5, because="x"), 1.5, "as committed", None),
        (Entry(1.0, "report", None, because="x"), 99.0, "told", None),
        (Entry(None, "<= 1.2", "lower"), 99.0, "not committed", False),
        (Entry(1.0, "report", "lower", because="x", optional=True), None, "told", None),
        (None, 1.0, "not committed", None),
    ],
)
def test_a_ratio_beside_the_committed_one(
    entry: Entry | None, measured: float | None, status: str, reached: bool | None
) -> None:
    found = Finding("train", "r", measured, entry)
    assert (found.status, found.reached) == (status, reached)
    assert found.is_bad == (status in ("REGRESSION", "not measured"))


def test_limits_are_read() -> None:
    assert limit_of("<= 1e-5") == ("lower", 1e-5)
    assert limit_of(">= 0.9") == ("higher", 0.9)
    assert limit_of("< 1.5") == ("lower", 1.5)
    assert limit_of("<= T + 1 = 4") == ("lower", 4.0)
    assert limit_of("report") is None
    with pytest.raises(InputError, match="received 'soon'"):
        limit_of("soon")


def test_a_benchmark_that_was_not_run_is_not_looked_for() -> None:
    known = {"train": {"a": LOWER, "b": LOWER}, "serve": {"c": LOWER}}
    findings = compare(known, {"train": {"b": 1.0, "new": 3.0}})
    assert [(f.name, f.status) for f in findings] == [
        ("a", "not measured"),
        ("b", "as committed"),
        ("new", "not committed"),
    ]


def test_what_is_committed_knows_every_ratio_and_what_it_is_to_reach() -> None:
    known = read()
    assert tuple(known) == BENCHMARKS
    for benchmark, entries in known.items():
        targets = importlib.import_module(f"htlnet_tf.benchmarks.{MODULES.get(benchmark, benchmark)}").TARGETS
        assert {name: entry.to_reach for name, entry in entries.items()} == targets, benchmark


def test_an_update_keeps_reasons_and_is_read_again(tmp_path: Path) -> None:
    known = {"train": {"a": Entry(1.0, "<= 1.2", "lower", 0.3, "wide"), "b": HIGHER}}
    changed = updated(known, {"train": {"a": 1.5, "new": 4.0}, "other": {"c": 2.0}})
    assert changed["train"]["a"] == Entry(1.5, "<= 1.2", "lower", 0.3, "wide")
    assert changed["train"]["b"] == HIGHER
    assert (changed["train"]["new"].ratio, changed["other"]["c"].better) == (4.0, None)
    assert known["train"]["a"].ratio == 1.0
    committed.write(changed, tmp_path / "c.json")
    assert read(tmp_path / "c.json") == changed
    committed.write(read(), tmp_path / "same.json")
    assert (tmp_path / "same.json").read_text() == committed.FILE.read_text()  # the file is as it is written


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"ratio": 1.0, "to_reach": "<= 1", "better": "higher"}, "better='higher' where '<= 1'"),
        ({"ratio": 1.0, "to_reach": "report", "better": "more"}, "better='more'"),
        ({"ratio": 1.0, "to_reach": "report", "better": "lower", "tolerance": 0.5}, "'because' must say"),
        ({"ratio": 1.0, "to_reach": "report", "better": None}, "'because' must say"),
        ({"ratio": 1.0}, "must hold committed ratios"),
        (3, "must hold committed ratios"),
    ],
)
def test_a_damaged_file_is_told(entry: Any, message: str, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(json.dumps({"train": {"a": entry}}))
    with pytest.raises(InputError, match=message):
        read(tmp_path / "c.json")


PAGE = """# A page

<!-- bench:train -->
old

older
<!-- /bench:train -->
between
<!-- bench:serve -->
<!-- /bench:serve -->
end
"""


def test_tables_are_written_between_their_markers_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    assert rewrite(page, {"train": r"| \1 new |", "scale": "nowhere"}) == ["train"]
    assert page.read_text() == PAGE.replace("old\n\nolder", r"| \1 new |")
    rewrite(page, {"serve": "x", "train": "y"})
    rewrite(page, {"serve": "x", "train": "y"})
    assert page.read_text() == PAGE.replace("old\n\nolder", "y").replace(
        "<!-- bench:serve -->", "<!-- bench:serve -->\nx"
    )


@pytest.mark.parametrize(
    "text",
    [
        "<!-- bench:a -->\n",
        "<!-- /bench:a -->\n",
        "<!-- bench:a -->\n<!-- /bench:b -->\n",
        "<!-- bench:a -->\n<!-- bench:b -->\n<!-- /bench:a -->\n<!-- /bench:b -->\n",
        "<!-- bench:a -->\n<!-- /bench:a -->\n" * 2,
    ],
)
def test_markers_that_are_no_pairs_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(text)
    with pytest.raises(InputError, match="one pair"):
        rewrite(tmp_path / "page.md", {"a": "x"})
    assert (tmp_path / "page.md").read_text() == text


def test_the_pages_have_room_for_every_benchmark() -> None:
    texts = {page: page.read_text(encoding="utf-8") for page in (REPO / "docs").glob("*.md")}
    names = [name for page, text in texts.items() for name in marked(page, text)]
    assert sorted(names) == sorted(BENCHMARKS)


DOCUMENT = {
    "machine": {"cpus": 2, "processor": "x86_64"},
    "url": "http://h",
    "seconds_per_step": {"adjusted": {"median": 0.0119, "low": 0.0117, "high": 0.0123, "rounds": 3}},
    "seconds_per_row": {"csv": {"median": 1e-6, "low": 5e-7, "high": 2e-6, "rounds": 3}},
    "loads": [
        {"kind": "gRPC", "candidates": n, "concurrency": c, "p50": n / 1e3, "p99": 1.0, "requests_per_second": 10.0 * c}
        for n in (1, 500)
        for c in (1, 16)
    ],
    "seconds_in_process": {"candidates": {"median": 0.002, "low": 0.001, "high": 0.003, "rounds": 3}},
    "rows": 1_000_000.0,
    "ratios": {"a": 1.0349, "b": 12345.6},
    "ratio_spread": {"a": [1.01, 1.06], "b": [12345.6, 12345.6]},
}


def test_the_tables_of_a_document_by_hand() -> None:
    assert tables_of(DOCUMENT, {"a": "<= 1.08"}) == (
        "| machine |  |\n|---|---|\n| cpus | 2 |\n| processor | x86_64 |\n\n"
        "| case | ms per step | quartiles |\n|---|---|---|\n| adjusted | 11.9 | 11.7 .. 12.3 |\n\n"
        "| case | rows per second | quartiles |\n|---|---|---|\n| csv | 1,000,000 | 500,000 .. 2,000,000 |\n\n"
        "| request | 1 candidates, p50 ms | 500 candidates, p50 ms | 500, 16 at a time, per second |\n"
        "|---|---|---|---|\n| gRPC | 1 | 500 | 160 |\n\n"
        "| 500 candidates in process | ms on one thread | quartiles |\n|---|---|---|\n"
        "| candidates | 2 | 1 .. 3 |\n\n"
        "| once |  |\n|---|---|\n| `rows` | 1,000,000 |\n\n"
        "| ratio | median | quartiles | to reach |\n|---|---|---|---|\n"
        "| `a` | 1.03 | 1.01 .. 1.06 | <= 1.08 |\n| `b` | 12,346 |  |  |"
    )


@pytest.fixture
def place(tmp_path: Path) -> dict[str, Path]:
    """A file of ratios, of which every benchmark has one, `a`; and a page for `train` and `serve`."""
    committed.write({name: {"a": LOWER} for name in BENCHMARKS}, tmp_path / "c.json")
    (tmp_path / "page.md").write_text(PAGE)
    return {"file": tmp_path / "c.json", "docs": tmp_path}


def document(ratio: float) -> dict[str, Any]:
    return {"ratios": {"a": ratio}, "ratio_spread": {"a": [ratio, ratio]}}


def run_all(place: dict[str, Path], ratios: dict[str, float | None], **options: Any) -> Any:
    def run(name: str, rounds: int | None) -> dict[str, Any] | None:
        ratio = ratios.get(name, 1.0)
        return None if ratio is None else document(ratio)

    return bench_all(run=run, write=lambda _: None, **place, **options)


def test_all_that_is_as_committed_is_good_and_shown(place: dict[str, Path]) -> None:
    result = run_all(place, {"train": 1.05})
    assert result.ok
    page = (place["docs"] / "page.md").read_text()
    assert "| `a` | 1.05 |  | <= 1.2 |" in page and "old" not in page and "`htlnet bench serve`" in page
    assert json.loads(json.dumps(result.to_dict()))["ratios"]["train"] == {"a": 1.05}
    assert read(place["file"])["train"]["a"] == LOWER  # nothing is committed unasked


def test_a_regression_is_red_and_a_benchmark_that_fails_is_one(place: dict[str, Path]) -> None:
    worse = run_all(place, {"memory": 1.2})
    assert not worse.ok and worse.failed == ()
    red = [line for line in worse.to_text(color=True).splitlines() if line.startswith("\x1b[31m")]
    assert len(red) == 1 and "memory" in red[0] and "REGRESSION" in red[0] and red[0].endswith("\x1b[0m")
    assert "\x1b" not in worse.to_text()
    gone = run_all(place, {"memory": None})
    assert not gone.ok and gone.failed == ("memory",) and "htlnet bench memory failed" in gone.to_text()


def test_an_update_commits_what_was_measured(place: dict[str, Path]) -> None:
    run_all(place, {"memory": 1.2, "scale": None}, update=True)
    assert read(place["file"])["memory"]["a"].ratio == 1.2
    assert read(place["file"])["scale"]["a"] == LOWER
    assert run_all(place, {"memory": 1.2}).ok
    with pytest.raises(InputError, match="received --rounds"):
        run_all(place, {}, update=True, rounds=1)


def test_few_rounds_are_not_shown(place: dict[str, Path]) -> None:
    run_all(place, {}, rounds=1)
    assert (place["docs"] / "page.md").read_text() == PAGE


@pytest.mark.parametrize(("ratio", "update", "code"), [(1.05, False, 0), (1.2, False, 1), (1.2, True, 0)])
def test_the_exit_code(
    place: dict[str, Path],
    ratio: float,
    update: bool,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def given(*, rounds: int | None, update: bool, write: Any) -> Any:
        return run_all(place, {"train": ratio}, rounds=rounds, update=update)

    monkeypatch.setattr(all_of_them, "bench_all", given)
    assert htlnet("bench", "all", "--json", *(["--update"] if update else [])) == code
    assert json.loads(capsys.readouterr().out)["ratios"]["train"] == {"a": ratio}


def test_flags_of_another_benchmark_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert htlnet("bench", "train", "--update") == 2
    assert "--update goes with all; received it with train" in capsys.readouterr().err
    assert htlnet("bench", "serve", "--models", "m") == 2
    assert "--models goes with switch; received it with serve" in capsys.readouterr().err
