"""Python blocks run as they stand, those of a page in order, on a few generated rows."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf.data.synthetic import generate_funnel
from htlnet_tf.files import local_path
from htlnet_tf.runs import config as run_config
from htlnet_tf.serving import EmbeddedServer
from tests.conftest import small_frame
from tests.docs.blocks import blocks, pages_with

Names = dict[str, Any]
Request = pytest.FixtureRequest


def run(page: str, names: Names, **replaced: str) -> Names:
    """Runs the blocks of a page with these names there, and gives what names there are then."""
    for block in blocks(page, "python"):
        text = block.text
        for old, new in replaced.items():
            text = text.replace(old, new)
        exec(compile("\n" * block.line + text, page, "exec"), names)
    return names


def impressions() -> None:
    """The table that the README reads."""
    rows = small_frame(2000).rename(columns={"age": "register_days", "buy": "long_view", "spend": "watch_time"})
    rows.to_csv("impressions.csv", index=False)


def of_the_readme(request: Request) -> Names:
    """What the README has before its model."""
    impressions()
    names: Names = {}
    (block,) = blocks("README.md", "python")
    exec(block.text.partition("model = ")[0], names)
    return names


class Consumer:
    """A consumer of Kafka's whose topic has a few messages."""

    def __init__(self) -> None:
        self._waiting = [Message(line) for line in small_frame(300).to_json(orient="records", lines=True).splitlines()]

    def consume(self, most: int, timeout: float) -> list[Message]:
        """Those that came in the meantime."""
        taken, self._waiting = self._waiting[:100], self._waiting[100:]
        return taken


class Message:
    """One row as JSON."""

    def __init__(self, line: str) -> None:
        self._line = line

    def error(self) -> None:
        """Nothing went wrong."""

    def value(self) -> bytes:
        """The row."""
        return self._line.encode()


def of_files(request: Request) -> Names:
    local_path("logs").mkdir()
    request.getfixturevalue("frame").to_parquet("logs/part.parquet")
    return {"htl": htl, "schema": request.getfixturevalue("schema"), "consumer": Consumer()}


def of_a_model(request: Request) -> Names:
    model = request.getfixturevalue("make_model")()
    return {"htl": htl, "schema": model.schema, "encoder": model.encoder, "train": small_frame(), "model": model}


def of_a_calibration(request: Request) -> Names:
    return of_a_model(request) | {"valid": small_frame(1000, seed=1), "test": small_frame(1000, seed=2)}


def of_days(request: Request) -> Names:
    """A run, and rows of the day after it with a user that is new."""
    run, _ = request.getfixturevalue("command_run")
    shutil.copytree(run, local_path("runs") / "monday")
    tuesday = generate_funnel(2000, seed=1).frame
    tuesday["time_ms"] += 40 * 86_400_000
    tuesday["user_id"] = tuesday.user_id.where(tuesday.index % 4 > 0, "new")
    return {"htl": htl, "tuesday": tuesday}


def of_members(request: Request) -> Names:
    names = of_a_model(request)
    return names | {"train_rows": names["train"], "test": small_frame(100, seed=1)}


def of_a_comparison(request: Request) -> Names:
    """A configuration is found as it is asked for, with fewer rows and one short pass."""
    find = run_config.find_config
    less = ["data.num_rows=3000", "training.epochs=1", "training.batch_size=512", "training.validations_per_epoch=1"]
    patch = request.getfixturevalue("monkeypatch")
    patch.setattr(run_config, "find_config", lambda name, changes=(): find(name, [*changes, *less]))
    return {}


def of_nothing(request: Request) -> Names:
    return {"htl": htl}


# Pages whose blocks train for more than seconds are marked.
CONTEXTS: dict[str, Callable[[Request], Names]] = {
    "docs/api/index.md": of_nothing,
    "docs/calibration.md": of_a_calibration,
    "docs/comparison.md": of_a_comparison,
    "docs/daily.md": of_days,
    "docs/data.md": of_files,
    "docs/ensembles.md": of_members,
    "docs/objectives.md": of_nothing,
    "docs/python.md": of_the_readme,
    "docs/training.md": of_a_model,
    "docs/uncertainty.md": of_nothing,
}
# Fewer of the same, where a block trains several models.
SHORTER = {
    "docs/comparison.md": {"(0.0, 0.8, 1.0)": "(0.0, 1.0)"},
    "docs/ensembles.md": {"range(3)": "range(2)", "epochs=2": "epochs=1"},
}
# Pages with a test of their own: the first three below, then tests/test_ranking_docs.py and
# tests/models/test_parameter_servers.py.
ELSEWHERE = {"README.md", "docs/serving.md", "docs/monitoring.md", "docs/ranking.md", "docs/scale_parameter_servers.md"}
SLOW = ("docs/comparison.md", "docs/daily.md", "docs/ensembles.md", "docs/python.md", "docs/uncertainty.md")


def test_every_page_with_python_is_run() -> None:
    assert set(pages_with("python")) == CONTEXTS.keys() | ELSEWHERE


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=pytest.mark.slow) if page in SLOW else page for page in CONTEXTS]
)
def test_python_blocks(page: str, request: Request, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shorter = SHORTER.get(page, {})
    assert all(any(old in block.text for block in blocks(page, "python")) for old in shorter)
    run(page, CONTEXTS[page](request), **shorter)


def test_the_clients(url: str, command_onnx: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(command_onnx[0].parent)
    rows = generate_funnel(1000).frame
    items = rows[["item_id", "category", "brand", "price", "tags"]]
    names = {"rows": rows.head(3), "items": items.head(5)}
    run("docs/serving.md", names, **{"http://localhost:8501": url})
    assert list(names["scores"].columns) == ["click", "purchase", "spend"]
    assert len(names["ranked"]) == 5
    pd.testing.assert_frame_equal(names["onnx_scores"], names["scores"], check_dtype=False, atol=1e-4, rtol=1e-4)


def test_a_shadow(url: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: Names = {"rows": generate_funnel(1000).frame.head(3)}
    run("docs/monitoring.md", names, **{"http://localhost:8501": url})
    assert len(names["scores"]) == 3
    # That server has no canary: it is noted, and the answer was there.
    found = htl.compare_logs(["logs/shadow"])
    assert (found.requests, dict(found.failed)) == (1, {"first": 0.0, "second": 1.0})


def test_what_comments_of_the_objectives_say() -> None:
    assert htl.Continuous("spend").learned_by == htl.objectives.Poisson()
    assert htl.Continuous("margin", non_negative=False).learned_by == htl.objectives.Squared()


@pytest.mark.slow
def test_the_readme(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    impressions()
    (whole,) = blocks("README.md", "python")
    training, scoring = whole.text.split("# Under `htlnet serve models`")
    names: Names = {}
    exec(training, names)
    with EmbeddedServer("models", port=0) as server:
        exec(scoring.split("\n", 1)[1].replace("http://localhost:8501", server.url), names)
    scores = names["scores"]
    assert isinstance(scores, pd.DataFrame)
    assert {"click", "long_view", "watch_time"} <= set(scores.columns)
    assert "watch_time" in str(names["report"])
