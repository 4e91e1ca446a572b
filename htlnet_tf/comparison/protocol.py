"""Several models on the same rows with the same budget, over several seeds: run, resumed, tabled and drawn."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from htlnet_tf.comparison.folder import Folder
from htlnet_tf.comparison.pictures import WITHOUT_ADJUSTMENT, draw_pictures
from htlnet_tf.comparison.runs import Job, RunRecord
from htlnet_tf.comparison.significance import paired_tests
from htlnet_tf.comparison.tables import Records, good_reports, legend, runs_table, table_markdown
from htlnet_tf.comparison.tuning import Tuned, tune_variants
from htlnet_tf.comparison.variants import SUBJECT, Plan, plan
from htlnet_tf.comparison.workers import run_jobs
from htlnet_tf.config import RunConfig
from htlnet_tf.data.users import read_users
from htlnet_tf.errors import InputError
from htlnet_tf.evaluation import evaluate_predictions
from htlnet_tf.models import MODELS
from htlnet_tf.preparation import Prepared, prepare
from htlnet_tf.reports import Report, summarise_reports

Write = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The runs of a comparison.

    Attributes:
      plan: Which variants, in which tables.
      records: By variant, its runs in the order of the seeds.
      runs: Every run in a row, see `htlnet_tf.comparison.tables.runs_table`.
      text: The tables as Markdown.
      oracle: The metrics of the truth, of rows where it is known.
    """

    plan: Plan
    records: Records
    runs: pd.DataFrame
    text: str
    oracle: Report | None = None

    def reports(self, variant: str) -> list[Report]:
        """The test metrics of a variant's runs that did not diverge."""
        return [record.report for record in self.records[variant] if record.report is not None]


def compare(
    config: RunConfig,
    models: Sequence[str] = tuple(MODELS),
    seeds: Sequence[int] = (0,),
    output: str | Path = "runs/comparison",
    *,
    methods: Sequence[str] = (),
    ablations: bool = False,
    tune: int = 0,
    jobs: int = 1,
    data: str | Path | None = None,
    overwrite: bool = False,
    write: Write = print,
) -> Comparison:
    """Trains every variant with every seed: the same rows, encoder, batch size, budget and early stopping.

    The folder grows run by run, each of which appears whole. Stopped at any point, the same call goes on with the runs
    that are missing; more seeds or models may be asked for later. `results.md` has the tables, `runs.csv` every run,
    `summary.csv` means and standard deviations, `significance.csv` the tests, and `*.png` the pictures.

    Args:
      config: As for `train`; its model's arguments hold for the variants of the model that it names, the others take
        their defaults.
      models: Variants: names of models, `mmoe+pcgrad`, `htlnet-attention`.
      seeds: Seeds of the initial weights, the order of the rows and the Gumbel noise.
      output: The folder.
      methods: Optimisation methods that each model is run with as well.
      ablations: Add HTLNet's ablations, the paper's Tables 3, 4 and 5.
      tune: Trials per variant on the validation rows, whose best settings every seed then takes; 0: none.
      jobs: Processes that run side by side; each reads the rows itself.
      data: Stands in for `config.data.path`.
      overwrite: Remove a comparison that is in the folder.
      write: Where progress lines go.

    Raises:
      InputError: A variant is not known or named twice, the data or the configuration are not usable, or the folder
        holds another comparison.
    """
    if not seeds or len(set(seeds)) < len(seeds):
        raise InputError(f"at least one seed is needed and each once, received {list(seeds)}")
    if jobs < 1 or tune < 0:
        raise InputError(f"jobs must be at least 1 and tune not negative, received {jobs} and {tune}")
    chosen = plan(models, methods=methods, ablations=ablations, base=config.model)
    config = config.with_data(data or config.data.path)
    folder = Folder(Path(output))
    folder.require_usable(config, overwrite=overwrite)
    prepared = prepare(config, write=write)
    folder.begin(config, prepared, overwrite=overwrite, write=write)
    tuned = (
        tune_variants(config, chosen.variants, prepared, folder, trials=tune, jobs=jobs, write=write) if tune else {}
    )
    wanted = [_job(config, chosen, tuned, variant, seed) for seed, variant in itertools.product(seeds, chosen.variants)]
    # For the picture of the gradients alone: without its adjustment, HTLNet is run once if no table asks for it.
    pictured = [
        _job(config, chosen, tuned, v, seeds[0]) for v in (SUBJECT, WITHOUT_ADJUSTMENT) if SUBJECT in chosen.variants
    ]
    extra = [job for job in pictured if job.variant not in chosen.variants]
    made = _run_missing([*wanted, *extra], prepared, folder, jobs, write)
    records = {v: [made[v, seed] for seed in seeds] for v in chosen.variants}
    oracle = _oracle(prepared)
    comparison = Comparison(
        chosen, records, runs_table(records), _text(chosen, records, prepared, oracle, tuned), oracle
    )
    _write(comparison, folder, prepared, pictured)
    return comparison


