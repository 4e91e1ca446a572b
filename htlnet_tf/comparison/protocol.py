"""Several models on the same rows with the same budget, over several seeds: run, resumed, tabled and drawn."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from htlnet_tf.comparison.folder import Folder
from htlnet_tf.comparison.page import write_comparison_page
from htlnet_tf.comparison.pictures import WITHOUT_ADJUSTMENT, draw_pictures
from htlnet_tf.comparison.reference_runs import obstacles, require_possible
from htlnet_tf.comparison.runs import Job, RunRecord
from htlnet_tf.comparison.significance import paired_tests
from htlnet_tf.comparison.tables import ORACLE, Records, as_lists, good_reports, legend, runs_table, table_markdown
from htlnet_tf.comparison.tuning import Settings, tune_variants
from htlnet_tf.comparison.variants import SUBJECT, Plan, objective_obstacles, plan, variant, variant_name
from htlnet_tf.comparison.workers import run_jobs
from htlnet_tf.data.users import read_users
from htlnet_tf.encoding.encoded import EncodedRows
from htlnet_tf.errors import InputError
from htlnet_tf.files import local_path
from htlnet_tf.judging.evaluation import evaluate_predictions
from htlnet_tf.judging.references import REFERENCES
from htlnet_tf.judging.references.constants import training_means, trivial_reports
from htlnet_tf.judging.references.design_matrix import fields_without_means
from htlnet_tf.judging.reports import Report
from htlnet_tf.judging.summaries import summarise_reports
from htlnet_tf.models import MODELS
from htlnet_tf.runs.config import RunConfig
from htlnet_tf.runs.preparation import Prepared, Write, prepare


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
    objectives: Sequence[str] = (),
    ablations: bool = False,
    references: bool = False,
    tune: int = 0,
    jobs: int = 1,
    data: str | Path | None = None,
    overwrite: bool = False,
    command: str | None = None,
    write: Write = print,
) -> Comparison:
    """Trains every variant with every seed: the same rows, encoder, batch size, budget and early stopping.

    The folder grows run by run, each of which appears whole. Stopped at any point, the same call goes on with the runs
    that are missing; more seeds or models may be asked for later. `results.md` has the tables, `runs.csv` every run,
    `summary.csv` means and standard deviations, `significance.csv` the tests, `*.png` the pictures, and `report.html`
    all of it on one page.

    Args:
      config: As for `train`; which of its model's arguments hold for other models, see
        `htlnet_tf.comparison.variants.variant`.
      models: Variants: names of models, `mmoe+pcgrad`, `htlnet-attention`, `htlnet@ziln`, `htlnet x3`; or references.
      seeds: Seeds of the initial weights, the order of the rows and the Gumbel noise; the members of ensembles of N
        have seed * N .. seed * N + N - 1.
      output: The folder.
      methods: Optimisation methods that each model is run with as well.
      objectives: Objectives of the core that each model is run with as well.
      ablations: Add HTLNet's ablations, the paper's Tables 3, 4 and 5.
      references: Add all references of `htlnet_tf.judging.references` that are for such a core: boosted trees and
        linear models, on the same rows and columns. They stand in every table.
      tune: Trials per variant on the validation rows, whose best settings every seed then takes; 0: none.
      jobs: Processes that run side by side; each reads the rows itself.
      data: Stands in for `config.data.path`.
      overwrite: Remove a comparison that is in the folder.
      command: The command line, for the page.
      write: Where progress lines go; processes of their own have none for their epochs.

    Raises:
      InputError: A variant is not known or named twice, the data or the configuration are not usable, the folder
        holds another comparison, or a reference cannot be fitted: LightGBM is not installed, the rows are streamed.
    """
    if not seeds or len(set(seeds)) < len(seeds):
        raise InputError(f"at least one seed is needed and each once, received {list(seeds)}")
    if jobs < 1 or tune < 0:
        raise InputError(f"jobs must be at least 1 and tune not negative, received {jobs} and {tune}")
    chosen = plan(
        models,
        methods=methods,
        objectives=objectives,
        ablations=ablations,
        references=references,
        base=config.model,
    )
    require_possible(chosen.references, config)
    config = config.with_data(data or config.data.path)
    folder = Folder(local_path(output))
    folder.require_usable(config, overwrite=overwrite)
    prepared = prepare(config, write=write)
    unfit = obstacles(chosen.references, prepared.schema)
    for name, why in unfit.items():
        if name in models:
            raise InputError(f"the reference '{name}' is not for these rows: {why}")
        write(f"the reference '{name}' is left out: {why}")
    unfit |= (impossible := objective_obstacles(chosen.variants, config, prepared.schema))
    for name, why in impossible.items():
        if name in [variant_name(model, config.model) for model in models]:
            raise InputError(f"the variant '{name}' is not possible: {why}")
        write(f"the variant '{name}' is left out: {why}")
    chosen = chosen.without(unfit)
    folder.begin(config, prepared, overwrite=overwrite, write=write)
    with folder.locked():
        return _compare(config, chosen, seeds, prepared, folder, tune=tune, jobs=jobs, command=command, write=write)


def _compare(
    config: RunConfig,
    chosen: Plan,
    seeds: Sequence[int],
    prepared: Prepared,
    folder: Folder,
    *,
    tune: int,
    jobs: int,
    command: str | None,
    write: Write,
) -> Comparison:
    variants: Mapping[str, Settings] = {
        name: Settings(model, config.training.learning_rate) for name, model in chosen.variants.items()
    }
    if tune:
        variants = tune_variants(config, chosen.variants, prepared, folder, trials=tune, jobs=jobs, write=write)
    wanted = [each.job(config, name, seed) for seed, (name, each) in itertools.product(seeds, variants.items())]
    pictured = _pictured(config, variants, seeds[0])
    extra = [job for job in pictured if job.below != "runs"]
    made = _run_missing([*wanted, *extra], prepared, folder, jobs, write)
    records = {v: [made[v, seed] for seed in seeds] for v in chosen.variants}
    oracle = _oracle(prepared)
    constants = ({} if oracle is None else {ORACLE: oracle}) | _trivial(prepared)
    text = _text(chosen, records, prepared, constants, variants)
    comparison = Comparison(chosen, records, runs_table(records), text, oracle)
    _write(comparison, folder, prepared, pictured, _heading(config, prepared, records))
    if any(record.report is not None for of_variant in records.values() for record in of_variant):
        write_comparison_page(folder.root, chosen.tables, prepared.schema, constants, command)
    return comparison


def _pictured(config: RunConfig, variants: Mapping[str, Settings], seed: int) -> list[Job]:
    """The runs whose gradients stand side by side: HTLNet with its adjustment and without.

    Where no table asks for the one without, it is run once for the picture, with HTLNet's own settings.
    """
    if SUBJECT not in variants:
        return []
    jobs = [each.job(config, name, seed) for name, each in variants.items() if name in (SUBJECT, WITHOUT_ADJUSTMENT)]
    if len(jobs) == 1:
        subject = variants[SUBJECT]
        plain = dataclasses.replace(subject, model=variant(WITHOUT_ADJUSTMENT, subject.model))
        jobs.append(dataclasses.replace(plain.job(config, WITHOUT_ADJUSTMENT, seed), below="extra"))
    return jobs


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
        write(
            f"[{done}/{len(missing)}] {record.variant}, seed {record.seed}: {_outcome(record)}; "
            f"{minutes:.1f} min so far, about {left:.0f} min left"
        )
    return {key: record for key, record in made.items() if record is not None}


def _outcome(record: RunRecord) -> str:
    if record.failure:
        return f"diverged: {record.failure}"
    if record.variant in REFERENCES:
        return f"fitted in {record.training_seconds or 0.0:.0f} s"
    return f"best after {record.best_epoch:g} {'epoch' if record.best_epoch == 1 else 'epochs'}"


def _oracle(prepared: Prepared) -> Report | None:
    """The metrics of the truth on the test rows."""
    if prepared.truth is None or not isinstance(prepared.test, pd.DataFrame):
        return None
    schema, test = prepared.schema, prepared.test
    labels = test[[t.name for t in schema.targets]]
    return evaluate_predictions(schema, labels, prepared.truth, read_users(test, schema))


def _trivial(prepared: Prepared) -> dict[str, Report]:
    """The mean and zero on the test rows; none of rows that are streamed, which are not at hand as a whole."""
    train, test, schema = prepared.train, prepared.test, prepared.schema
    if not isinstance(test, pd.DataFrame) or not isinstance(train, EncodedRows):
        return {}
    return trivial_reports(schema, training_means(schema, train.labels, train.weights), test, read_users(test, schema))


def _text(
    chosen: Plan,
    records: Records,
    prepared: Prepared,
    constants: Mapping[str, Report],
    settings: Mapping[str, Settings],
) -> str:
    seeds = max(len(of_variant) for of_variant in records.values())
    tuned = {name: each for name, each in settings.items() if each.trials}
    tables = [table_markdown(table, records, prepared.schema, constants) for table in chosen.tables]
    tested = seeds > 1 and SUBJECT in records and len(records) > 1
    note = legend(
        seeds,
        tested=tested,
        constants=constants,
        references=chosen.references,
        without_means=fields_without_means(prepared.encoder),
    )
    found = ["Tuned on the validation rows:", *(f"- {name}: {each.text()}" for name, each in tuned.items())]
    return "\n\n".join([*tables, note, *(["\n".join(found)] if tuned else [])])


def _heading(config: RunConfig, prepared: Prepared, records: Records) -> str:
    """What the tables are of, for a reader who has nothing but them."""
    training, rows = config.training, prepared.encoder.statistics.num_rows
    rule = f"early stopping with patience {training.patience}" if training.early_stopping else "no early stopping"
    ensembles = f", ensembles of {training.ensemble} unless a name says otherwise" if training.ensemble > 1 else ""
    runs = [record for of_variant in records.values() for record in of_variant]
    seeds = dict.fromkeys(str(run.seed) for run in runs)
    # Of the runs: the folder may have been begun with others than those of this process.
    versions: dict[str, dict[str, None]] = {}
    for name, version in itertools.chain.from_iterable(run.versions.items() for run in runs):
        versions.setdefault(name, {})[version] = None
    made = ", ".join(f"{name} {' and '.join(several)}" for name, several in versions.items())
    return (
        f"# Models on `{config.data.loader}`\n\n"
        f"{rows:,} rows to train, {len(prepared.schema.features)} features; split by {config.split.by} "
        f"(`split.yaml`). Batches of {training.batch_size:,}, learning rate {training.learning_rate:g} unless "
        f"tuned, epochs: at most {training.epochs}, {rule}{ensembles}. {'Seed' if len(seeds) == 1 else 'Seeds'} "
        f"{', '.join(seeds)}. Made with {made}. All settings: `comparison.yaml`."
    )


def _write(comparison: Comparison, folder: Folder, prepared: Prepared, pictured: Sequence[Job], heading: str) -> None:
    records, tables = comparison.records, comparison.plan.tables
    folder.write_text("results.md", f"{heading}\n\n{comparison.text}\n")
    folder.write_table("runs.csv", comparison.runs)
    by_table = {table.name: good_reports(records, table.labels) for table in tables}
    summaries = [summarise_reports(as_lists(r)).assign(table=name) for name, r in by_table.items() if r]
    beside = comparison.plan.references
    tests = [paired_tests(r, SUBJECT, beside).assign(table=name) for name, r in by_table.items() if SUBJECT in r]
    for name, frames in (("summary.csv", summaries), ("significance.csv", tests)):
        if frames:
            folder.write_table(name, pd.concat(frames, ignore_index=True))
        else:
            (folder.root / name).unlink(missing_ok=True)  # of another command's tables
    if comparison.oracle is not None:
        folder.write_json("oracle.json", comparison.oracle.to_dict())
    draw_pictures(folder.root, tables, records, prepared.schema, pictured)
