"""`htlnet bench serve`: latency and throughput of online scoring, by protocol, candidates and concurrency."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from htlnet_tf.benchmarks import in_process
from htlnet_tf.benchmarks.in_process import in_process_seconds
from htlnet_tf.benchmarks.timing import Timing, interleaved, ratio, ratios_text
from htlnet_tf.errors import InputError
from htlnet_tf.serving import GrpcClient, RestClient
from htlnet_tf.serving.signatures import DEFAULT_SIGNATURE, Signature
from htlnet_tf.text_tables import aligned

CANDIDATES = (1, 100, 500, 2000)
CONCURRENCY = (1, 4, 16)
BEST = 10
VALUES = 1000
MODEL = "bench"

TARGETS = {
    "rest_over_grpc_500": "<= 1.25",
    "rest_candidates_over_grpc_candidates_500": "report",
    "default_over_candidates_500": ">= 1.3",
    "grpc_default_over_candidates_500": "report",
    "ranked_over_candidates": "<= 1.05",
    "rows_body_over_candidates_body_500": ">= 5",
    "columns_body_over_candidates_body_500": "report",
    "one_row_p50_ms": "<= 5",
    "candidates_over_default_in_process": "<= 0.6",
    "onnx_over_default_in_process": "report",
    "boosted_over_default_in_process": "report",
}

Call = Callable[[], object]


@dataclasses.dataclass(frozen=True)
class Load:
    """What one kind of request did under one load.

    Attributes:
      kind: `"REST rows"`, `"REST columns"`, `"REST candidates"`, `"REST ranked"`, `"gRPC"`, `"gRPC candidates"` or
        `"gRPC ranked"`.
      candidates: Rows per request.
      concurrency: Requests under way at a time.
      p50: Median latency in seconds.
      p99: 99th percentile in seconds.
      requests_per_second: Finished requests over the time that all took.
    """

    kind: str
    candidates: int
    concurrency: int
    p50: float
    p99: float
    requests_per_second: float


@dataclasses.dataclass(frozen=True)
class ServingBenchmark:
    """The measurements.

    Attributes:
      loads: Every kind, number of candidates and concurrency.
      ratios: By the keys of `TARGETS`, from requests one at a time, the kinds in turn.
      url: The server that answered.
      in_process: Seconds for 500 candidates without a server, by case, see `htlnet_tf.benchmarks.in_process`; empty for
        a server that was there.
    """

    loads: tuple[Load, ...]
    ratios: dict[str, Timing]
    url: str
    in_process: dict[str, Timing] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the loads, and `ratios` as plain numbers with their quartiles."""
        return {
            "url": self.url,
            "loads": [dataclasses.asdict(load) for load in self.loads],
            "seconds_in_process": {name: dataclasses.asdict(t) for name, t in self.in_process.items()},
            "ratios": {name: round(t.median, 4) for name, t in self.ratios.items()},
            "ratio_spread": {name: [round(t.low, 4), round(t.high, 4)] for name, t in self.ratios.items()},
        }

    def to_text(self) -> str:
        """Tables: the loads, what is measured in process, and the ratios beside what is to be reached."""
        loads = [["request", "candidates", "concurrency", "p50 ms", "p99 ms", "per second"]]
        for load in self.loads:
            speed = (f"{load.p50 * 1e3:.1f}", f"{load.p99 * 1e3:.1f}", f"{load.requests_per_second:,.0f}")
            loads.append([load.kind, f"{load.candidates}", f"{load.concurrency}", *speed])
        tables = [aligned(loads), ratios_text("one at a time", self.ratios, TARGETS)]
        if self.in_process:
            alone = [["500 candidates in process, one thread", "ms", "quartiles"]]
            for name, t in self.in_process.items():
                alone.append([name, f"{t.median * 1e3:.2f}", f"{t.low * 1e3:.2f} .. {t.high * 1e3:.2f}"])
            tables.insert(1, aligned(alone, left=(0, 2)))
        return "\n\n".join(tables)


