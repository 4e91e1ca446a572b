"""Does an exported model give the trained model's scores? Asked before it is published."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from htlnet_tf.errors import VerificationError
from htlnet_tf.export.requests import parts, repeated
from htlnet_tf.export.signatures import SIGNATURES, signatures_of
from htlnet_tf.export.signatures.signature import TOLERANCE, Arrays, Expected, Question, expected_scores
from htlnet_tf.export.stages import Stages
from htlnet_tf.models.scoring_model import ScoringModel
from htlnet_tf.schema.names import argument_name
from htlnet_tf.serving.errors import StatusError
from htlnet_tf.serving.server.servables import LoadedVersion
from htlnet_tf.serving.server.warmup import replay_warmup
from htlnet_tf.text_tables import aligned

LATENCY_ROWS = (1, 100, 500)
_ROWS_PER_CALL = 2048
_CALLS = 5

Run = Callable[[str, Arrays], Mapping[str, np.ndarray]]
"""From a signature's name and its feeds to its outputs."""


@dataclasses.dataclass(frozen=True)
class VerificationReport:
    """What was found when an exported model was loaded and run.

    Attributes:
      rows: Rows on which every signature was compared with the trained model.
      largest_difference: The largest difference found, relative to the standard deviation of the core target (core),
        absolute (probabilities) or relative (the score of a ranking).
      warmup_requests: Requests that a server runs before the version answers, each of which was run.
      size_bytes: The version's folder on disk, before the report was written into it.
      load_seconds: By loader, `"python"` (`tf.saved_model.load`) and `"session"` (as TensorFlow Serving loads).
      latency_ms: By signature and rows of a request, the median of a few calls through the session, warm; empty if
        it was not asked for.
    """

    rows: int
    largest_difference: float
    warmup_requests: int
    size_bytes: int
    load_seconds: dict[str, float]
    latency_ms: dict[str, dict[int, float]]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> VerificationReport:
        """What `to_dict` gave, as JSON keeps it."""
        latency = {
            name: {int(size): median for size, median in by_size.items()}
            for name, by_size in document["latency_ms"].items()
        }
        return cls(**{**document, "latency_ms": latency})

    def to_text(self) -> str:
        """A few lines for people."""
        loads = ", ".join(f"{loader} {seconds:.2f} s" for loader, seconds in self.load_seconds.items())
        lines = [
            f"largest difference {self.largest_difference:.1e} on {self.rows:,} rows; "
            f"{self.size_bytes / 1e6:,.1f} MB; load: {loads}; "
            f"{self.warmup_requests} warm-up requests"
        ]
        if self.latency_ms:
            sizes = list(next(iter(self.latency_ms.values())))
            rows = [[name, *(f"{by_size[size]:.2f}" for size in sizes)] for name, by_size in self.latency_ms.items()]
            lines.append(aligned([["latency, ms", *(f"{size} rows" for size in sizes)], *rows]))
        return "\n".join(lines)


def verify(
    model: ScoringModel,
    directory: Path,
    rows: Arrays,
    *,
    measure_latency: bool = False,
    stages: Stages | None = None,
) -> VerificationReport:
    """Loads a SavedModel as Python and as TensorFlow Serving do, and compares all signatures with the model.

    `candidates` is asked for the items of all rows with user and context of some of them, and compared with the model's
    scores of rows in which these are repeated; so is `ranked`, whose order must be that of these scores. Warm-up
    requests are run if the version has any.

    Args:
      model: The trained model.
      directory: The SavedModel.
      rows: Raw columns by name, arrays of shape [N].
      measure_latency: Also time a few calls of every signature with 1, 100 and 500 rows.
      stages: Told of each loader and signature that is done.

    Raises:
      VerificationError: It cannot be loaded, a signature or output is missing, or scores differ by more than 1e-5.
    """
    signatures = signatures_of(model.schema)
    names = list(signatures)
    told = stages or Stages()
    with _Loaders(directory, told) as loaders:
        for loader, found in loaders.signatures().items():
            if set(found) - {"__saved_model_init_op"} != set(names):
                raise VerificationError(f"{loader}: signatures {sorted(found)} where {sorted(names)} were expected")
        with told.stage("run the warm-up requests"):
            requests = _replayed(loaders.session, directory)
        scores = {start: expected_scores(model, part) for start, part in parts(rows, _ROWS_PER_CALL)}
        largest = 0.0
        for name in told.each("verify", names):
            for start, part in parts(rows, _ROWS_PER_CALL):
                for question in signatures[name].questions(model, part, scores[start]):
                    largest = max(largest, _asked(loaders, name, question, start))
        latency = {}
        if measure_latency:
            with told.stage("measure the latency"):
                latency = {name: _latencies(model, loaders.session.run, name, rows) for name in names}
        size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
        count = len(next(iter(rows.values())))
        return VerificationReport(count, largest, requests, size, loaders.seconds, latency)


