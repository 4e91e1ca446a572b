"""`htlnet bench score` on few rows: nothing of what it finds is held to a number here."""

from __future__ import annotations

import pytest

from htlnet_tf.benchmarks.scoring import TARGETS, bench_scoring


@pytest.mark.slow
def test_files_are_scored_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # Spark takes a minute to say little
    lines: list[str] = []
    result = bench_scoring(rows=16_000, rounds=1, jobs=1, write=lines.append)
    document = result.to_dict()
    assert document["ratios"].keys() == TARGETS.keys() - {"score_over_spark"}
    assert document["rows"] == 16_000 and 0.1 < document["peak_gib"] < 4.0
    assert 0.0 < document["ratios"]["score_over_loop"] < 2.0
    assert "score_over_loop" in result.to_text() and len(lines) == 2
