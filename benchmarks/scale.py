"""`htlnet bench scale`: what workers on this machine learn, take and send, against one that has the whole batch."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from htlnet_tf.benchmarks.scale_servers import SERVERS
from htlnet_tf.benchmarks.scale_worker import ROWS
from htlnet_tf.benchmarks.timing import Timing, ratio, ratios_text
from htlnet_tf.benchmarks.training import benchmark_batches, benchmark_model
from htlnet_tf.text_tables import aligned

BATCH, STEPS, SERVER_STEPS = 1024, 60, 20

TARGETS = {
    "two_workers_difference": "<= 1e-5",
    "four_workers_difference": "<= 1e-5",
    "two_workers_rows_over_one": "report",
    "four_workers_rows_over_one": "report",
    "gathered_bytes_over_plain": "<= T + 1 = 4",
    "shards_over_one_table": "report",
}
_NAMES = {2: "two", 4: "four"}


@dataclasses.dataclass(frozen=True)
class ScaleBenchmark:
    """The measurements.

    Attributes:
      seconds: By case, seconds per step of the global batch.
      ratios: By the keys of `TARGETS`.
      traffic: Of one worker of two in a step, bytes that it gives to the others, by what they are.
    """

    seconds: dict[str, Timing]
    ratios: dict[str, Timing]
    traffic: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """For JSON: medians with their quartiles, and `ratios` as plain numbers."""
        return {
            "seconds_per_step": {name: dataclasses.asdict(t) for name, t in self.seconds.items()},
            "bytes_per_step": self.traffic,
            "ratios": {name: t.median for name, t in self.ratios.items()},
            "ratio_spread": {name: [t.low, t.high] for name, t in self.ratios.items()},
        }

    def to_text(self) -> str:
        """Three tables: the cases, what a worker sends, and the ratios beside what is to be reached."""
        cases = [["case", "ms per step", "quartiles"]]
        for name, t in self.seconds.items():
            cases.append([name, f"{t.median * 1e3:.1f}", f"{t.low * 1e3:.1f} .. {t.high * 1e3:.1f}"])
        sent = [["a worker of two gives per step", "kB"]]
        sent += [[name, f"{size / 1e3:.0f}"] for name, size in self.traffic.items()]
        ratios = ratios_text("ratio", self.ratios, TARGETS, decimals=7)
        return f"{aligned(cases, left=(0, 2))}\n\n{aligned(sent, left=(0,))}\n\n{ratios}"


def bench_scale(*, rounds: int = 3, write: Callable[[str], None] = print) -> ScaleBenchmark:
    """Trains the model of `htlnet bench train` in one, two and four processes of this machine, on the same batches.

    The weights that are compared are those of the model with smaller towers, see `scale_worker.main`. Then it trains
    with its table on one of two parameter servers, and in shards on both: the ratio is that of the seconds per step.

    All share this machine's cores, so that rows per second tell what working together costs, not what machines add.

    Args:
      rounds: Turns of each case.
      write: Where progress lines go.

    Raises:
      RuntimeError: A process failed; the message is the end of what it printed.
    """
    seconds: dict[int, list[float]] = {1: [], 2: [], 4: []}
    differences: dict[int, list[float]] = {2: [], 4: []}
    for number in range(rounds):
        ends = {}
        for workers, measured in seconds.items():
            write(f"round {number + 1}/{rounds}: {workers} {'process' if workers == 1 else 'processes'}")
            ends[workers] = _trained(workers)
            measured.append(float(np.median(ends[workers]["seconds"])))
        for workers, found in differences.items():
            found.append(_difference(ends[1], ends[workers]))
    traffic, plain = _traffic()
    ratios = {f"{_NAMES[n]}_workers_difference": Timing.of(found) for n, found in differences.items()}
    ratios |= {f"{_NAMES[n]}_workers_rows_over_one": ratio(seconds[1], seconds[n]) for n in _NAMES}
    ratios["gathered_bytes_over_plain"] = Timing.of([sum(traffic.values()) / plain])
    write("parameter servers: a table on one, and in shards on two")
    by_shards = _by_shards(max(rounds, 3))
    ratios["shards_over_one_table"] = ratio(by_shards[SERVERS], by_shards[1])
    cases = {f"{n} x {BATCH // n} rows": Timing.of(measured) for n, measured in seconds.items()}
    cases |= {f"a table in {n} of {SERVERS} servers": Timing.of(measured) for n, measured in by_shards.items()}
    return ScaleBenchmark(cases, ratios, traffic)


def _trained(workers: int) -> dict[str, np.ndarray]:
    """Weights and seconds per step of so many processes together."""
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "trained.npz")
        arguments = [sys.executable, "-m", "htlnet_tf.benchmarks.scale_worker", str(BATCH), str(STEPS), file]
        with ExitStack() as stack:
            sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(workers)]
            addresses = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
        processes = []
        for index in range(workers):
            environment = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
            if workers > 1:
                task = {"type": "worker", "index": index}
                environment["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": task})
            log = (Path(folder) / f"{index}.log").open("w")
            processes.append(subprocess.Popen(arguments, env=environment, stdout=log, stderr=log))
            log.close()
        try:
            for index, process in enumerate(processes):
                if process.wait() != 0:
                    told = (Path(folder) / f"{index}.log").read_text(errors="replace")
                    raise RuntimeError(f"process {index + 1} of {workers} failed: {told[-2000:]}")
        finally:
            for process in processes:
                process.kill()
                process.wait()
        with np.load(file) as arrays:
            return dict(arrays)


def _by_shards(rounds: int) -> dict[int, list[float]]:
    """Seconds per step by the number of shards."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "seconds.json"
        module = "htlnet_tf.benchmarks.scale_servers"
        environment = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
        arguments = [sys.executable, "-m", module, str(BATCH), str(SERVER_STEPS), str(rounds), str(file)]
        done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"the process with the parameter servers failed: {done.stderr[-2000:]}")
        return {int(number): measured for number, measured in json.loads(file.read_text(encoding="utf-8")).items()}


def _difference(one: dict[str, np.ndarray], many: dict[str, np.ndarray]) -> float:
    """The largest difference of a variable, relative to its largest number."""
    names = [name for name in one if name != "seconds"]
    return max(float(np.abs(one[name] - many[name]).max() / np.abs(one[name]).max()) for name in names)


def _traffic() -> tuple[dict[str, float], float]:
    """Bytes that one of two workers gives in a step, on average, and those of an all-reduce of summed gradients."""
    model = benchmark_model(ROWS)
    half = [len(np.unique(features["ids"].numpy()[: BATCH // 2])) for features, _ in benchmark_batches(model, BATCH)]
    rows, width, tasks = float(np.mean(half)), model.embedding.dim, len(model.schema.targets)
    dense = 4.0 * sum(int(np.prod(w.shape)) for w in model._other_weights())
    sent = {
        "ids of touched rows": 4.0 * rows,
        "their gradients, of each task": 4.0 * rows * tasks * width,
        "gradients of the other weights": dense,
        "losses, counts and sizes": 8.0 * (2 * tasks + 1),
    }
    return sent, 4.0 * rows * (1 + width) + dense