def _asked(loaders: _Loaders, name: str, question: Question, start: int) -> float:
    """The largest difference that either loader's answer to a question has from the one that is due."""
    largest = 0.0
    for loader, run in loaders.runs().items():
        try:
            outputs = run(name, question.inputs)
        except (StatusError, tf.errors.OpError) as error:
            raise VerificationError(f"{loader}, '{name}' fails at row {start}: {error}") from error
        largest = max(largest, largest_difference(f"{loader}, '{name}'", outputs, question.due(outputs), start))
    return largest


class _Loaders:
    """A SavedModel, loaded twice."""

    def __init__(self, directory: Path, stages: Stages) -> None:
        self.seconds: dict[str, float] = {}
        self._stages = stages
        try:
            self._python = self._timed("python", lambda: tf.saved_model.load(str(directory)))
            self.session: LoadedVersion = self._timed("session", lambda: LoadedVersion(directory))
        except (StatusError, OSError, ValueError, tf.errors.OpError) as error:
            raise VerificationError(f"the exported model cannot be loaded: {error}") from error

    def __enter__(self) -> _Loaders:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    def runs(self) -> dict[str, Run]:
        """By loader, how to run a signature."""
        return {"python": lambda name, inputs: _python_scores(self._python, name, inputs), "session": self.session.run}

    def signatures(self) -> dict[str, list[str]]:
        """By loader, the names of the signatures."""
        return {"python": list(self._python.signatures), "session": list(self.session.signatures)}

    def _timed(self, loader: str, load: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        with self._stages.stage(f"load, {loader}"):
            loaded = load()
        self.seconds[loader] = time.perf_counter() - start
        return loaded


def _replayed(servable: LoadedVersion, directory: Path) -> int:
    """Answers the warm-up requests as a server does, which refuses the version over a single one that fails."""
    try:
        return replay_warmup(servable, directory)
    except StatusError as error:
        raise VerificationError(f"a warm-up request fails: {error}") from error


def _python_scores(loaded: Any, signature: str, inputs: Arrays) -> dict[str, np.ndarray]:
    function = loaded.signatures[signature]
    arguments = {argument_name(name): tf.constant(values) for name, values in inputs.items()}
    return {name: score.numpy() for name, score in function(**arguments).items()}


def largest_difference(place: str, outputs: Arrays, expected: Mapping[str, Expected], start: int) -> float:
    """The largest difference between what was received and what is due, in its scale.

    Args:
      place: Where it was received, for a message.
      outputs: By name, what was received.
      expected: By name, what is due.
      start: The number of the first row.

    Raises:
      VerificationError: An output is missing or differs by more than 1e-5.
    """
    if set(outputs) != set(expected):
        raise VerificationError(f"{place}: outputs {sorted(outputs)} where {sorted(expected)} were expected")
    largest = 0.0
    for name, wanted in expected.items():
        received = outputs[name]
        if received.shape != wanted.values.shape:
            raise VerificationError(f"{place}: '{name}' has shape {received.shape}, not {wanted.values.shape}")
        if wanted.values.dtype == object:
            difference = np.where(received == wanted.values, 0.0, np.inf)
        else:
            difference = wanted.differences(received)
        # Written so that a NaN on either side counts as a difference.
        wrong = ~(difference <= TOLERANCE)
        if wrong.any():
            row = int(np.argmax(wrong.reshape(len(wrong), -1).any(axis=1)))
            raise VerificationError(
                f"{place}: '{name}' differs at row {start + row}: {received[row]!r} exported, "
                f"{wanted.values[row]!r} trained"
            )
        largest = max(largest, float(difference.max()))
    return largest


def _latencies(model: ScoringModel, run: Run, signature: str, rows: Arrays) -> dict[int, float]:
    medians = {}
    for size in LATENCY_ROWS:
        inputs = SIGNATURES[signature].feeds(model.encoder, repeated(rows, size))
        times = []
        for _ in range(_CALLS + 1):
            start = time.perf_counter()
            run(signature, inputs)
            times.append((time.perf_counter() - start) * 1e3)
        medians[size] = statistics.median(times[1:])  # the first call builds the executor
    return medians
