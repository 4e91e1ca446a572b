"""The Prometheus page, and the limits that REST and gRPC share."""

from __future__ import annotations

import asyncio
import gc
import re
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from htlnet_tf.errors import InputError
from htlnet_tf.serving.errors import StatusError
from htlnet_tf.serving.server.limits import Limits
from htlnet_tf.serving.server.monitoring import Metrics
from htlnet_tf.serving.server.servable_store import VersionStatus

REQUESTS = ":tensorflow:serving:request_count"
LATENCY = ":tensorflow:serving:request_latency"
UNESCAPED = {"\\n": "\n", '\\"': '"', "\\\\": "\\"}


class Store:
    """Two versions of one model, the older one gone, and a model whose folder is still empty."""

    names = ["ctr", "empty"]  # noqa: RUF012

    def status(self, name: str, version: int | None = None) -> list[VersionStatus]:
        if name == "empty":
            raise StatusError("NOT_FOUND", f"Could not find any versions of model {name}")
        return [VersionStatus(2, "AVAILABLE", "OK", ""), VersionStatus(1, "END", "OK", "")]


def parsed(page: bytes) -> tuple[dict[str, str], dict[str, dict[frozenset[tuple[str, str]], float]]]:
    """Reads Prometheus' text format by its grammar; every line must match it.

    Returns:
      Name -> type, and name -> labels -> value.
    """
    types: dict[str, str] = {}
    samples: dict[str, dict[frozenset[tuple[str, str]], float]] = {}
    text = page.decode()
    assert text.endswith("\n")
    for line in text.removesuffix("\n").split("\n"):
        if declared := re.fullmatch(r"# TYPE ([a-zA-Z_:][\w:]*) (counter|gauge|histogram)", line):
            name, kind = declared.groups()
            assert name not in types, "one TYPE line per name"
            types[name] = kind
            continue
        sample = re.fullmatch(r'([a-zA-Z_:][\w:]*)\{((?:[a-zA-Z_]\w*="(?:[^"\\]|\\["\\n])*",?)*)\} (\S+)', line)
        assert sample, line
        name, labels, value = sample.groups()
        pairs = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels)
        key = frozenset((one, re.sub(r"\\.", lambda m: UNESCAPED[m.group()], other)) for one, other in pairs)
        assert key not in samples.setdefault(name, {}), "one sample per set of labels"
        samples[name][key] = float(value)
    return types, samples


def labels(**pairs: str) -> frozenset[tuple[str, str]]:
    return frozenset(pairs.items())


def test_the_page_counts_requests_under_the_genuine_names() -> None:
    metrics = Metrics()
    metrics.record("predict", "REST", "ctr", "OK", 0.000015)
    metrics.record("predict", "REST", "ctr", "OK", 0.001)
    metrics.record("Predict", "GRPC", "ctr", "INVALID_ARGUMENT", 0.5)
    metrics.record_runtime("Predict", "ctr", 0.0005)
    metrics.record_load("/models/ctr/2", loaded=True, seconds=0.25)
    metrics.record_load("/models/ctr/3", loaded=False, seconds=0.1)
    types, samples = parsed(metrics.render(Store()))

    assert types[REQUESTS] == "counter"
    assert types[LATENCY] == types[":tensorflow:serving:runtime_latency"] == "histogram"
    assert samples[REQUESTS] == {
        labels(model_name="ctr", status="OK"): 2,
        labels(model_name="ctr", status="INVALID_ARGUMENT"): 1,
    }
    rest = {"model_name": "ctr", "API": "predict", "entrypoint": "REST"}
    assert samples[f"{LATENCY}_sum"] == {labels(**rest): 1015}  # microseconds; a failed request has no latency
    assert samples[f"{LATENCY}_count"] == {labels(**rest): 2}
    buckets = samples[f"{LATENCY}_bucket"]
    # Bounds by hand: 10, 18, 32.4, ... , 10 * 1.8^7 = 612.22, 10 * 1.8^8 = 1102
    assert buckets[labels(**rest, le="10")] == 0
    assert buckets[labels(**rest, le="18")] == 1
    assert buckets[labels(**rest, le="612.22")] == 1
    assert buckets[labels(**rest, le="1102")] == 2
    assert buckets[labels(**rest, le="+Inf")] == 2
    assert len(buckets) == 34
    assert samples[":tensorflow:serving:runtime_latency_count"] == {
        labels(model_name="ctr", API="Predict", runtime="TF1"): 1
    }
    assert samples[":tensorflow:cc:saved_model:load_attempt_count"] == {
        labels(model_path="/models/ctr/2", status="success"): 1,
        labels(model_path="/models/ctr/3", status="fail"): 1,
    }
    assert samples[":tensorflow:cc:saved_model:load_latency"] == {labels(model_path="/models/ctr/2"): 250_000}
    assert samples[":htlnet:serving:model_version_state"] == {
        labels(model_name="ctr", version="2", state="AVAILABLE"): 1,
        labels(model_name="ctr", version="1", state="END"): 1,
    }


