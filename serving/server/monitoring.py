"""What the server has done, in the metric names and the text format of TF Serving's Prometheus page.

The writer is ours: prometheus-client adds `_total` to the name of every counter, and TF Serving's have none.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

from htlnet_tf.serving.errors import StatusError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from htlnet_tf.serving.server.servable_store import VersionStatus

METRICS_PATH = "/monitoring/prometheus/metrics"

_REQUESTS = ":tensorflow:serving:request_count"
_LATENCY = ":tensorflow:serving:request_latency"
_RUNTIME = ":tensorflow:serving:runtime_latency"
_LOADS = ":tensorflow:cc:saved_model:load_attempt_count"
_LOAD_TIME = ":tensorflow:cc:saved_model:load_latency"
# TF Serving tells the state of its versions over its API only; this one is ours.
_VERSIONS = ":htlnet:serving:model_version_state"

# Microseconds. TF Serving, servables/tensorflow/util.cc: scale 10, growth 1.8, 33 buckets (about 20 minutes).
_BOUNDS = tuple(10 * 1.8**power for power in range(33))

# Names of models come from requests: a client that invents new ones must not fill the memory.
_MAX_MODELS = 1000
_OTHER_MODELS = "(other)"

_Labels = tuple[tuple[str, str], ...]


class _Store(Protocol):
    """What `Metrics.render` asks of a `ServableStore`."""

    @property
    def names(self) -> list[str]: ...

    def status(self, name: str, version: int | None = None) -> Sequence[VersionStatus]: ...


class _Histogram:
    def __init__(self) -> None:
        self.counts = [0] * (len(_BOUNDS) + 1)  # the last one has no upper bound
        self.sum = 0

    def add(self, microseconds: int) -> None:
        self.counts[bisect_left(_BOUNDS, microseconds)] += 1  # a bucket includes its upper bound
        self.sum += microseconds


class Metrics:
    """Counts requests and loads. Thread-safe; one record costs a few microseconds.

    Example:
      >>> metrics = Metrics()
      >>> metrics.record("predict", "REST", "ctr", "OK", 0.003)
      >>> page = metrics.render(store)
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._models: set[str] = set()
        self._requests: dict[_Labels, int] = defaultdict(int)
        self._latency: dict[_Labels, _Histogram] = defaultdict(_Histogram)
        self._runtime: dict[_Labels, _Histogram] = defaultdict(_Histogram)
        self._loads: dict[_Labels, int] = defaultdict(int)
        self._load_time: dict[_Labels, int] = defaultdict(int)

    def record(self, api: str, entrypoint: str, model: str, status: str, seconds: float) -> None:
        """Counts one request.

        Args:
          api: What was asked for as TF Serving spells it: `"predict"` and so on for REST, `"Predict"` for gRPC, `""`
            for status and metadata.
          entrypoint: `"REST"` or `"GRPC"`.
          model: The model's name as the request gave it; `""` if it gave none.
          status: Canonical code by name, such as `"OK"`.
          seconds: Time from the arrival of the request to its answer. As in TF Serving, it is kept for `"OK"` only.
        """
        with self._lock:
            model = self._known(model)
            self._requests[("model_name", model), ("status", status)] += 1
            if status == "OK":
                labels = (("model_name", model), ("API", api), ("entrypoint", entrypoint))
                self._latency[labels].add(_microseconds(seconds))

    def record_runtime(self, api: str, model: str, seconds: float) -> None:
        """Keeps how long a graph ran.

        Args:
          api: `"Predict"`, `"Classify"` or `"Regress"`, over REST and gRPC alike.
          model: The model's name.
          seconds: Time within TensorFlow.
        """
        with self._lock:
            labels = (("model_name", self._known(model)), ("API", api), ("runtime", "TF1"))
            self._runtime[labels].add(_microseconds(seconds))

    def record_load(self, path: str, *, loaded: bool, seconds: float) -> None:
        """Counts one attempt to load a version.

        Args:
          path: The version's folder.
          loaded: Whether it succeeded.
          seconds: How long it took; kept if it succeeded.
        """
        with self._lock:
            self._loads[("model_path", path), ("status", "success" if loaded else "fail")] += 1
            if loaded:
                self._load_time[(("model_path", path),)] += _microseconds(seconds)

    def render(self, store: _Store) -> bytes:
        """Writes the page that Prometheus scrapes.

        Args:
          store: The servables, for the state of every version.

        Returns:
          Prometheus' text format 0.0.4, to be sent as `text/plain`.
        """
        states: dict[_Labels, int] = {
            (("model_name", name), ("version", str(status.version)), ("state", status.state)): 1
            for name in store.names
            for status in _statuses(store, name)
        }
        with self._lock:  # only copies are made under the lock; the text is written without it
            counters = {
                name: dict(values)
                for name, values in ((_REQUESTS, self._requests), (_LOADS, self._loads), (_LOAD_TIME, self._load_time))
            }
            histograms = {
                name: {labels: (list(histogram.counts), histogram.sum) for labels, histogram in values.items()}
                for name, values in ((_LATENCY, self._latency), (_RUNTIME, self._runtime))
            }
        lines = [line for name, values in counters.items() for line in _plain(name, "counter", values)]
        lines += [line for name, values in histograms.items() for line in _histogram(name, values)]
        lines += _plain(_VERSIONS, "gauge", states)
        return "".join(f"{line}\n" for line in lines).encode()

    def _known(self, model: str) -> str:
        model = model.encode("utf-8", "replace").decode()  # a path may hold what cannot be written
        if model in self._models:
            return model
        if len(self._models) >= _MAX_MODELS:
            return _OTHER_MODELS
        self._models.add(model)
        return model


def _statuses(store: _Store, name: str) -> Sequence[VersionStatus]:
    try:
        return store.status(name)
    except StatusError:  # a model that is configured and has had no version yet
        return ()


def _microseconds(seconds: float) -> int:
    return round(max(seconds, 0.0) * 1e6)


def _plain(name: str, kind: str, values: Mapping[_Labels, int]) -> Iterable[str]:
    yield f"# TYPE {name} {kind}"
    for labels, value in sorted(values.items()):
        yield f"{name}{_braces(labels)} {value}"


def _histogram(name: str, values: Mapping[_Labels, tuple[list[int], int]]) -> Iterable[str]:
    yield f"# TYPE {name} histogram"
    for labels, (counts, total) in sorted(values.items()):
        below = 0
        for count, bound in zip(counts, [*(f"{bound:g}" for bound in _BOUNDS), "+Inf"], strict=True):
            below += count
            yield f"{name}_bucket{_braces((*labels, ('le', bound)))} {below}"
        yield f"{name}_sum{_braces(labels)} {total}"
        yield f"{name}_count{_braces(labels)} {below}"


def _braces(labels: _Labels) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
