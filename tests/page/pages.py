"""Pages read back: tables, headings, pictures and ids, by Python's own parser."""

from __future__ import annotations

import dataclasses
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd

import htlnet_tf as htl
from htlnet_tf.judging.reports import MetricRow, Report
from htlnet_tf.page import facts
from htlnet_tf.page.run_inputs import RunInputs, Servable

NASTY = "</script><b>Größe & \"Maß\" '1'</b>"
NAN = float("nan")
VOID = {"meta", "link"}


@dataclasses.dataclass
class Read:
    """What a page holds.

    Attributes:
      tables: By caption, rows of cells, the head first.
      headings: Level and text.
      charts: By the text that says what they show, the tags in them.
      codes: Texts to copy.
      texts: All text outside of style and script.
      tags: Every tag that was opened.
      ids: Of sections.
      links: To sections.
    """

    tables: dict[str, list[list[str]]] = dataclasses.field(default_factory=dict)
    headings: list[tuple[int, str]] = dataclasses.field(default_factory=list)
    charts: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    codes: list[str] = dataclasses.field(default_factory=list)
    texts: list[str] = dataclasses.field(default_factory=list)
    tags: list[str] = dataclasses.field(default_factory=list)
    ids: list[str] = dataclasses.field(default_factory=list)
    links: list[str] = dataclasses.field(default_factory=list)
    attributes: list[tuple[str, str | None]] = dataclasses.field(default_factory=list)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.read, self.open = Read(), list[str]()
        self.rows: list[list[str]] = []
        self.caption, self.chart, self.aside = "", "", 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.read.tags.append(tag)
        self.read.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)
        if tag == "section":
            self.read.ids.append(given["id"] or "")
        if tag == "a":
            self.read.links.append(given["href"] or "")
        if tag == "table":
            self.rows, self.caption = [], ""
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag in ("h1", "h2", "h3"):
            self.read.headings.append((int(tag[1]), ""))
        if tag == "code":
            self.read.codes.append("")
        if tag == "svg" and given.get("role") == "img":
            self.chart = given["aria-label"] or ""
            self.read.charts[self.chart] = []
        if self.chart:
            self.read.charts[self.chart].append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"
        if tag == "svg":
            self.chart = ""
        if tag == "table":
            self.read.tables[self.caption] = [[cell.strip() for cell in row] for row in self.rows]

    def handle_data(self, data: str) -> None:
        if "style" in self.open or "script" in self.open:
            return
        self.read.texts.append(data)
        if "caption" in self.open:
            self.caption += data
        if "table" in self.open and ("td" in self.open or "th" in self.open) and "span" not in self.open:
            self.rows[-1][-1] += data
        if self.open and self.open[-1] in ("h1", "h2", "h3"):
            level, text = self.read.headings[-1]
            self.read.headings[-1] = (level, text + data)
        if "code" in self.open:
            self.read.codes[-1] += data


def read(html: str) -> Read:
    """A page as it says; every tag is closed where it was opened, or a test fails."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader.read


def schema(num_features: int = 4) -> htl.Schema:
    """A column with a name that HTML has to be protected from, and as many others as wanted."""
    return htl.Schema(
        features=[
            htl.Categorical("user_id", group="user", dtype="string"),
            htl.Categorical("size", column=NASTY, dtype="string"),
            htl.Numeric("price"),
            *(htl.Categorical(f"feature_{i}", dtype="int64", group="context") for i in range(num_features - 3)),
        ],
        targets=[htl.Binary("click"), htl.Continuous("spend", unit="EUR <b>")],
        timestamp="time_ms",
    )


def report(**changed: float) -> Report:
    """Numbers that a test can find again."""
    values = {"click/auc": 0.71234, "click/logloss": 0.5, "click/calibration_error": 0.0123}
    values |= {"click/calibration_error_before": 0.0321, "spend/coverage_p90": 0.8767}
    values |= {"spend/nrmse": 0.91234, "spend/spearman": NAN, "spend/level": 1.05, "spend/rmse": 1234.5}
    kinds = {"click": "binary", "spend": "continuous"}
    rows = []
    for name, value in (values | changed).items():
        target, metric = name.split("/")
        rows.append(
            MetricRow(target, kinds[target], metric, value, "all predictions are <1>" if np.isnan(value) else "")
        )
    return Report(tuple(rows), 1000, "EUR <b>", {"spend": 900}, {})


def run_facts(num_features: int = 4) -> facts.RunFacts:
    """Every optional part filled in."""
    bins = [facts.Bin(t, i, 100, 0.1 * i + 0.05, 0.1 * i, 0.01) for t in ("click", "spend") for i in range(10)]
    gains = [
        facts.Gain(t, top, min(1, 2 * top), min(1, 4 * top)) for t in ("click", "spend") for top in (0, 0.1, 0.5, 1)
    ]
    sources = [feature.source for feature in schema(num_features).inputs]
    importance = [
        facts.Importance(source, "item", target, metric, 0.1 / (i + 1), 0.001)
        for i, source in enumerate(sources)
        for target, metric in (("click", "auc"), ("spend", "nrmse"))
    ]
    return facts.RunFacts(
        made_at="2026-01-02T03:04:05+00:00",
        command=f"htlnet train '{NASTY}' --output run",
        versions={"htlnet_tf": "0.1.0", "python": "3.11.7"},
        model="HTLNet",
        parameters=12345,
        rows={"train": 8000, "valid": 1000, "test": 1000},
        members=(facts.Member(0, 2, 3, 12.5),),
        trivial={"mean": report(**{"click/auc": 0.5, "spend/nrmse": 1.001}).to_dict()},
        calibration=tuple(bins),
        gains=tuple(gains),
        drift={"user_id": 0.3, "price": 0.01, "size": None},
        importance=tuple(importance),
        importance_rows=1000,
    )


def inputs(num_features: int = 4, **changed: Any) -> RunInputs:
    """A run with everything that a page can show."""
    declared = schema(num_features)
    history = {
        "epoch": [1, 2, 3],
        "loss": [3.0, 2.0, 1.0],
        "val_relative_loss": [0.9, 0.8, NAN],
        "val_click_auc": [0.6] * 3,
    }
    steps = np.arange(2000)
    gradients = {f"{t}_gradient_{q}": 1 + np.sin(steps) ** 2 for t in ("click", "spend") for q in ("norm", "cosine")}
    held_out = pd.DataFrame({f.source: range(20) for f in declared.inputs}).assign(
        user_id=[None, *(f"it's {i}" for i in range(19))], price=0.1, **{NASTY: "ü</script>"}
    )
    given: dict[str, Any] = {
        "name": "runs/my run",
        "title": f"HTLNet on {NASTY}",
        "schema": declared,
        "settings": {"data": {"loader": "generic", "path": NASTY}, "training": {"batch_size": 512, "epochs": 3}},
        "config_text": f"data: {NASTY}",
        "report": report(),
        "facts": run_facts(num_features),
        "history": pd.DataFrame(history),
        "gradients": pd.DataFrame(gradients),
        "out_of_vocabulary": pd.DataFrame({"train": [0.0], "test": [0.0625]}, index=["user_id"]),
        "split": {
            "config": {"by": "time", "fractions": [0.8, 0.1, 0.1]},
            "timestamp": "time_ms",
            "cuts": [1700000000000, 1700000001000],
        },
        "held_out": held_out,
        "servable": Servable("htlnet", 3, 1_234_567, ["serving_default", "candidates"]),
    }
    return RunInputs(**(given | changed))