def test_the_reference_parser_reads_the_page() -> None:
    parser = pytest.importorskip("prometheus_client.parser", reason="prometheus-client is not installed")
    metrics = Metrics()
    metrics.record("predict", "REST", 'a"b\\c\nd', "OK", 0.002)
    families = list(parser.text_string_to_metric_families(metrics.render(Store()).decode()))
    samples = {(s.name, s.labels.get("model_name")): s.value for family in families for s in family.samples}
    assert samples[f"{LATENCY}_count", 'a"b\\c\nd'] == 1
    assert {family.type for family in families} == {"counter", "gauge", "histogram"}


def test_any_model_name_can_be_written() -> None:
    metrics = Metrics()
    for name in ("", 'a"b', "back\\slash", "new\nline", "Zürich ☃", "\udcff"):
        metrics.record("", "REST", name, "NOT_FOUND", 0.0)
    _, samples = parsed(metrics.render(Store()))
    names = {dict(key)["model_name"] for key in samples[REQUESTS]}
    assert names >= {"", 'a"b', "back\\slash", "new\nline", "Zürich ☃"}
    assert len(names) == 6  # what is no character is written as a question mark


def test_invented_model_names_do_not_fill_the_memory() -> None:
    metrics = Metrics()
    for number in range(3000):
        metrics.record("predict", "REST", f"model{number}", "NOT_FOUND", 0.0)
    _, samples = parsed(metrics.render(Store()))
    assert len(samples[REQUESTS]) == 1001
    assert sum(samples[REQUESTS].values()) == 3000


