"""The arithmetic of the benchmark of scale, and its small pieces; what it measures belongs to `htlnet bench scale`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from htlnet_tf.benchmarks import scale, scale_worker
from htlnet_tf.benchmarks.timing import Timing


def test_the_difference_is_relative_to_the_largest_number_of_a_variable() -> None:
    one = {"seconds": np.ones(3), "0": np.array([4.0, -8.0]), "1": np.array([0.5])}
    many = {"seconds": np.zeros(3), "0": np.array([4.0, -8.4]), "1": np.array([0.5 + 1e-3])}
    assert scale._difference(one, many) == pytest.approx(0.05)


def test_every_ratio_is_told_beside_what_is_to_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = {1: 0.1, 2: 0.2, 4: 0.5}
    monkeypatch.setattr(
        scale, "_trained", lambda n: {"seconds": np.full(3, trained[n]), "0": np.array([1.0 + (n - 1) * 1e-6])}
    )
    monkeypatch.setattr(scale, "_traffic", lambda: ({"ids": 30.0, "gradients": 90.0}, 60.0))
    monkeypatch.setattr(scale, "_by_shards", lambda rounds: {1: [0.1] * rounds, 2: [0.15] * rounds})
    result = scale.bench_scale(rounds=2, write=lambda line: None)
    ratios = json.loads(json.dumps(result.to_dict()))["ratios"]
    assert set(ratios) == set(scale.TARGETS)
    assert ratios["two_workers_rows_over_one"] == pytest.approx(0.5)
    assert ratios["four_workers_rows_over_one"] == pytest.approx(0.2)
    assert ratios["two_workers_difference"] == pytest.approx(1e-6)
    assert ratios["gathered_bytes_over_plain"] == pytest.approx(2.0)
    assert ratios["shards_over_one_table"] == pytest.approx(1.5)
    assert all(name in result.to_text() for name in scale.TARGETS)
    assert isinstance(result.ratios["two_workers_difference"], Timing)


def test_one_process_writes_weights_and_seconds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    for name, value in {"ROWS": 43 * 5, "COMPARED_BATCH": 8, "COMPARED_STEPS": 2, "COMPARED_UNITS": (4,)}.items():
        monkeypatch.setattr(scale_worker, name, value)
    scale_worker.main(8, 13, str(tmp_path / "trained.npz"))
    with np.load(tmp_path / "trained.npz") as arrays:
        assert arrays["seconds"].shape == (2,)
        assert (arrays["seconds"] > 0.0).all()
        assert any(array.shape[-1] == 4 for name, array in arrays.items() if name != "seconds")
        assert scale._difference(dict(arrays), dict(arrays)) == 0.0
