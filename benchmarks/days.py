"""Day by day: a run that is updated, beside one that is left as it is and one that is trained anew every day.

    python -m htlnet_tf.benchmarks.days kuairand_pure --data PATH --first 5 --output runs/days

Every model predicts each day before it has seen it. What is printed per day are metrics and seconds of the three.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import htlnet_tf as htl
from htlnet_tf.benchmarks.timing import Timing
from htlnet_tf.data.split_config import TimeSplit
from htlnet_tf.errors import InputError
from htlnet_tf.files import atomic_file, local_path
from htlnet_tf.judging.reports import Report
from htlnet_tf.runs.config import DataConfig, RunConfig, find_config, load_rows
from htlnet_tf.runs.folder import load_model
from htlnet_tf.runs.training import train
from htlnet_tf.runs.update.updating import update
from htlnet_tf.text_tables import markdown

VALIDATION = 0.1
_SHOWN = {"binary": ("auc",), "multiclass": ("macro_auc",), "continuous": ("nrmse", "spearman", "level")}

Write = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Case:
    """How one of the models predicted a day, and what it took to make it.

    Attributes:
      model: `"updated"`, `"left alone"` or `"trained anew"`.
      seed: Of its training.
      day: From 1.
      report: Of all rows of the day.
      processor: Seconds of the processor that making the model took since the day before; 0 of one left alone.
      training: Seconds within `fit` alone, without its first step, which traces.
    """

    model: str
    seed: int
    day: int
    report: Report
    processor: float
    training: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return vars(self) | {"report": self.report.to_dict()}


def compare_days(
    config: RunConfig,
    *,
    output: str | Path,
    first: int = 5,
    seeds: Sequence[int] = (0,),
    utc_offset_hours: float = 0.0,
    write: Write = print,
) -> list[Case]:
    """Trains, updates and trains anew, day by day.

    Args:
      config: Of the runs; its rows are a frame with a timestamp of milliseconds, as the loader of KuaiRand-Pure gives.
      output: A folder for runs and days.
      first: Days of the first training.
      seeds: One after the other.
      utc_offset_hours: Where a day begins.
      write: Where progress lines go.

    Raises:
      InputError: The rows are none of these, or there are no days behind the first.
    """
    folder = local_path(output)
    days = _write_days(config, folder, utc_offset_hours)
    if len(days) <= first:
        raise InputError(f"there are {len(days)} days, and the first {first} are trained on: none is left to predict")
    cases = []
    for seed in seeds:
        run, spent = _trained(config, days, first, seed, folder, write)
        alone = load_model(run.path)[1]
        cases += [Case(name, seed, first + 1, run.report, *spent) for name in ("left alone", "trained anew")]
        updated = run.path
        for day in range(first + 1, len(days) + 1):
            started = time.process_time()
            done = update(updated, days[day - 1], folder / f"updated_{day}_{seed}", overwrite=True, write=_silent)
            took = time.process_time() - started
            updated = folder / f"updated_{day}_{seed}"
            fitted = sum(float(np.sum(member.seconds)) for member in done.run.trained)
            cases.append(Case("updated", seed, day, done.progressive.reports["all"], took, fitted))
            write(f"seed {seed}, day {day} learned in {took:.1f} s of the processor")
            if day < len(days):
                anew, spent = _trained(config, days, day, seed, folder, write)
                cases.append(Case("trained anew", seed, day + 1, anew.report, *spent))
                report = htl.evaluate(alone, pd.read_parquet(days[day]))
                cases.append(Case("left alone", seed, day + 1, report, 0.0, 0.0))
        with atomic_file(folder / "days.json") as path:
            path.write_text(json.dumps([case.to_dict() for case in cases]), encoding="utf-8")
    return cases


@dataclasses.dataclass(frozen=True)
class _Run:
    path: Path
    report: Report


def _write_days(config: RunConfig, folder: Path, offset: float) -> list[Path]:
    """A Parquet file per day; rows of the hours before the first whole day are of that day."""
    rows, schema, _ = load_rows(config)
    if not isinstance(rows, pd.DataFrame) or schema.time_column is None:
        raise InputError("the days are cut from a frame with a timestamp: take a loader that gives one")
    number = (rows[schema.time_column] + int(offset * 3_600_000)) // 86_400_000
    number = (number - number.min()).clip(lower=int(np.sum(number == number.min()) < len(rows) / 100))
    (folder / "rows").mkdir(parents=True, exist_ok=True)
    paths = []
    for position, day in enumerate(sorted(number.unique()), start=1):
        paths.append(folder / "rows" / f"day_{position:03d}.parquet")
        rows[number == day].to_parquet(paths[-1], index=False)
    return paths


def _trained(
    config: RunConfig, days: Sequence[Path], count: int, seed: int, folder: Path, write: Write
) -> tuple[_Run, tuple[float, float]]:
    """A run on the first days, the last share of which validates, judged on the day after them."""
    some = folder / f"until_{count}"
    some.mkdir(exist_ok=True)
    for path in days[: count + 1]:
        (some / path.name).unlink(missing_ok=True)
        (some / path.name).hardlink_to(path)
    column = str(load_rows(config).schema.time_column)
    times = [pd.read_parquet(path, columns=[column])[column].to_numpy() for path in days[: count + 1]]
    learned = np.concatenate(times[:-1])
    cuts = int(np.quantile(learned, 1.0 - VALIDATION)), int(times[-1].min())
    changed = dataclasses.replace(
        config,
        data=DataConfig(loader="generic", path=str(some)),
        split=TimeSplit(dates=cuts),
        training=dataclasses.replace(config.training, seed=seed),
    )
    path, started = folder / f"trained_{count}_{seed}", time.process_time()
    run = train(changed, path, overwrite=True, importance_rows=0, write=_silent)
    assert run is not None  # this process trains alone
    took = time.process_time() - started
    write(f"seed {seed}, days 1 to {count} trained in {took:.1f} s of the processor")
    return _Run(path, run.report), (took, float(np.sum(run.trained[0].seconds)))


def to_text(cases: Sequence[Case]) -> str:
    """Tables: means over the seeds per day and model, and the processor's seconds."""
    rows = cases[0].report.rows
    shown = [(row.target, row.metric) for row in rows if row.metric in _SHOWN[row.kind]]
    table = [["day", "model", *(f"{target} {metric}" for target, metric in shown), "seconds"]]
    for day in sorted({case.day for case in cases}):
        for model in ("left alone", "updated", "trained anew"):
            of_day = [case for case in cases if (case.day, case.model) == (day, model)]
            if of_day:
                values = [np.mean([case.report.value(*key) for case in of_day]) for key in shown]
                spent = Timing.of([case.processor for case in of_day]).median
                table.append([str(day), model, *(f"{value:.4f}" for value in values), f"{spent:.1f}"])
    return markdown(table)


def _silent(line: str) -> None:
    del line


def main() -> None:
    """The command line of the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config")
    parser.add_argument("--data")
    parser.add_argument("--first", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--utc_offset_hours", type=float, default=8.0)
    parser.add_argument("--output", required=True)
    given = parser.parse_args()
    config = find_config(given.config).with_data(given.data)
    cases = compare_days(
        config,
        output=given.output,
        first=given.first,
        seeds=range(given.seeds),
        utc_offset_hours=given.utc_offset_hours,
    )
    print(to_text(cases))


if __name__ == "__main__":
    main()
