"""`htlnet bench start`: how long a user waits for the first sign of life, and for what is done a second time."""

from __future__ import annotations

import dataclasses
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from htlnet_tf import cores
from htlnet_tf.benchmarks.timing import Timing, ratios_text
from htlnet_tf.text_tables import aligned

ROUNDS = 3
CONFIG = "generated"

TARGETS = {
    "import_s": "<= 0.1",
    "first_line_s": "<= 8",
    "first_epoch_line_s": "report",
    "second_export_s": "<= 2",
}
_LOOP = 5_000_000


@dataclasses.dataclass(frozen=True)
class StartBenchmark:
    """The measurements: seconds, which are those of one machine and compare with no other's.

    Attributes:
      ratios: By the keys of `TARGETS`, seconds: `import htlnet_tf` in a fresh interpreter; `htlnet train generated`,
        the rows of `htlnet demo`, from its start to its first line and to the first that tells how far an epoch is; and
        the export of that model by a process that has exported it before.
      machine: What they were measured on, with the seconds of a loop in Python of 5 million additions.
    """

    ratios: dict[str, Timing]
    machine: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the machine, and `ratios` as plain numbers with their quartiles."""
        return {
            "machine": self.machine,
            "ratios": {name: round(t.median, 4) for name, t in self.ratios.items()},
            "ratio_spread": {name: [round(t.low, 4), round(t.high, 4)] for name, t in self.ratios.items()},
        }

    def to_text(self) -> str:
        """Two tables: the machine, and the seconds beside what is to be reached."""
        machine = [["machine", ""], *([name, f"{value}"] for name, value in self.machine.items())]
        return f"{aligned(machine)}\n\n{ratios_text('seconds', self.ratios, TARGETS, decimals=3)}"


def bench_start(*, rounds: int = ROUNDS, write: Callable[[str], None] = print) -> StartBenchmark:
    """Starts what users start, each in processes of its own.

    Args:
      rounds: How often.
      write: Where progress lines go.

    Raises:
      RuntimeError: A process failed; the message is the end of what it printed.
    """
    seconds: dict[str, list[float]] = {name: [] for name in TARGETS}
    loops = []
    for number in range(rounds):
        loops.append(_loop_seconds())
        seconds["import_s"].append(_printed_number(_IMPORT))
        for name, found in zip(("first_line_s", "first_epoch_line_s"), _lines(), strict=True):
            seconds[name].append(found)
        write(f"  round {number + 1}/{rounds}: first line after {seconds['first_line_s'][-1]:.1f} s")
    write("exporting in one process")
    # The first export of a process is none of a second one.
    seconds["second_export_s"] = _second_exports(rounds)
    machine = {"cpus": cores.count(), "processor": platform.machine(), "loop_s": round(min(loops), 3)}
    return StartBenchmark({name: Timing.of(found) for name, found in seconds.items()}, machine)


_IMPORT = "import time; t = time.perf_counter(); import htlnet_tf; print(time.perf_counter() - t)"


def _printed_number(code: str) -> float:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the process failed: {done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])


def _lines() -> tuple[float, float]:
    """Seconds to the first line of a training, and to the first of an epoch; it is stopped then."""
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "errors").open("w+") as errors:
        command = [sys.executable, "-m", "htlnet_tf", "train", CONFIG, "--output", f"{folder}/run"]
        start, first = time.perf_counter(), None
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    now = time.perf_counter() - start
                    first = now if first is None else first
                    if line.lstrip().startswith("epoch "):
                        return first, now
            finally:
                process.terminate()
        errors.seek(0)
        raise RuntimeError(f"`htlnet train {CONFIG}` told of no epoch: {errors.read()[-2000:]}")


def _second_exports(count: int) -> list[float]:
    command = [sys.executable, "-m", "htlnet_tf.benchmarks.start", f"{count}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the process that exports failed: {done.stderr[-2000:]}")
    return [float(value) for value in done.stdout.splitlines()[-1].split()]


def export_again(count: int, *, config: Any = None) -> list[float]:
    """Seconds of each export of a model, without the first.

    Args:
      count: How many exports to time.
      config: Says the rows and the model; None: those of `htlnet demo`. The model is not trained: what an export takes
        does not depend on the weights.
    """
    from htlnet_tf.export import export_model
    from htlnet_tf.runs.building import build_model
    from htlnet_tf.runs.config import find_config
    from htlnet_tf.runs.preparation import prepare

    config = find_config(CONFIG, []) if config is None else config
    prepared = prepare(config, write=lambda _: None)
    model = build_model(config, prepared.schema, prepared.encoder)
    assert isinstance(prepared.test, pd.DataFrame)  # which a stream of rows is not
    rows, seconds = prepared.test.head(1000), []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(1 + count):
            start = time.perf_counter()
            export_model(model, Path(folder) / "m", rows=rows)
            seconds.append(time.perf_counter() - start)
    return seconds[1:]


def _loop_seconds() -> float:
    start, total = time.perf_counter(), 0
    for number in range(_LOOP):
        total += number
    return time.perf_counter() - start


if __name__ == "__main__":
    print(*export_again(int(sys.argv[1])))
