"""`htlnet bench train`: what the gradient adjustment, the vocabulary and the input pipeline cost per step."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

import htlnet_tf as htl
from htlnet_tf import cores
from htlnet_tf.benchmarks.naive import NaiveHTLNet
from htlnet_tf.benchmarks.timing import Timing, interleaved, ratio, ratios_text
from htlnet_tf.encoding.kinds.categorical import Vocabulary
from htlnet_tf.encoding.statistics import TrainingStatistics
from htlnet_tf.objectives.label_statistics import LabelStatistics
from htlnet_tf.text_tables import aligned

FEATURES = 43
BATCHES = 8
ZIPF = 1.2

TARGETS = {
    "adjusted_over_plain_b1024": "<= 1.08",
    "adjusted_over_plain_b8192": "<= 1.08",
    "naive_over_adjusted_60k": ">= 1.3",
    "naive_one_table_over_adjusted_60k": "report",
    "naive_over_adjusted_1m": ">= 4",
    "naive_one_table_over_adjusted_1m": "report",
    "step_10m_over_60k": "<= 1.3",
    "fit_over_step": ">= 0.9",
    "step_over_flop_limit": "report",
}

Step = Callable[[], object]


@dataclasses.dataclass(frozen=True)
class TrainingBenchmark:
    """The measurements.

    Attributes:
      seconds: By case, seconds per step.
      ratios: By the keys of `TARGETS`.
      machine: What the numbers were measured on.
    """

    seconds: dict[str, Timing]
    ratios: dict[str, Timing]
    machine: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """For JSON: medians with their quartiles, and `ratios` as plain numbers."""
        return {
            "machine": self.machine,
            "seconds_per_step": {name: dataclasses.asdict(t) for name, t in self.seconds.items()},
            "ratios": {name: round(t.median, 4) for name, t in self.ratios.items()},
            "ratio_spread": {name: [round(t.low, 4), round(t.high, 4)] for name, t in self.ratios.items()},
        }

    def to_text(self) -> str:
        """Two tables: the cases, and the ratios beside what is to be reached."""
        cases = [["case", "ms per step", "quartiles"]]
        for name, t in self.seconds.items():
            cases.append([name, f"{t.median * 1e3:.2f}", f"{t.low * 1e3:.2f} .. {t.high * 1e3:.2f}"])
        return f"{aligned(cases, left=(0, 2))}\n\n{ratios_text('ratio', self.ratios, TARGETS, decimals=3)}"


def bench_training(*, rounds: int = 15, write: Callable[[str], None] = print) -> TrainingBenchmark:
    """Measures training steps on random ids: 43 features, d = 10, towers 128-64-32, Zipf-distributed ids.

    Args:
      rounds: Turns of each case.
      write: Where progress lines go.

    Returns:
      Medians and ratios, each group of cases interleaved in this process.
    """
    seconds: dict[str, Timing] = {}
    ratios: dict[str, Timing] = {}

    def measure(title: str, cases: dict[str, Step], calls: int) -> dict[str, list[float]]:
        write(f"{title}: {', '.join(cases)}")
        measured = interleaved(cases, rounds=rounds, calls=calls, progress=write)
        seconds.update({name: Timing.of(values) for name, values in measured.items()})
        return measured

    for batch_size, calls in ((1024, 8), (8192, 2)):
        cases = {f"adjusted 60k, batch {batch_size}": _step(benchmark_model(60_000), batch_size)}
        cases[f"plain sum 60k, batch {batch_size}"] = _step(benchmark_model(60_000, plain=True), batch_size)
        adjusted, plain = measure(f"adjustment, batch {batch_size}", cases, calls).values()
        ratios[f"adjusted_over_plain_b{batch_size}"] = ratio(adjusted, plain)
        del cases
        gc.collect()
    for rows, key, calls in ((60_000, "60k", 8), (1_000_000, "1m", 2)):
        cases = {
            f"adjusted {key}": _step(benchmark_model(rows), 1024),
            f"naive {key}": _step(_naive(rows), 1024),
            f"naive, one table {key}": _step(_naive(rows, one_table=True), 1024),
        }
        adjusted, naive, one_table = measure(f"naive form, {key} rows", cases, calls).values()
        ratios[f"naive_over_adjusted_{key}"] = ratio(naive, adjusted)
        ratios[f"naive_one_table_over_adjusted_{key}"] = ratio(one_table, adjusted)
        del cases
        gc.collect()
    cases = {
        "adjusted 60k": _step(benchmark_model(60_000), 1024),
        "adjusted 10m": _step(benchmark_model(10_000_000), 1024),
    }
    small, large = measure("vocabulary", cases, 8).values()
    ratios["step_10m_over_60k"] = ratio(large, small)
    del cases
    gc.collect()

    model = benchmark_model(60_000)
    step, fit = _step(model, 1024), _fit(benchmark_model(60_000), steps=64)
    per_step, per_epoch = measure("fit, 64 steps", {"step": step, "fit": fit}, 1).values()
    seconds["fit"] = Timing.of([s / 64 for s in per_epoch])
    # Rows per second of fit over those of the step.
    ratios["fit_over_step"] = ratio(per_step, [s / 64 for s in per_epoch])

    flops = _flops_per_row(model) * 1024
    limit = measure("float32 matrix product", {"matmul 1024": _matmul(1024)}, 8)["matmul 1024"]
    flop_seconds = [flops / (2 * 1024**3) * s for s in limit]
    ratios["step_over_flop_limit"] = ratio(per_step, flop_seconds)
    machine = {"cpus": tf.config.threading.get_intra_op_parallelism_threads() or cores.count(), "flops_per_step": flops}
    return TrainingBenchmark(seconds, ratios, machine)


def _schema() -> htl.Schema:
    return htl.Schema(
        features=[htl.Categorical(f"c{i}", dtype="int64", min_count=1) for i in range(FEATURES)],
        targets=[htl.Binary("click"), htl.Binary("long_view"), htl.Continuous("watch_time")],
    )


def _encoder(rows: int) -> htl.FeatureEncoder:
    """An encoder whose vocabularies are 0 .. n-1 for each feature, as if it had been fitted on such rows."""
    schema = _schema()
    size = rows // FEATURES
    vocabulary = Vocabulary(values=tuple(range(size)), has_missing=False)
    statistics = TrainingStatistics(
        schema=schema,
        learned={f.name: vocabulary for f in schema.categoricals},
        labels={"watch_time": LabelStatistics(mean=20.0, std=40.0)},
        num_rows=rows,
    )
    return htl.FeatureEncoder(statistics)


def benchmark_model(rows: int, *, plain: bool = False, **options: Any) -> Any:
    """An HTLNet of 43 features with so many embedding rows; `plain`: with the plain sum of the gradients."""
    tf.keras.utils.set_random_seed(0)
    encoder = _encoder(rows)
    arguments = {"gradient_adjustment": htl.GradientSum(), "gradient_metrics": False} if plain else {}
    model = htl.HTLNet(encoder.schema, encoder, **arguments, **options)
    model.compile(optimizer=htl.LazyAdam(1e-3))
    return model


def _naive(rows: int, *, one_table: bool = False) -> NaiveHTLNet:
    tf.keras.utils.set_random_seed(0)
    encoder = _encoder(rows)
    model = NaiveHTLNet(encoder.schema, encoder, one_table=one_table)
    model.compile(optimizer=tf.keras.optimizers.Adam(1e-3))
    return model


def _zipf(random: np.random.Generator, size: int, shape: tuple[int, ...]) -> np.ndarray:
    """Ids below `size` with P(id) proportional to (id + 1)^-1.2, by the inverse of the distribution function."""
    cumulative = np.cumsum(np.arange(1, size + 1, dtype=np.float64) ** -ZIPF)
    return np.searchsorted(cumulative / cumulative[-1], random.random(shape)).astype(np.int64)


def benchmark_frame(rows: int, count: int, seed: int = 0) -> pd.DataFrame:
    """Raw rows for a `benchmark_model` with so many embedding rows."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(_zipf(random, rows // FEATURES, (count, FEATURES)), columns=[f"c{i}" for i in range(FEATURES)])
    frame["click"] = (random.random(count) < 0.4).astype(int)
    frame["long_view"] = frame["click"] * (random.random(count) < 0.6)
    frame["watch_time"] = random.exponential(20.0, count)
    return frame