def _job(config: RunConfig, chosen: Plan, tuned: Mapping[str, Tuned], variant: str, seed: int) -> Job:
    if variant in tuned:
        return tuned[variant].job(config, variant, seed)
    model = chosen.variants.get(variant) or plan([variant], base=config.model).variants[variant]
    return Job.of(config, variant, model, seed)


def _run_missing(
    wanted: Sequence[Job], prepared: Prepared, folder: Folder, jobs: int, write: Write
) -> dict[tuple[str, int], RunRecord]:
    """Makes the runs that the folder has not got; all of them by variant and seed."""
    made = {(job.variant, job.seed): folder.record(job, prepared.schema) for job in wanted}
    missing = [job for job in wanted if made[job.variant, job.seed] is None]
    if len(missing) < len(wanted):
        write(f"{len(wanted) - len(missing)} of {len(wanted)} runs are in '{folder.root}' already")
    started = time.monotonic()
    for done, record in enumerate(run_jobs(missing, prepared, folder.root, jobs=jobs, write=write), start=1):
        made[record.variant, record.seed] = record
        minutes = (time.monotonic() - started) / 60
        left = minutes / done * (len(missing) - done)
        outcome = f"diverged: {record.failure}" if record.failure else f"best after {record.best_epoch:g} epochs"
        write(
            f"[{done}/{len(missing)}] {record.variant}, seed {record.seed}: {outcome}; "
            f"{minutes:.1f} min so far, about {left:.0f} min left"
        )
    return {key: record for key, record in made.items() if record is not None}


def _oracle(prepared: Prepared) -> Report | None:
    """The metrics of the truth on the test rows."""
    if prepared.truth is None or not isinstance(prepared.test, pd.DataFrame):
        return None
    schema, test = prepared.schema, prepared.test
    labels = test[[t.name for t in schema.targets]]
    return evaluate_predictions(schema, labels, prepared.truth, read_users(test, schema))


def _text(chosen: Plan, records: Records, prepared: Prepared, oracle: Report | None, tuned: Mapping[str, Tuned]) -> str:
    seeds = max(len(of_variant) for of_variant in records.values())
    tables = [table_markdown(table, records, prepared.schema, oracle) for table in chosen.tables]
    tested = seeds > 1 and SUBJECT in records and len(records) > 1
    note = legend(seeds, tested=tested, oracle=oracle is not None)
    settings = (
        ["Tuned on the validation rows:", *(f"- {v}: {each.text()}" for v, each in tuned.items())] if tuned else []
    )
    return "\n\n".join([*tables, note, *(["\n".join(settings)] if settings else [])])


def _write(comparison: Comparison, folder: Folder, prepared: Prepared, pictured: Sequence[Job]) -> None:
    records, tables = comparison.records, comparison.plan.tables
    folder.write_text("results.md", comparison.text + "\n")
    folder.write_table("runs.csv", comparison.runs)
    reports = good_reports(records, records)
    if reports:
        folder.write_table("summary.csv", summarise_reports({v: list(r.values()) for v, r in reports.items()}))
    if SUBJECT in reports:
        folder.write_table("significance.csv", paired_tests(reports, SUBJECT))
    if comparison.oracle is not None:
        folder.write_json("oracle.json", comparison.oracle.to_dict())
    draw_pictures(folder.root, tables, records, prepared.schema, pictured)
