"""The data benchmark runs whole, on few rows; how fast anything is belongs to `htlnet bench data`."""

from __future__ import annotations

import json

import pytest

from htlnet_tf.benchmarks.data import TARGETS, bench_data


@pytest.mark.slow
def test_every_case_is_measured() -> None:
    lines: list[str] = []
    result = bench_data(rounds=2, rows=2048, fit_rows=2000, stream_rows=3000, write=lines.append)
    document = json.loads(json.dumps(result.to_dict()))
    assert set(document["ratios"]) == set(TARGETS)
    assert all(value > 0 for value in document["ratios"].values())
    assert document["stream_rows"] == 3000
    assert document["stream_peak_gib"] >= document["stream_base_gib"] > 0
    # Rows per second of the pipeline over those of the step, from the medians of few rounds: the same order at least.
    per_row = {name: timing["median"] for name, timing in document["seconds_per_row"].items()}
    assert 0.2 < document["ratios"]["parquet_over_step"] / (per_row["step"] / per_row["parquet"]) < 5
    assert "parquet_over_step" in result.to_text()
    assert ">= 4" in result.to_text()