def test_no_count_is_lost_between_threads() -> None:
    metrics = Metrics()

    def record_many(_: int) -> None:
        for _ in range(500):
            metrics.record("Predict", "GRPC", "ctr", "OK", 0.001)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(record_many, range(8)))
    _, samples = parsed(metrics.render(Store()))
    assert samples[REQUESTS][labels(model_name="ctr", status="OK")] == 4000


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Work that waits for it stays in its worker until the test is over."""
    event = threading.Event()
    yield event
    event.set()


Runner = Callable[[Limits, Callable[[], object]], object]


def in_thread(limits: Limits, work: Callable[[], object], **options: float) -> object:
    return limits.run_blocking(work, **options)


def in_loop(limits: Limits, work: Callable[[], object], **options: float) -> object:
    return asyncio.run(_wrapped(limits, work, **options))


async def _wrapped(limits: Limits, work: Callable[[], object], **options: float) -> object:
    return await limits.run(work, **options)


runners = pytest.mark.parametrize("run", [in_thread, in_loop])


@runners
def test_work_returns_or_raises_what_it_does_itself(run: Runner) -> None:
    limits = Limits(max_workers=1, max_queue=0)
    assert run(limits, lambda: 7) == 7

    def fail() -> None:
        raise TimeoutError("its own")

    for _ in range(3):  # a failure gives its place back
        with pytest.raises(TimeoutError, match="its own"):
            run(limits, fail)
    limits.close()


@runners
def test_a_full_queue_refuses_at_once_and_recovers(run: Runner, gate: threading.Event) -> None:
    limits = Limits(max_workers=1, max_queue=1)
    with ThreadPoolExecutor(2) as callers:
        held = [callers.submit(limits.run_blocking, lambda: gate.wait(5)) for _ in range(2)]
        while limits.in_flight < 2:
            time.sleep(0.001)
        with pytest.raises(StatusError) as refused:
            run(limits, lambda: None)
        gate.set()
        assert all(future.result(5) for future in held)
    assert refused.value.code == "UNAVAILABLE"
    # batching_overload.txt, recorded with max_enqueued_batches 2
    assert refused.value.message == (
        "The batch scheduling queue to which this task was submitted is full; "
        "currently 1 batches enqueued and max_enqueued_batches is 1"
    )
    assert run(limits, lambda: 1) == 1
    limits.close()


@runners
def test_work_that_takes_too_long_is_given_up(run: Runner, gate: threading.Event) -> None:
    limits = Limits(timeout_seconds=0.05, max_workers=1, max_queue=5)
    begun = []
    with pytest.raises(StatusError) as late:
        run(limits, lambda: gate.wait(5))
    with pytest.raises(StatusError):  # it waits behind the first one and is never begun
        run(limits, lambda: begun.append(True))
    gate.set()
    assert late.value.code == "DEADLINE_EXCEEDED"
    assert late.value.message == "Timed out waiting for notification"
    assert run(limits, lambda: 1) == 1
    assert not begun
    assert limits.in_flight == 0
    limits.close()


class _Held:
    """What a waiting request keeps in memory."""

    def work(self) -> int:
        return 7


@runners
def test_what_is_given_up_while_it_waits_keeps_nothing(run: Runner, gate: threading.Event) -> None:
    limits = Limits(timeout_seconds=20, max_workers=1, max_queue=1)
    with ThreadPoolExecutor(2) as callers:
        first = callers.submit(limits.run_blocking, lambda: gate.wait(10))
        while limits.in_flight == 0:
            time.sleep(0.001)
        alive = weakref.WeakSet()
        for _ in range(50):
            held = _Held()
            alive.add(held)
            with pytest.raises(StatusError, match="DEADLINE_EXCEEDED"):
                run(limits, held.work, timeout_seconds=0.0001)
            del held
        gc.collect()
        assert len(alive) == 0
        assert limits.in_flight == 1
        assert limits._pool._work_queue.qsize() <= 2
        second = callers.submit(limits.run_blocking, _Held().work)
        while limits.in_flight < 2:
            time.sleep(0.001)
        with pytest.raises(StatusError, match="UNAVAILABLE"):  # the bound is still kept
            run(limits, lambda: None)
        gate.set()
        assert first.result(5)
        assert second.result(5) == 7
    limits.close()


@runners
def test_the_earlier_deadline_counts(run: Runner, gate: threading.Event) -> None:
    limits = Limits(timeout_seconds=20, max_workers=1)
    begin = time.perf_counter()
    with pytest.raises(StatusError, match="DEADLINE_EXCEEDED"):
        run(limits, lambda: gate.wait(5), timeout_seconds=0.02)
    assert time.perf_counter() - begin < 2
    gate.set()
    limits.close()


def test_the_event_loop_stays_free() -> None:
    limits = Limits(max_workers=1)

    async def both() -> int:
        gate = threading.Event()
        waiting = asyncio.create_task(limits.run(lambda: gate.wait(5)))
        turns = 0
        while not waiting.done():
            await asyncio.sleep(0)
            turns += 1
            if turns == 10:
                gate.set()
        assert await waiting
        return turns

    assert asyncio.run(both()) >= 10
    limits.close()


def test_a_client_that_leaves_takes_its_waiting_work_along(gate: threading.Event) -> None:
    limits = Limits(max_workers=1, max_queue=1)
    begun = []

    async def leave() -> None:
        first = asyncio.create_task(limits.run(lambda: gate.wait(5)))
        await asyncio.sleep(0.01)
        second = asyncio.create_task(limits.run(lambda: begun.append(True)))
        await asyncio.sleep(0.01)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        gate.set()
        await first

    asyncio.run(leave())
    assert not begun
    assert limits.in_flight == 0
    limits.close()


def test_close_finishes_what_is_under_way_and_refuses_more() -> None:
    limits = Limits(max_workers=1)
    with ThreadPoolExecutor(1) as caller:
        under_way = caller.submit(limits.run_blocking, lambda: time.sleep(0.05) or "done")
        while limits.in_flight == 0:
            time.sleep(0.001)
        limits.close()
        assert under_way.result(1) == "done"
    with pytest.raises(StatusError, match="UNAVAILABLE: The server is shutting down"):
        limits.run_blocking(lambda: None)


@pytest.mark.parametrize(
    "options", [{"timeout_seconds": 0}, {"max_workers": 0}, {"max_queue": -1}, {"max_body_bytes": 0}]
)
def test_limits_out_of_range_are_refused(options: dict[str, int]) -> None:
    (name,) = options
    with pytest.raises(InputError, match=f"{name} must be .*, but is {options[name]}"):
        Limits(**options)
