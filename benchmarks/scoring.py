"""`htlnet bench score`: files of rows to files of scores, beside what the servable alone does, and on Spark."""

from __future__ import annotations

import dataclasses
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from htlnet_tf import cores
from htlnet_tf.benchmarks.resident import peak_bytes
from htlnet_tf.benchmarks.timing import Timing, ratios_text
from htlnet_tf.serving.exported import version_folder
from htlnet_tf.text_tables import aligned

TARGETS = {"score_over_loop": ">= 0.8", "peak_over_peak_of_a_quarter": "<= 1.1", "score_over_spark": "report"}
LIMITS = {"peak_gib": "< 1.5"}
_FILES = 8
_KEEP = "user_0,item_0"


@dataclasses.dataclass(frozen=True)
class ScoringBenchmark:
    """The measurements.

    Attributes:
      ratios: By the keys of `TARGETS`; the first is over the loop of one thread times the jobs.
      facts: Rows, jobs, rows per second of each case, and the peaks of resident memory in GiB, TensorFlow included.
    """

    ratios: dict[str, Timing]
    facts: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """For JSON: `ratios` as plain numbers with their quartiles, and the facts."""
        return {
            "ratios": {name: round(t.median, 4) for name, t in self.ratios.items()},
            "ratio_spread": {name: [round(t.low, 4), round(t.high, 4)] for name, t in self.ratios.items()},
            **self.facts,
        }

    def to_text(self) -> str:
        """Two tables: the facts, and the ratios beside what is to be reached."""
        facts = [["once", "", "to reach"]]
        facts += [[name, f"{value:,.2f}", LIMITS.get(name, "")] for name, value in self.facts.items()]
        return f"{aligned(facts, left=(0, 2))}\n\n{ratios_text('ratio', self.ratios, TARGETS)}"


def bench_scoring(
    *,
    rows: int = 1_000_000,
    rounds: int = 3,
    jobs: int | None = None,
    loop_seconds: float = 10.0,
    write: Callable[[str], None] = print,
) -> ScoringBenchmark:
    """Scores random rows of KuaiRand's shape, 43 columns, half of them text, from Parquet to Parquet.

    The model is not trained: what a score costs does not depend on the weights. Each case has a process of its own, and
    the cases take turns; what loading takes is not counted.

    Args:
      rows: In eight files.
      rounds: Turns of each case.
      jobs: Files at a time; None: as many as cores.
      loop_seconds: Of a turn of the loop.
      write: Where progress lines go.
    """
    from htlnet_tf.benchmarks.serving import _export

    count = jobs or cores.count()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write("exporting a model and writing files")
        _export(folder / "model")
        _write_rows(folder / "rows", rows)
        _write_rows(folder / "quarter", rows // 4)
        small = _score(folder, "quarter", count)
        loops, scores, spark = [], [], []
        for number in range(rounds):
            loops.append(_measured("loop", folder, f"{loop_seconds}")["rate"])
            scores.append(_score(folder, "rows", count))
            if number == 0 and importlib.util.find_spec("pyspark") is not None and shutil.which("java"):
                spark.append(_measured("spark", folder, f"{count}")["rate"])
            write(f"  round {number + 1}/{rounds}: {scores[-1]['rate']:,.0f} rows per second, loop {loops[-1]:,.0f}")
    peak = max(score["peak_gib"] for score in scores)
    ratios = {
        "score_over_loop": Timing.of([s["rate"] / (count * loop) for s, loop in zip(scores, loops, strict=True)]),
        "peak_over_peak_of_a_quarter": Timing.of([score["peak_gib"] / small["peak_gib"] for score in scores]),
    }
    facts = {"rows": float(rows), "jobs": float(count), "peak_gib": peak, "peak_of_a_quarter_gib": small["peak_gib"]}
    facts |= {"loop_rows_per_second": float(np.median(loops))}
    facts |= {"score_rows_per_second": float(np.median([score["rate"] for score in scores]))}
    if spark:
        ratios["score_over_spark"] = Timing.of([scores[0]["rate"] / spark[0]])
        facts["spark_rows_per_second"] = spark[0]
    return ScoringBenchmark(ratios, facts)


def _write_rows(folder: Path, count: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from htlnet_tf.benchmarks.serving import VALUES
    from htlnet_tf.serving.exported import exported_schema

    folder.mkdir()
    schema = exported_schema(version_folder(folder.parent / "model"))
    for number in range(_FILES):
        random = np.random.default_rng(number)
        size = min(125_000, count // _FILES)
        columns: dict[str, Any] = {}
        for feature in schema.inputs:
            drawn = random.integers(0, VALUES, size)
            text = np.array([f"value_{k}" for k in range(VALUES)], object)[drawn]
            columns[feature.name] = text if getattr(feature, "dtype", None) == "string" else drawn
        table = pa.Table.from_pandas(pd.DataFrame(columns), preserve_index=False)
        with pq.ParquetWriter(folder / f"{number}.parquet", table.schema) as writer:
            for start in range(0, count // _FILES, size):  # the same rows again: a long file costs as much as others
                writer.write_table(table.slice(0, min(size, count // _FILES - start)))


def _score(folder: Path, rows: str, jobs: int) -> dict[str, float]:
    return _measured("score", folder, rows, f"{jobs}")


def _measured(case: str, folder: Path, *arguments: str) -> dict[str, float]:
    """Runs a case in a process of its own: rows per second, and the peak of its resident memory in GiB."""
    command = [sys.executable, "-m", "htlnet_tf.benchmarks.scoring", case, str(folder), *arguments]
    rate, peak = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-2:]
    return {"rate": float(rate), "peak_gib": float(peak) / 2**30}


def _case(case: str, folder: Path, *arguments: str) -> None:
    cases: dict[str, Callable[..., float]] = {"loop": _loop, "score": _files, "spark": _spark}
    rate = cases[case](folder, *arguments)
    print(rate, peak_bytes())


def _files(folder: Path, rows: str, jobs: str) -> float:
    import htlnet_tf as htl

    keep = _KEEP.split(",")
    done = htl.score_files(
        folder / "model", folder / rows, folder / "scores", keep=keep, jobs=int(jobs), overwrite=True
    )
    return done.rows / done.seconds


def _loop(folder: Path, seconds: str) -> float:
    """The servable in a loop of one thread, on tensors that are ready."""
    from htlnet_tf.data.raw_features import raw_features
    from htlnet_tf.serving.local_servable import loaded

    servable = loaded(version_folder(folder / "model"))
    frame = pd.read_parquet(folder / "quarter" / "0.parquet").head(16 * servable.batch_rows)
    batches = servable.batches(raw_features(frame, servable.schema))
    servable.scores_of(batches, {})
    start, rows = time.perf_counter(), 0
    while time.perf_counter() - start < float(seconds):
        servable.scores_of(batches, {})
        rows += len(frame)
    return rows / (time.perf_counter() - start)


def _spark(folder: Path, jobs: str) -> float:
    """On Spark, its start not counted but the loading by its workers is."""
    from htlnet_tf.serving.spark_files import open_session, score_on_spark

    open_session(f"local[{jobs}]")
    start = time.perf_counter()
    rows = score_on_spark(
        folder / "model", str(folder / "rows"), str(folder / "on_spark"), keep=_KEEP.split(","), overwrite=True
    )
    return rows / (time.perf_counter() - start)


if __name__ == "__main__":
    _case(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
