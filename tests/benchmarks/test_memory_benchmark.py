"""The arithmetic of the benchmark of memory; how much anything takes belongs to `htlnet bench memory`."""

from __future__ import annotations

import json

import pytest

from htlnet_tf.benchmarks import memory
from htlnet_tf.benchmarks.resident import descriptors


def samples(resident: list[float]) -> dict[str, list[float]]:
    counts = [10.0, 10.0, 10.0, 10.0, 11.0]
    return {"resident_gb": resident, "peak_gb": resident, "descriptors": counts, "threads": [20.0 - c for c in counts]}


def test_growth_is_that_behind_the_warm_up() -> None:
    """Five rounds: the first is the warm-up, the second is held against the last."""
    ratios = memory.soak_ratios(samples([0.1, 1.0, 9.0, 9.0, 1.5]))
    assert ratios["soak_growth"].median == 1.5
    assert (ratios["soak_more_descriptors"].median, ratios["soak_more_threads"].median) == (1.0, -1.0)


def test_the_parts_of_many_rounds_are_medians() -> None:
    count = 50
    resident = [0.0] * 10 + [2.0] * 9 + [100.0] + [7.0] * 20 + [3.0] * 9 + [0.0]
    ones = [1.0] * count
    ratios = memory.soak_ratios({"resident_gb": resident, "descriptors": ones, "threads": ones})
    assert ratios["soak_growth"].median == 1.5


def test_tables_and_moments_are_taken_from_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {
        "tables": {"train_peak_gb": 2.0, "tables_and_moments_gb": 1.25},
        "soak": samples([1.0, 1.0, 1.0, 1.0, 1.0]),
    }
    monkeypatch.setattr(memory, "_in_a_process", lambda case, *arguments: told[case])
    result = memory.bench_memory(rounds=5, write=lambda _: None)
    document = json.loads(json.dumps(result.to_dict()))
    assert set(document["ratios"]) == set(memory.TARGETS)
    assert document["ratios"]["peak_beyond_tables_gb"] == 0.75
    assert all(name in result.to_text() for name in memory.TARGETS)


@pytest.mark.slow
def test_both_cases_run_to_their_end() -> None:
    """Four models are traced."""
    trained = memory.train_large(43 * 20, 8)
    # 860 rows and those for padding and unknown values, width 10, three times four bytes.
    assert trained["tables_and_moments_gb"] == pytest.approx(905 * 10 * 12 / 1e9, rel=0.01)
    assert trained["train_peak_gb"] >= trained["built_peak_gb"] >= trained["tensorflow_gb"] > 0.1
    looked = memory.soak(2, fits=1, predicts=1)
    assert {name: len(values) for name, values in looked.items()} == dict.fromkeys(looked, 2)
    assert 0 < looked["resident_gb"][-1] <= looked["peak_gb"][-1]


def test_an_open_file_is_counted() -> None:
    before = descriptors()
    with open(__file__, encoding="utf-8"):  # noqa: PTH123
        assert descriptors() == before + 1
