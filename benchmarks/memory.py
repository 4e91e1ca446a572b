"""`htlnet bench memory`: what training takes beyond its tables, and whether a process that goes on and on grows."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from htlnet_tf.benchmarks.resident import descriptors, peak_bytes, resident_bytes, threads
from htlnet_tf.benchmarks.timing import Timing, ratios_text
from htlnet_tf.text_tables import aligned

TABLE_ROWS = 10_000_000
STEPS = 64
ROUNDS = 50
FITS, PREDICTS = 4, 200  # of a round, which ends with an export
WARM_UP_SHARE = 0.2

TARGETS = {
    "peak_beyond_tables_gb": "<= 1",
    "soak_growth": "<= 1.05",
    "soak_more_descriptors": "<= 0",
    "soak_more_threads": "<= 0",
}


@dataclasses.dataclass(frozen=True)
class MemoryBenchmark:
    """The measurements.

    Attributes:
      ratios: By the keys of `TARGETS`. `peak_beyond_tables_gb` is the largest resident memory of a process that trains,
        TensorFlow included, less its embedding tables and their moments, in 10^9 bytes; `soak_growth` the resident
        memory at the end of the soak over that after the warm-up; the others are counts.
      facts: What these were made of, in 10^9 bytes (`_gb`), and counts.
    """

    ratios: dict[str, Timing]
    facts: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """For JSON: `ratios` as plain numbers, and the facts."""
        return {
            "ratios": {name: round(t.median, 4) for name, t in self.ratios.items()},
            "ratio_spread": {name: [round(t.low, 4), round(t.high, 4)] for name, t in self.ratios.items()},
            **self.facts,
        }

    def to_text(self) -> str:
        """Two tables: the facts, and the ratios beside what is to be reached."""
        facts = [["once", ""], *([name, f"{value:,.3f}"] for name, value in self.facts.items())]
        return f"{aligned(facts)}\n\n{ratios_text('ratio', self.ratios, TARGETS, decimals=3)}"


def bench_memory(
    *, rounds: int = ROUNDS, table_rows: int = TABLE_ROWS, write: Callable[[str], None] = print
) -> MemoryBenchmark:
    """Measures training with large tables, and a soak, each in a process of its own.

    The training is of `htlnet bench train`'s model, 43 features of width 10, batches of 1024, by `fit`. A round of the
    soak makes a model, fits it four times, predicts 200 times, exports it as the next version, and lets go of it; 50
    rounds are 200 fits, 10,000 predictions and 50 exports.

    Args:
      rounds: Of the soak, at least 2.
      table_rows: Embedding rows of the large model.
      write: Where progress lines go.

    Raises:
      RuntimeError: A process failed; the message is the end of what it printed.
    """
    write(f"training with {table_rows:,} embedding rows in a process of its own")
    trained = _in_a_process("tables", table_rows, STEPS)
    count = max(rounds, 2)
    write(f"{count} rounds of {FITS} fits, {PREDICTS} predictions and an export in a process of its own")
    soak = _in_a_process("soak", count)
    beyond = trained["train_peak_gb"] - trained["tables_and_moments_gb"]
    return MemoryBenchmark(
        {"peak_beyond_tables_gb": Timing.of([beyond]), **soak_ratios(soak)}, {**trained, **_facts(soak)}
    )


def soak_ratios(samples: dict[str, list[float]]) -> dict[str, Timing]:
    """The end of a soak against its state after the warm-up.

    Args:
      samples: One number per round: `resident_gb`, `descriptors`, `threads`.

    Returns:
      The median of the last fifth of the rounds over that of the fifth that follows the warm-up, which is the first
      fifth; of counts their difference.
    """
    (start, end) = ({name: statistics.median(v[part]) for name, v in samples.items()} for part in _parts(samples))
    return {
        "soak_growth": Timing.of([end["resident_gb"] / start["resident_gb"]]),
        "soak_more_descriptors": Timing.of([end["descriptors"] - start["descriptors"]]),
        "soak_more_threads": Timing.of([end["threads"] - start["threads"]]),
    }


def _facts(samples: dict[str, list[float]]) -> dict[str, float]:
    start, end = _parts(samples)
    return {
        "soak_rounds": float(len(samples["resident_gb"])),
        "soak_start_gb": statistics.median(samples["resident_gb"][start]),
        "soak_end_gb": statistics.median(samples["resident_gb"][end]),
        "soak_peak_gb": max(samples["peak_gb"]),
        "soak_end_descriptors": samples["descriptors"][-1],
        "soak_end_threads": samples["threads"][-1],
    }


def _parts(samples: dict[str, list[float]]) -> tuple[slice, slice]:
    count = len(samples["resident_gb"])
    share = max(1, round(WARM_UP_SHARE * count))
    warm = min(share, count - 1)
    return slice(warm, min(warm + share, count)), slice(count - share, count)


def _in_a_process(case: str, *arguments: int) -> Any:
    command = [sys.executable, "-m", "htlnet_tf.benchmarks.memory", case, *map(str, arguments)]
    environment = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the process of '{case}' failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def train_large(table_rows: int, steps: int) -> dict[str, float]:
    """Trains a model with so many embedding rows; resident memory at its peak, and what tables and moments are of it.

    Args:
      table_rows: Embedding rows, of width 10.
      steps: Batches of 1024 rows.
    """
    from htlnet_tf.benchmarks.training import BATCHES, benchmark_batches, benchmark_model

    base = peak_bytes()
    model = benchmark_model(table_rows)
    built = peak_bytes()
    import tensorflow as tf

    rows = tf.nest.map_structure(lambda *parts: tf.concat(parts, axis=0), *benchmark_batches(model, 1024))
    dataset = tf.data.Dataset.from_tensor_slices(rows).batch(1024).repeat()
    model.level_rows = dataset.take(BATCHES)
    model.fit(dataset, steps_per_epoch=steps, epochs=1, verbose=0)
    kept = [*model.embedding.tables, *(s for table in model.embedding.tables for s in model.optimizer.slots(table))]
    size = sum(variable.dtype.size * variable.shape.num_elements() for variable in kept)
    return {
        "tensorflow_gb": base / 1e9,
        "built_peak_gb": built / 1e9,
        "train_peak_gb": peak_bytes() / 1e9,
        "tables_and_moments_gb": size / 1e9,
    }


def soak(rounds: int, *, fits: int = FITS, predicts: int = PREDICTS) -> dict[str, list[float]]:
    """Makes, fits, asks and exports tiny models; resident memory, descriptors and threads after each round.

    Garbage in cycles is collected before a look, so that what grows is what somebody still holds.

    Args:
      rounds: How many models.
      fits: Of each.
      predicts: Of each.
    """
    import htlnet_tf as htl
    from htlnet_tf.benchmarks.tiny import tiny_encoder, tiny_frame, tiny_model

    encoder, frame = tiny_encoder(), tiny_frame()
    samples: dict[str, list[float]] = {"resident_gb": [], "peak_gb": [], "descriptors": [], "threads": []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            model = tiny_model(encoder, seed=number)
            for _ in range(fits):
                dataset = htl.data.make_dataset(frame, encoder.schema, encoder, batch_size=128, shuffle=True, seed=0)
                model.fit(dataset, epochs=1, verbose=0)
            for _ in range(predicts):
                htl.predict(model, frame)
            htl.export.export_model(model, Path(folder) / "tiny", rows=frame.head(50), warmup_rows=(1,), keep=2)
            del model, dataset
            gc.collect()
            samples["resident_gb"].append(resident_bytes() / 1e9)
            samples["peak_gb"].append(peak_bytes() / 1e9)
            samples["descriptors"].append(float(descriptors()))
            samples["threads"].append(float(threads()))
    return samples


if __name__ == "__main__":
    _CASES: dict[str, Callable[..., Any]] = {"tables": train_large, "soak": soak}
    print(json.dumps(_CASES[sys.argv[1]](*(int(argument) for argument in sys.argv[2:]))))