def bench_serving(
    *,
    url: str | None = None,
    grpc: str | None = None,
    model_name: str | None = None,
    rounds: int = 30,
    requests: int = 100,
    write: Callable[[str], None] = print,
) -> ServingBenchmark:
    """Measures a server that is there, or the embedded one with a model of KuaiRand's shape in a process of its own.

    The model of the embedded server is not trained: what a score costs does not depend on the weights.

    Args:
      url: Of the REST port; None: start an embedded server.
      grpc: `host:port` of the gRPC port of that server; None: with `url`, no gRPC.
      model_name: The model there, with the signatures `serving_default` and `candidates`; `ranked` is measured if it
        has that too. None: the embedded one's.
      rounds: Requests of each kind, in turn, for the ratios.
      requests: Requests per load.
      write: Where progress lines go.

    Raises:
      InputError: `grpc` is given without `url`.
      ServingError: The server does not answer.
    """
    if url is None and grpc is not None:
        raise InputError("--grpc is the other port of the server at --url; received --grpc alone")
    alone: dict[str, list[float]] = {}
    with contextlib.ExitStack() as stack:
        if url is None:
            write("exporting a model of KuaiRand's shape (26 user, 12 item, 5 context columns)")
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            _export(folder / MODEL)
            write("in process, one thread each, in turn")
            alone = in_process_seconds(folder / MODEL, rounds)
            write("starting a server")
            url, grpc = stack.enter_context(served(str(folder)))
        rest = stack.enter_context(RestClient(url, model_name or MODEL, timeout=60.0))
        remote = stack.enter_context(GrpcClient(grpc, model_name or MODEL, timeout=60.0)) if grpc else None
        kinds = {count: _calls(rest, remote, count) for count in CANDIDATES}
        ratios = _ratios(kinds, _bodies(rest, 500), rounds, write)
        loads = []
        for concurrency in CONCURRENCY:
            write(f"{concurrency} requests at a time")
            for count, calls in kinds.items():
                loads += [_load(kind, call, count, concurrency, requests) for kind, call in calls.items()]
    if alone:
        ratios["candidates_over_default_in_process"] = ratio(alone[in_process.CANDIDATES], alone[in_process.DEFAULT])
        for name, case in (("onnx", in_process.ONNX), ("boosted", in_process.BOOSTED)):
            if case in alone:
                ratios[f"{name}_over_default_in_process"] = ratio(alone[case], alone[in_process.DEFAULT])
    return ServingBenchmark(tuple(loads), ratios, url, {name: Timing.of(seconds) for name, seconds in alone.items()})


def _ratios(
    kinds: dict[int, dict[str, Call]], bodies: dict[str, int], rounds: int, write: Callable[[str], None]
) -> dict[str, Timing]:
    write("one at a time, in turn")
    many = interleaved(kinds[500], rounds=rounds, calls=1, warm_up=5)
    one = interleaved({"REST columns": kinds[1]["REST columns"]}, rounds=5 * rounds, calls=1, warm_up=10)
    sizes = {form: bodies[form] / bodies["candidates"] for form in ("rows", "columns")}
    ratios = {
        "default_over_candidates_500": ratio(many["REST columns"], many["REST candidates"]),
        **{f"{form}_body_over_candidates_body_500": Timing(size, size, size, 1) for form, size in sizes.items()},
        "one_row_p50_ms": Timing.of([1e3 * s for s in one["REST columns"]]),
    }
    if "REST ranked" in many:
        ratios["ranked_over_candidates"] = ratio(many["REST ranked"], many["REST candidates"])
    if "gRPC" in many:
        ratios["rest_over_grpc_500"] = ratio(many["REST columns"], many["gRPC"])
        ratios["rest_candidates_over_grpc_candidates_500"] = ratio(many["REST candidates"], many["gRPC candidates"])
        ratios["grpc_default_over_candidates_500"] = ratio(many["gRPC"], many["gRPC candidates"])
    return ratios


def _calls(rest: RestClient, remote: GrpcClient | None, count: int) -> dict[str, Call]:
    """A request of each kind for the same candidates of one user."""
    rows, shared, items = _rows(rest, count)
    records = rows.to_dict("records")
    calls: dict[str, Call] = {
        "REST rows": lambda: rest.predict(records, row_format=True),
        "REST columns": lambda: rest.predict(rows),
        "REST candidates": lambda: rest.predict_candidates(shared, items),
    }
    if remote is not None:
        calls["gRPC"] = lambda: remote.predict(rows)
        calls["gRPC candidates"] = lambda: remote.predict_candidates(shared, items)
    if "score" in rest.signature("candidates").outputs:  # the model has a ranking
        calls["REST ranked"] = lambda: rest.rank(shared, items, BEST)
        if remote is not None:
            calls["gRPC ranked"] = lambda: remote.rank(shared, items, BEST)
    return calls


