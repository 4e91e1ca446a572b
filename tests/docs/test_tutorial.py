"""The tutorial runs on fewer rows, and is kept without outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPO

CELLS: list[dict[str, Any]] = json.loads((REPO / "docs" / "tutorial.ipynb").read_text(encoding="utf-8"))["cells"]
CODE = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]


def test_it_is_kept_without_outputs() -> None:
    for cell in CELLS:
        assert cell["cell_type"] == "markdown" or (cell["outputs"], cell["execution_count"]) == ([], None)


@pytest.mark.slow
def test_it_runs_from_rows_to_ranked_candidates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the notebook leaves for a folder of its own
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    names: dict[str, Any] = {}
    (rows,) = [text for text in CODE if "generate_funnel(" in text]
    assert "40_000" in rows
    for text in CODE:
        exec(text.replace("40_000", "3_000"), names)
    ranked = names["ranked"]
    assert ranked["spend"].is_monotonic_decreasing
    assert ranked[["click", "purchase"]].apply(lambda p: p.between(0, 1)).all(axis=None)
