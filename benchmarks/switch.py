"""`htlnet bench switch`: what requests see while versions are published, promoted, rolled back and dropped."""

from __future__ import annotations

import collections
import dataclasses
import functools
import gc
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

import htlnet_tf as htl
from htlnet_tf.benchmarks.open_loop import OpenLoop, Request, percentiles
from htlnet_tf.benchmarks.serving import served
from htlnet_tf.benchmarks.switched_model import LABEL, NAME, Move, SwitchedModel, export_both, models, publish
from htlnet_tf.benchmarks.timing import Timing, ratios_text
from htlnet_tf.benchmarks.tiny import tiny_frame
from htlnet_tf.errors import InputError
from htlnet_tf.files import local_path
from htlnet_tf.serving import GrpcClient, RestClient
from htlnet_tf.text_tables import aligned

ROUNDS = 10
RATE = 50.0
ROWS = 10
STEADY_SECONDS, DWELL_SECONDS, SETTLE_SECONDS = 8.0, 1.0, 0.5
TOLERANCE = 1e-4

TARGETS = {
    "switch_p999_over_steady": "<= 2",
    "switch_p99_over_steady": "report",
    "errors": "<= 0",
    "wrong_scores": "<= 0",
}

Span = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class SwitchBenchmark:
    """The measurements.

    Attributes:
      latencies: `"steady"` and `"switch"`: milliseconds `p50`, `p99`, `p99.9` and `max` from when a request was due,
        and how many `requests` there were.
      seconds: By what is done to a version, until the server has done it.
      ratios: By the keys of `TARGETS`; `errors` and `wrong_scores` are counts.
      errors: By message, how many requests had it.
      url: The server that answered.
      rate: Requests per second.
    """

    latencies: dict[str, dict[str, float]]
    seconds: dict[str, Timing]
    ratios: dict[str, Timing]
    errors: dict[str, int]
    url: str
    rate: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON: latencies, seconds, errors, and `ratios` as plain numbers with their quartiles."""
        return {
            "url": self.url,
            "rate": self.rate,
            "latency_ms": self.latencies,
            "seconds": {name: dataclasses.asdict(t) for name, t in self.seconds.items()},
            "errors": self.errors,
            "ratios": {name: round(t.median, 4) for name, t in self.ratios.items()},
            "ratio_spread": {name: [round(t.low, 4), round(t.high, 4)] for name, t in self.ratios.items()},
        }

    def to_text(self) -> str:
        """Tables: latencies, what the server takes, and the ratios beside what is to be reached; then the errors."""
        latencies = [["latency", "requests", "p50 ms", "p99 ms", "p99.9 ms", "largest"]]
        for name, found in self.latencies.items():
            shown = (f"{found[key]:.1f}" for key in ("p50", "p99", "p99.9", "max"))
            latencies.append([name, f"{found['requests']:,.0f}", *shown])
        seconds = [["until the server has it", "seconds", "quartiles"]]
        for name, t in self.seconds.items():
            seconds.append([name, f"{t.median:.2f}", f"{t.low:.2f} .. {t.high:.2f}"])
        tables = [aligned(latencies), aligned(seconds, left=(0, 2)), ratios_text("ratio", self.ratios, TARGETS)]
        return "\n\n".join([*tables, *(f"{count} x {message}" for message, count in self.errors.items())])


def bench_switch(
    *,
    url: str | None = None,
    grpc: str | None = None,
    models_folder: str | Path | None = None,
    base_path_prefix: str = "/models",
    rounds: int = ROUNDS,
    rate: float = RATE,
    steady_seconds: float = STEADY_SECONDS,
    write: Callable[[str], None] = print,
) -> SwitchBenchmark:
    """Measures a server that is there, or the embedded one in a process of its own.

    Requests of ten rows come at a fixed rate, over REST and gRPC, to a label and to the latest version, and are never
    tried again. Half of the time nothing happens. Else a round publishes a version, puts the label on it, back and on
    it again, and drops the oldest; the versions are those of two models in turn, exported before. A latency counts from
    the moment at which a request was due, so that a server that stands still for a second delays all of that second.

    Every answer must be, in all its rows, that of one of the two models; of a request to the label, that of a version
    that the label named while the request was under way.

    Args:
      url: Of the REST port; None: start an embedded server.
      grpc: `host:port` of the gRPC port of that server; needed with `url`, for labels.
      models_folder: The MODELS folder of that server, likewise. The benchmark brings a model of its own,
        `htlnet_bench_switch`, and removes it at the end, from `models.config` as well.
      base_path_prefix: Where that server has the folder.
      rounds: How often a version is published.
      rate: Requests per second.
      steady_seconds: Before each round.
      write: Where progress lines go.

    Raises:
      InputError: Of the server that is there, something is not given; or its folder has such a model already.
      ServingError: The server does not answer, or does not take a version within a minute.
    """
    given = (url, grpc, models_folder)
    if any(given) and not all(given):
        raise InputError(
            "a server that is there needs --url, --grpc, where labels are moved, and --models, its folder; received "
            + ", ".join(f"{value}" for value in given if value)
        )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write("exporting two models")
        export_both(folder / "exported")
        frames = [tiny_frame(ROWS, seed=number)[["user", "item", "price"]] for number in range(8)]
        expected = [{key: htl.predict(model, frame) for key, model in models().items()} for frame in frames]
        if url is None or grpc is None or models_folder is None:
            models_folder = folder / "models"
            publish(folder / "exported", models_folder / "another", 1)  # a server does not start without a model
            url, grpc = stack.enter_context(served(str(models_folder)))
        switched = SwitchedModel(
            local_path(models_folder), folder / "exported", grpc, base_path_prefix=base_path_prefix
        )
        stack.enter_context(switched.brought_in())
        calls, labelled = _calls(stack, url, grpc, frames)
        for call in calls:
            call()  # connections, and what a client learns of a signature
        spans, seconds = _Spans([], []), collections.defaultdict[str, list[float]](list)
        gc.collect()
        gc.freeze()  # half a million objects of TensorFlow's, which a collection would look at for a tenth of a second
        stack.callback(gc.unfreeze)
        with OpenLoop(calls, rate=rate) as loop:
            for number in range(rounds):
                time.sleep(SETTLE_SECONDS)
                with _span(spans.steady):
                    time.sleep(steady_seconds)
                with _span(spans.switch):
                    _switch(switched, number + 3, seconds)
                write(f"  round {number + 1}/{rounds}: {len(loop.requests):,} requests")
        wrong = count_wrong(loop.requests, expected, labelled, switched.labelled)
    return SwitchBenchmark(
        latencies={name: _latencies(loop.requests, found) for name, found in spans._asdict().items()},
        seconds={name: Timing.of(found) for name, found in seconds.items()},
        ratios=switch_ratios(loop.requests, spans.steady, spans.switch, wrong),
        errors=dict(collections.Counter(request.error for request in loop.requests if request.error)),
        url=url,
        rate=rate,
    )


class _Spans(NamedTuple):
    steady: list[Span]
    switch: list[Span]


def _calls(
    stack: ExitStack, url: str, grpc: str, frames: Sequence[pd.DataFrame]
) -> tuple[list[Callable[[], pd.DataFrame]], list[bool]]:
    """Requests for each of the frames, REST and gRPC, of the label and the latest; and which are of the label.

    The call of frame i stands at the positions that are i modulo the number of frames.
    """
    calls: list[Callable[[], pd.DataFrame]] = []
    labelled = []
    for label in (LABEL, None):
        options: dict[str, Any] = {"label": label, "timeout": 30.0, "retries": 0, "max_connections": 32}
        rest = stack.enter_context(RestClient(url, NAME, **options))
        remote = stack.enter_context(GrpcClient(grpc, NAME, label=label, timeout=30.0, retries=0))
        for client in (rest, remote):
            calls += [functools.partial(client.predict, frame) for frame in frames]
            labelled += [label is not None] * len(frames)
    return calls, labelled


def _switch(switched: SwitchedModel, number: int, seconds: dict[str, list[float]]) -> None:
    """What happens to a version: published, labelled, the label put back and on it again, the oldest dropped."""
    steps: list[tuple[str, Callable[[], None]]] = [
        ("publish", lambda: switched.publish(number)),
        ("promote", lambda: switched.promote(number)),
        ("roll back", switched.rollback),
        ("promote", lambda: switched.promote(number)),
        ("drop", switched.drop),
    ]
    for name, step in steps:
        start = time.perf_counter()
        step()
        seconds[name].append(time.perf_counter() - start)
        time.sleep(DWELL_SECONDS)


@contextmanager
def _span(spans: list[Span]) -> Iterator[None]:
    start = time.perf_counter()
    yield
    spans.append((start, time.perf_counter()))


def _latencies(requests: Sequence[Request], spans: Sequence[Span]) -> dict[str, float]:
    chosen = [request for span in spans for request in due_in(requests, span)]
    return {"requests": float(len(chosen)), **percentiles(chosen)}


def due_in(requests: Sequence[Request], span: Span) -> list[Request]:
    """The requests that were due in a span of time."""
    return [request for request in requests if span[0] <= request.due < span[1]]


def switch_ratios(
    requests: Sequence[Request], steady: Sequence[Span], switches: Sequence[Span], wrong: int
) -> dict[str, Timing]:
    """Percentiles of all rounds' switches over those of all steady spans; and the counts.

    Args:
      requests: All.
      steady: A span per round.
      switches: Likewise.
      wrong: How many answers are those of no version.

    Returns:
      By the keys of `TARGETS`. The quartiles of a ratio are those of rounds drawn again with replacement.
    """
    rounds = [(due_in(requests, a), due_in(requests, b)) for a, b in zip(steady, switches, strict=True)]
    random = np.random.default_rng(0)
    draws = [random.integers(0, len(rounds), len(rounds)) for _ in range(200)]

    def ratio(key: str) -> Timing:
        def of(chosen: Iterable[int]) -> float:
            before, during = ([r for i in chosen for r in rounds[i][part]] for part in (0, 1))
            return percentiles(during)[key] / percentiles(before)[key]

        low, high = np.percentile([of(draw.tolist()) for draw in draws], [25, 75])
        return Timing(of(range(len(rounds))), float(low), float(high), len(rounds))

    return {
        "switch_p999_over_steady": ratio("p99.9"),
        "switch_p99_over_steady": ratio("p99"),
        "errors": Timing.of([float(sum(1 for request in requests if request.error))]),
        "wrong_scores": Timing.of([float(wrong)]),
    }


def count_wrong(
    requests: Sequence[Request],
    expected: Sequence[Mapping[int, pd.DataFrame]],
    labelled: Sequence[bool],
    moved: Sequence[Move],
) -> int:
    """How many answers are not those of a version that may have given them; requests without an answer are errors.

    Args:
      requests: All.
      expected: By frame, which a call has by its position, and by version modulo 2, the scores.
      labelled: By call, whether it was of the label.
      moved: What the label named when, see `SwitchedModel`.
    """
    wrong = 0
    for request in requests:
        if request.error:
            continue
        keys = {v % 2 for v in named_during(moved, request.sent, request.ended)} if labelled[request.call] else {0, 1}
        due = expected[request.call % len(expected)]
        wrong += not any(_equal(request.answer, due[key]) for key in keys)
    return wrong


def named_during(moved: Sequence[Move], start: float, end: float) -> set[int]:
    """The versions that the label may have named at some time between two.

    One that has been replaced for good before `start` is none of them: who asks after `promote` gets the new one.
    """
    settled = [version for _, done, version in moved if done <= start][-1:]
    return {*settled, *(version for begun, done, version in moved if begun <= end and done > start)}


def _equal(answer: pd.DataFrame, due: pd.DataFrame) -> bool:
    names = list(due.columns)
    if set(answer.columns) != set(names) or len(answer) != len(due):
        return False
    return bool(np.allclose(answer[names].to_numpy(), due.to_numpy(), rtol=TOLERANCE, atol=TOLERANCE))