def _bodies(rest: RestClient, count: int) -> dict[str, int]:
    """Bytes of the same request in each form: a row per candidate, a list per column, the user's columns once."""
    rows, shared, items = _rows(rest, count)
    once = {name: [value] for name, value in shared.items()}
    forms: dict[str, Any] = {
        "rows": {"instances": rows.to_dict("records")},
        "columns": {"inputs": rows.to_dict("list")},
        "candidates": {"inputs": once | items.to_dict("list")},
    }
    return {form: len(json.dumps(body, separators=(",", ":"))) for form, body in forms.items()}


def _rows(rest: RestClient, count: int) -> tuple[pd.DataFrame, dict[str, Any], pd.DataFrame]:
    """Random rows of one user by the model's signatures, whole and in the user's and the items' parts."""
    candidates = rest.signature("candidates")
    random = np.random.default_rng(count)
    rows = pd.DataFrame(_columns(rest.signature(DEFAULT_SIGNATURE), count, random))
    for name, info in candidates.inputs.items():
        if info.shape == (1,):
            rows[name] = rows[name].iloc[0]
    names = [name for name, info in candidates.inputs.items() if info.shape == (1,)]
    shared = {name: rows[name].tolist()[0] for name in names}
    return rows, shared, rows.drop(columns=names)


def _columns(signature: Signature, count: int, random: np.random.Generator) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for name, info in signature.inputs.items():
        drawn = random.integers(0, VALUES, count)
        if info.dtype == "DT_STRING":
            columns[name] = [f"value_{k}" for k in drawn]
        else:
            columns[name] = drawn.astype(np.int64 if info.dtype == "DT_INT64" else np.float32)
    return columns


def _load(kind: str, call: Call, candidates: int, concurrency: int, requests: int) -> Load:
    def timed(_: int) -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    with concurrent.futures.ThreadPoolExecutor(concurrency) as pool:
        list(pool.map(timed, range(concurrency)))  # connections
        start = time.perf_counter()
        seconds = list(pool.map(timed, range(requests)))
        total = time.perf_counter() - start
    p50, p99 = np.percentile(seconds, [50, 99])
    return Load(kind, candidates, concurrency, float(p50), float(p99), requests / total)


@contextlib.contextmanager
def served(models: str) -> Iterator[tuple[str, str]]:
    """Serves a MODELS folder in a process of its own; yields the REST URL and the gRPC address."""
    command = [sys.executable, "-m", "htlnet_tf.benchmarks.serving", models]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline().split()
            if len(line) != 2:
                raise InputError("the embedded server did not start")
            yield line[0], line[1]
        finally:
            process.terminate()


def _export(path: Path) -> None:
    import htlnet_tf as htl

    groups = [("user", 26), ("item", 12), ("context", 5)]
    features = [
        htl.Categorical(f"{group}_{i}", group=group, dtype="string" if i % 2 else "int64", min_count=1)
        for group, number in groups
        for i in range(number)
    ]
    targets = [htl.Binary("click"), htl.Binary("long_view"), htl.Continuous("watch_time", unit="ms")]
    schema = htl.Schema(features=features, targets=targets, ranking=htl.Ranking({"click": 0.5, "watch_time": 1.0}))
    random = np.random.default_rng(0)
    numbers = {f.name: np.arange(VALUES) for f in features}
    frame = pd.DataFrame(
        {f.name: [f"value_{k}" for k in numbers[f.name]] if f.dtype == "string" else numbers[f.name] for f in features}
    )
    frame = frame.assign(click=numbers["user_0"] % 2, long_view=0, watch_time=random.exponential(1e4, VALUES))
    model = htl.HTLNet(schema, htl.FeatureEncoder.fit(schema, frame))
    htl.export.export_model(model, path, rows=frame.head(100))
    if all(importlib.util.find_spec(name) is not None for name in ("tf2onnx", "onnxruntime")):
        htl.export.export_onnx(model, path, rows=frame.head(100))


def _serve(models: str) -> None:
    """Serves until it is told to stop; prints the URL and the gRPC address once it answers."""
    import signal
    import threading

    from htlnet_tf.serving import EmbeddedServer

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with EmbeddedServer(models, port=0, grpc_port=0) as server:
        print(server.url, server.grpc_target, flush=True)
        stop.wait()


if __name__ == "__main__":
    _serve(sys.argv[1])
