"""`htlnet bench score` on few rows: nothing of what it finds is held to a number here."""

from __future__ import annotations

import importlib.util
import shutil

import pytest

from htlnet_tf.benchmarks.scoring import TARGETS, bench_scoring

HAS_SPARK = importlib.util.find_spec("pyspark") is not None and shutil.which("java") is not None


@pytest.mark.slow
def test_every_case_runs_to_its_end() -> None:
    """On Spark, too, where `make test-spark` has installed it; each case is a process that loads TensorFlow."""
    lines: list[str] = []
    result = bench_scoring(rows=800, rounds=1, jobs=1, loop_seconds=0.1, write=lines.append)
    document = result.to_dict()
    assert document["ratios"].keys() == TARGETS.keys() - (set() if HAS_SPARK else {"score_over_spark"})
    assert ("spark_rows_per_second" in document) == HAS_SPARK
    assert document["rows"] == 800 and 0.1 < document["peak_gib"] < 4.0
    assert all(ratio > 0.0 for ratio in document["ratios"].values())
    assert "score_over_loop" in result.to_text() and len(lines) == 2
