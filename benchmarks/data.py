"""`htlnet bench data`: what the input pipeline delivers, beside what the training step takes."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

import htlnet_tf as htl
from htlnet_tf.benchmarks.resident import peak_bytes
from htlnet_tf.benchmarks.timing import Timing, interleaved, ratio, ratios_text
from htlnet_tf.text_tables import aligned

NUM_STRINGS = 21
NUM_INTEGERS = 22
ZIPF = 1.2
BATCH = 1024

TARGETS = {
    "memory_over_step": ">= 4",
    "parquet_over_step": ">= 4",
    "tfrecord_over_step": ">= 2",
    "csv_over_step": ">= 1",
    "parquet_shuffled_over_step": "report",
}
LIMITS = {"fit_seconds": "<= 20", "stream_peak_gib": "< 1.5"}


@dataclasses.dataclass(frozen=True)
class DataBenchmark:
    """The measurements.

    Attributes:
      seconds: By case, seconds per row.
      ratios: Rows per second of a pipeline over those of the step, by the keys of `TARGETS`.
      facts: `fit_seconds` and `fit_rows`; `stream_peak_gib` (resident memory of a process that encodes a Parquet file,
        TensorFlow included), `stream_base_gib` (before it starts) and `stream_rows`.
    """

    seconds: dict[str, Timing]
    ratios: dict[str, Timing]
    facts: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """For JSON: medians with their quartiles, and `ratios` as plain numbers."""
        return {
            "rows_per_second": {name: round(1.0 / t.median) for name, t in self.seconds.items()},
            "seconds_per_row": {name: dataclasses.asdict(t) for name, t in self.seconds.items()},
            "ratios": {name: round(t.median, 4) for name, t in self.ratios.items()},
            "ratio_spread": {name: [round(t.low, 4), round(t.high, 4)] for name, t in self.ratios.items()},
            **self.facts,
        }

    def to_text(self) -> str:
        """Tables: the cases, the ratios beside what is to be reached, and the single measurements."""
        cases = [["case", "rows per second", "quartiles"]]
        for name, t in self.seconds.items():
            cases.append([name, f"{1 / t.median:,.0f}", f"{1 / t.high:,.0f} .. {1 / t.low:,.0f}"])
        facts = [["once", "", "to reach"]]
        facts += [[name, f"{value:,.2f}", LIMITS.get(name, "")] for name, value in self.facts.items()]
        tables = (aligned(cases, left=(0, 2)), ratios_text("ratio", self.ratios, TARGETS), aligned(facts, left=(0, 2)))
        return "\n\n".join(tables)


def bench_data(
    *,
    rounds: int = 7,
    rows: int = 262_144,
    fit_rows: int = 1_000_000,
    stream_rows: int = 5_000_000,
    write: Callable[[str], None] = print,
) -> DataBenchmark:
    """Measures pipelines on random rows: 43 columns, 21 of them strings, vocabularies of 20 to 20,000 values.

    Args:
      rounds: Turns of each case.
      rows: Rows per epoch of each pipeline.
      fit_rows: Rows to fit the encoder on.
      stream_rows: Rows of the Parquet file that is encoded in a process of its own.
      write: Where progress lines go.
    """
    schema = _schema()
    frame = _frame(rows, seed=0)
    encoder = htl.FeatureEncoder.fit(schema, frame)
    facts: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f"rows.{name}" for name in ("parquet", "csv", "tfrecord")}
        write("writing files")
        frame.to_parquet(paths["parquet"], index=False)
        frame.to_csv(paths["csv"], index=False)
        htl.data.write_tfrecord(frame, paths["tfrecord"], schema)
        cases = {"step": _step(schema, encoder, frame)}
        cases["memory"] = _epoch(htl.data.make_dataset(frame, schema, encoder, batch_size=BATCH, shuffle=True, seed=0))
        for name, path in paths.items():
            stream = htl.data.open_stream(path, schema)
            cases[name] = _epoch(htl.data.make_dataset(stream, schema, encoder, batch_size=BATCH))
        shuffled = htl.data.make_dataset(
            htl.data.open_stream(paths["parquet"], schema), schema, encoder, batch_size=BATCH, shuffle=True, seed=0
        )
        cases["parquet, shuffled"] = _epoch(shuffled)
        write(f"pipelines: {', '.join(cases)}")
        calls = {name: 48 if name == "step" else 1 for name in cases}
        measured = interleaved(cases, rounds=rounds, calls=calls, warm_up=1, progress=write)
        per_row = {n: [s / (BATCH if n == "step" else rows) for s in seconds] for n, seconds in measured.items()}
        ratios = {
            f"{name.replace(', ', '_')}_over_step": ratio(per_row["step"], per_row[name])
            for name in ("memory", "parquet", "tfrecord", "csv", "parquet, shuffled")
        }
        del cases
        write(f"fitting the encoder on {fit_rows:,} rows")
        many = _frame(fit_rows, seed=1)
        start = time.perf_counter()
        htl.FeatureEncoder.fit(schema, many)
        facts |= {"fit_rows": fit_rows, "fit_seconds": time.perf_counter() - start}
        del many
        write(f"streaming {stream_rows:,} rows in a process of its own")
        facts |= _peak_memory(Path(folder), stream_rows, encoder)
    return DataBenchmark({n: Timing.of(s) for n, s in per_row.items()}, ratios, facts)


def _schema() -> htl.Schema:
    strings = [htl.Categorical(f"s{i}", dtype="string") for i in range(NUM_STRINGS)]
    integers = [htl.Categorical(f"i{i}", dtype="int64") for i in range(NUM_INTEGERS)]
    targets = [htl.Binary("click"), htl.Binary("long_view"), htl.Continuous("watch_time")]
    return htl.Schema(features=[*strings, *integers], targets=targets)


def _frame(count: int, seed: int) -> pd.DataFrame:
    """Zipf-distributed values: P(k-th value) proportional to k^-1.2."""
    random = np.random.default_rng(seed)
    columns: dict[str, Any] = {}
    for kind, number in (("s", NUM_STRINGS), ("i", NUM_INTEGERS)):
        for i, size in enumerate(np.geomspace(20, 20_000, number).astype(int)):
            cumulative = np.cumsum(np.arange(1, size + 1, dtype=np.float64) ** -ZIPF)
            drawn = np.searchsorted(cumulative / cumulative[-1], random.random(count))
            values = np.array([f"value_{k}" for k in range(size)], object)
            columns[f"{kind}{i}"] = pd.Series(values[drawn], dtype="str") if kind == "s" else drawn.astype(np.int64)
    frame = pd.DataFrame(columns)
    frame["click"] = (random.random(count) < 0.4).astype(np.int64)
    frame["long_view"] = frame["click"] * (random.random(count) < 0.6)
    frame["watch_time"] = random.exponential(20.0, count)
    return frame


def _epoch(dataset: tf.data.Dataset) -> Callable[[], object]:
    """One pass, consumed without going through Python batch by batch."""
    return lambda: int(dataset.reduce(np.int64(0), lambda n, *_: n + 1))


def _step(schema: htl.Schema, encoder: htl.FeatureEncoder, frame: pd.DataFrame) -> Callable[[], object]:
    tf.keras.utils.set_random_seed(0)
    model = htl.HTLNet(schema, encoder)
    model.compile(optimizer=htl.LazyAdam(1e-3))
    dataset = htl.data.make_dataset(frame.head(8 * BATCH), schema, encoder, batch_size=BATCH)
    batches = list(dataset)
    function = tf.function(model.train_step)
    turn = iter(range(10**12))

    def step() -> None:
        function(batches[next(turn) % len(batches)])["loss"].numpy()

    return step


def _peak_memory(folder: Path, count: int, encoder: htl.FeatureEncoder) -> dict[str, float]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path, saved = folder / "many.parquet", folder / "encoder.json"
    encoder.save(saved)
    chunk = min(count, 500_000)
    table = pa.Table.from_pandas(_frame(chunk, seed=2), preserve_index=False)
    with pq.ParquetWriter(path, table.schema) as writer:
        for start in range(0, count, chunk):
            writer.write_table(table.slice(0, min(chunk, count - start)))
    command = [sys.executable, "-m", "htlnet_tf.benchmarks.data", str(path), str(saved)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    base, peak, rows, seconds = (float(value) for value in output[-4:])
    return {
        "stream_rows": rows,
        "stream_seconds": seconds,
        "stream_base_gib": base / 2**30,
        "stream_peak_gib": peak / 2**30,
    }


def _encode_file(path: str, saved: str) -> None:
    """Encodes every row of a file and prints resident memory (bytes) before and at its peak, rows and seconds."""
    encoder = htl.FeatureEncoder.load(saved)
    stream = htl.data.open_stream(path, encoder.schema)
    base = peak_bytes()
    start, rows = time.perf_counter(), 0
    for frame in stream:
        rows += len(encoder.encode(frame)["ids"])
    print(base, peak_bytes(), rows, time.perf_counter() - start)


if __name__ == "__main__":
    _encode_file(*sys.argv[1:])
