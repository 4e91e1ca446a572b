"""The benchmark of switches: its clock, its judgement of answers, and a run of it; how fast, `htlnet bench` says."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pandas as pd
import pytest

from htlnet_tf.benchmarks import switch
from htlnet_tf.benchmarks.open_loop import OpenLoop, Request, percentiles
from htlnet_tf.benchmarks.switched_model import export_both
from htlnet_tf.errors import InputError

A, B = (pd.DataFrame({"click": [p, 0.5], "spend": [10 * p, 1.0]}) for p in (0.25, 0.75))
MOVED = [(1.0, 2.0, 1), (5.0, 6.0, 2), (9.0, 9.5, 1)]


def request(call: int = 0, due: float = 0.0, ended: float = 1.0, answer: object = None, error: str = "") -> Request:
    return Request(call, due, due, ended, answer, error)


def test_a_stall_is_seen_by_all_that_were_due_meanwhile() -> None:
    """One connection, 100 per second: behind an answer of 0.2 s twenty have been due, each 10 ms after the last."""
    slow = iter([0.2])
    with OpenLoop([lambda: time.sleep(next(slow, 0.0))], rate=100.0, connections=1) as loop:
        while len(loop.requests) < 15:
            time.sleep(0.01)
    assert [r.due - loop.requests[0].due for r in loop.requests[:15]] == pytest.approx([i / 100 for i in range(15)])
    # However slow the machine is: the i-th cannot have begun before the first had ended.
    assert all(r.latency >= 0.2 - i / 100 for i, r in enumerate(loop.requests[:15]))
    assert all(r.sent >= loop.requests[0].ended for r in loop.requests[1:15])


def test_an_error_is_noted_and_the_next_request_is_sent() -> None:
    def refused() -> None:
        raise InputError("no")

    with OpenLoop([refused, lambda: 7], rate=1000.0) as loop:
        while len(loop.requests) < 4:
            time.sleep(0.001)
    assert {(r.call, r.answer, r.error) for r in loop.requests} == {(0, None, "InputError: no"), (1, 7, "")}


def test_percentiles_are_of_milliseconds_by_hand() -> None:
    found = percentiles([request(ended=i / 1000) for i in range(1001)])
    assert found == pytest.approx({"p50": 500.0, "p99": 990.0, "p99.9": 999.0, "max": 1000.0})


@pytest.mark.parametrize(
    ("start", "end", "versions"),
    [(3.0, 4.0, {1}), (3.0, 5.5, {1, 2}), (5.5, 7.0, {1, 2}), (6.0, 7.0, {2}), (4.0, 10.0, {1, 2}), (9.6, 9.7, {1})],
)
def test_what_the_label_named_meanwhile(start: float, end: float, versions: set[int]) -> None:
    assert switch.named_during(MOVED, start, end) == versions


def test_answers_of_no_version_are_wrong() -> None:
    mixed = pd.concat([A[:1], B[1:]]).assign(spend=[2.5, 7.0])
    expected, labelled = [{1: A, 0: B}], [True, False]
    right = [
        request(0, 3.0, 4.0, A),
        request(0, 5.5, 5.6, A),
        request(0, 7.0, 8.0, B[["spend", "click"]]),  # the order of columns is nobody's
        request(1, 7.0, 8.0, A),  # of the latest version, not the label's
        request(0, 3.0, 4.0, A + 1e-6),
        request(0, 3.0, 4.0, None, "ServingError: no"),  # an error, not a wrong score
    ]
    wrong = [
        request(0, 7.0, 8.0, A),  # of the version before, after the label had been moved
        request(1, 7.0, 8.0, mixed),
        request(1, 7.0, 8.0, A.rename(columns={"click": "clack"})),
        request(1, 7.0, 8.0, A[:1]),
        request(1, 7.0, 8.0, A * float("nan")),
    ]
    assert switch.count_wrong(right, expected, labelled, MOVED) == 0
    assert [switch.count_wrong([one], expected, labelled, MOVED) for one in wrong] == [1] * len(wrong)


def test_ratios_are_of_all_rounds_by_hand() -> None:
    """Steady answers take 1 s; in the switches 2 s and 4 s, so that the 99.9th percentile of both rounds is near 4."""
    spans = {(0.0, 10.0): 1.0, (10.0, 20.0): 2.0, (20.0, 30.0): 1.0, (30.0, 40.0): 4.0}
    requests = [request(due=a + i, ended=a + i + took) for (a, _), took in spans.items() for i in range(10)]
    requests.append(request(due=50.0, ended=500.0, error="late, and in no span"))
    steady, switches = list(spans)[::2], list(spans)[1::2]
    ratios = switch.switch_ratios(requests, steady, switches, wrong=3)
    assert set(ratios) == set(switch.TARGETS)
    assert ratios["switch_p999_over_steady"].median == pytest.approx(4.0)
    assert 2.0 <= ratios["switch_p999_over_steady"].low <= ratios["switch_p999_over_steady"].high <= 4.0
    assert (ratios["errors"].median, ratios["wrong_scores"].median) == (1.0, 3.0)


def test_a_server_that_is_there_is_given_whole() -> None:
    with pytest.raises(InputError, match=r"needs --url, --grpc.*and --models.*received http://h"):
        switch.bench_switch(url="http://h")


@pytest.mark.slow
def test_a_server_that_is_there_has_no_trace_of_it_afterwards(tmp_path: Path) -> None:
    """Two models are exported, a server is started in a process, and a version goes through all that happens to one."""
    from htlnet_tf.benchmarks.serving import served
    from htlnet_tf.benchmarks.switched_model import publish

    models = tmp_path / "models"
    export_both(tmp_path / "exported")
    publish(tmp_path / "exported", models / "mine", 1)
    before = {path.name for path in models.iterdir()} | {".models.config.lock"}
    with served(str(models)) as (url, grpc):
        result = switch.bench_switch(
            url=url, grpc=grpc, models_folder=models, rounds=1, steady_seconds=0.5, write=lambda _: None
        )
        from htlnet_tf.serving import RestClient

        with RestClient(url, "mine") as client:
            assert client.status()["model_version_status"][0]["state"] == "AVAILABLE"
    document = json.loads(json.dumps(result.to_dict()))
    assert set(document["ratios"]) == set(switch.TARGETS)
    assert (document["ratios"]["errors"], document["ratios"]["wrong_scores"], document["errors"]) == (0.0, 0.0, {})
    assert set(document["seconds"]) == {"publish", "promote", "roll back", "drop"}
    assert document["latency_ms"]["switch"]["requests"] > 100 and document["latency_ms"]["steady"]["requests"] > 10
    assert "<= 2" in result.to_text()
    assert {path.name for path in models.iterdir()} == before
