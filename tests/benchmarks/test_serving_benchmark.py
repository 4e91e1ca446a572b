"""The serving benchmark runs whole, on few requests; how fast anything is belongs to `htlnet bench serve`."""

from __future__ import annotations

import json

import pytest

from htlnet_tf.benchmarks import serving
from htlnet_tf.errors import InputError


@pytest.mark.slow
def test_every_kind_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "CANDIDATES", (1, 500))
    monkeypatch.setattr(serving, "CONCURRENCY", (2,))
    result = serving.bench_serving(rounds=2, requests=4, write=lambda _: None)
    document = json.loads(json.dumps(result.to_dict()))
    assert set(document["ratios"]) == set(serving.TARGETS)
    assert all(value > 0 for value in document["ratios"].values())
    kinds = {(load["kind"], load["candidates"]) for load in document["loads"]}
    assert len(kinds) == 7 * 2
    assert all(0 < load["p50"] <= load["p99"] for load in document["loads"])
    # 43 columns, 12 of them the items': by bytes, a list per column is some 43 / 12 of the user's columns sent once.
    assert 3 < document["ratios"]["columns_body_over_candidates_body_500"] < 4
    assert document["ratios"]["rows_body_over_candidates_body_500"] > 5
    assert {"serving_default", "candidates"} <= set(document["seconds_in_process"])
    assert ">= 1.3" in result.to_text() and "in process, one thread" in result.to_text()


def test_a_grpc_port_needs_its_server() -> None:
    with pytest.raises(InputError, match="received --grpc alone"):
        serving.bench_serving(grpc="localhost:1")