def _step(model: Any, batch_size: int) -> Step:
    """The compiled train step on cached batches, in turn."""
    batches = benchmark_batches(model, batch_size)
    function = tf.function(model.train_step)
    turn = iter(range(10**12))

    def step() -> None:
        function(batches[next(turn) % len(batches)])["loss"].numpy()

    return step


def benchmark_batches(model: Any, batch_size: int) -> list[tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]]:
    """Some batches of features and targets for a `benchmark_model`, the same each time."""
    encoder = model.encoder
    rows = encoder.num_rows - FEATURES
    frame = benchmark_frame(rows, batch_size * BATCHES)
    # Each feature's block of rows: one for unknown values, then its vocabulary.
    size = (encoder.num_rows - 1) // FEATURES
    offsets = 1 + size * np.arange(FEATURES) + 1
    ids = (frame[[f"c{i}" for i in range(FEATURES)]].to_numpy() + offsets).astype(np.int32)
    batches = []
    for start in range(0, len(frame), batch_size):
        part = slice(start, start + batch_size)
        features = {"ids": tf.constant(ids[part]), "numeric": tf.zeros([batch_size, 0])}
        targets = {t.name: tf.constant(frame[t.name].to_numpy()[part], tf.float32) for t in model.schema.targets}
        batches.append((features, targets))
    return batches


def _fit(model: Any, steps: int) -> Step:
    """`model.fit` on as many shuffled batches from `make_dataset`, eight steps per call from Python."""
    model.compile(optimizer=htl.LazyAdam(1e-3), steps_per_execution=8)
    frame = benchmark_frame(60_000, 1024 * steps)
    dataset = htl.data.make_dataset(frame, model.schema, model.encoder, batch_size=1024, shuffle=True, seed=0)
    return lambda: model.fit(dataset, epochs=1, verbose=0)


def _matmul(size: int) -> Step:
    a = tf.random.normal([size, size])
    product = tf.function(lambda x: tf.matmul(x, x))
    return lambda: product(a).numpy()


def _flops_per_row(model: Any) -> int:
    """Multiplications and additions of the dense layers, forward and both halves of the backward pass."""
    total = 0
    for tower in model.towers:
        total += sum(int(np.prod(layer.kernel.shape)) for layer in (*tower.hidden, tower.head))
    for t, unit in enumerate(model.representation_fusions):
        total += t * int(np.prod(unit.kernel.shape)) if unit is not None else 0
    for t, unit in enumerate(model.label_fusions):
        total += t * int(np.prod(unit.kernel.shape)) if unit is not None else 0
    return 3 * 2 * total
