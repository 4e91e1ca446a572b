"""A configuration -> rows, split and encoded -> a trained and judged model."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf
from absl import logging

from htlnet_tf.agreement import told_as_lost
from htlnet_tf.encoding.dataset import make_dataset
from htlnet_tf.encoding.encoded import Rows
from htlnet_tf.errors import InputError, NonFiniteError, WorkerLostError
from htlnet_tf.files import checkpoint_path, local_path, require_free
from htlnet_tf.judging.evaluation import score
from htlnet_tf.manifest import sealed_directory
from htlnet_tf.models import model_class
from htlnet_tf.models.base import MultiTaskModel
from htlnet_tf.models.ensemble import Ensemble
from htlnet_tf.models.scoring_model import ScoringModel
from htlnet_tf.runs.building import build_model
from htlnet_tf.runs.callbacks import GradientHistory, KeepBest, ProgressLines, TrainingSeconds
from htlnet_tf.runs.cluster import read_cluster
from htlnet_tf.runs.config import RunConfig, load_rows
from htlnet_tf.runs.folder import Run, load_config, write_run
from htlnet_tf.runs.last_good import leave_last_good
from htlnet_tf.runs.mlflow_tracking import require_mlflow, track_run
from htlnet_tf.runs.over_servers import require_possible, train_over_servers
from htlnet_tf.runs.page import write_run_page
from htlnet_tf.runs.page_facts import run_facts
from htlnet_tf.runs.parts import rows_of_part, split_rule
from htlnet_tf.runs.preparation import Prepared, Trainable, Write, prepare, prepare_alike
from htlnet_tf.runs.reference import REFERENCE_ROWS
from htlnet_tf.runs.resuming import Resuming
from htlnet_tf.runs.tasks import serve
from htlnet_tf.runs.trained import Trained
from htlnet_tf.runs.workers import Workers, coordinate, open_workers
from htlnet_tf.scoring.calibration import CalibrationSettings
from htlnet_tf.scoring.calibration.fitting import calibrate
from htlnet_tf.scoring.conformal import conformal_targets

HELD_OUT_ROWS = 512
_EVALUATION_BATCH = 8192


def train_model(
    config: RunConfig,
    prepared: Prepared,
    *,
    label: str = "",
    last_good: Path | None = None,
    resuming: Resuming | None = None,
    workers: Workers | None = None,
    write: Write = print,
) -> Trained:
    """Trains one network of the configured model; the test rows are not looked at.

    Args:
      config: Which model and how to train it; of an ensemble the member with `config.training.seed`.
      prepared: The rows.
      label: Put before each progress line.
      last_good: Where to leave configuration, encoder and weights if a step is not finite; None: nowhere.
      resuming: Where it is kept on its way, and goes on from; None: nowhere.
      workers: Who trains; None: this process alone.
      write: Where progress lines go.

    Raises:
      NonFiniteError: A loss or gradient is not finite.
      WorkerLostError: Another process that trains along is gone.
    """
    workers = open_workers("none") if workers is None else workers
    # A process may be gone anywhere in here: already the initial weights are exchanged.
    with told_as_lost(workers.strategy):
        return _trained(config, prepared, label, last_good, resuming, workers, write)


def _trained(
    config: RunConfig,
    prepared: Prepared,
    label: str,
    last_good: Path | None,
    resuming: Resuming | None,
    workers: Workers,
    write: Write,
) -> Trained:
    """As `train_model`."""
    if config.training.deterministic:
        tf.config.experimental.enable_op_determinism()
    tf.keras.utils.set_random_seed(config.training.seed)
    schema, encoder = prepared.schema, prepared.encoder

    def build() -> MultiTaskModel:
        return build_model(config, schema, encoder)

    if workers.served_by is not None:
        if resuming is None:
            raise ValueError("training over parameter servers takes `resuming`: its rows and checkpoints go there")
        return train_over_servers(
            config, prepared, workers, resuming, build, label=label, last_good=last_good, write=write
        )
    with workers.strategy.scope():
        model = build()
    kept_trained = None
    if resuming is not None:
        if workers.count > 1:
            model.make_train_function()  # makes the optimizer's variables, which is an exchange
        with workers.together():
            kept_trained = resuming.trained(config.training.seed, model)
        workers.require_same(
            {f"whether the network with seed {config.training.seed} was trained before": kept_trained is not None},
            remedy=f"'{resuming.folder}' must be a folder that all of them share",
        )
    if kept_trained is not None:
        write(f"  {label}trained before")
        return workers.ordinary(kept_trained, build)
    with workers.together():
        rows = make_dataset(
            prepared.train,
            schema,
            encoder,
            batch_size=config.training.batch_size,
            shuffle=True,
            seed=config.training.seed,
            **workers.shard(prepared.train),
        )
        valid = make_dataset(
            prepared.valid, schema, encoder, batch_size=_EVALUATION_BATCH, **workers.shard(prepared.valid)
        )
        if prepared.level is not None:
            model.level_rows = make_dataset(
                prepared.level,
                schema,
                encoder,
                batch_size=_EVALUATION_BATCH,
                training=True,
                **workers.shard(prepared.level),
            )
    parts = config.training.validations_per_epoch
    train, steps = rows, None
    if parts > 1:
        # A part of a pass is an epoch to Keras, which validates after each; the pass goes on where it stopped.
        steps = config.training.steps_per_validation(encoder.statistics.num_rows)
        train = rows.repeat()
        if model.level_rows is None:
            model.level_rows = rows  # of those without an end `fit` would take a part of a pass
    keep_best = KeepBest(config.training.patience * parts)
    stopping = [keep_best] if config.training.early_stopping else []
    gradients, timer = GradientHistory(), TrainingSeconds()
    progress = ProgressLines(schema, label, parts=parts, write=write)
    keeping = [] if resuming is None else [resuming.checkpoints(config.training.seed)]
    try:
        history = model.fit(
            train,
            validation_data=valid,
            epochs=config.training.epochs * parts,
            steps_per_epoch=steps,
            callbacks=[*stopping, progress, gradients, timer, *keeping],
            verbose=0,
        ).history
    except NonFiniteError as error:
        if last_good is None or not workers.is_first:
            raise
        leave_last_good(config, workers.own(model, build), last_good, error)
    kept = keep_best.best_epoch + 1 if stopping else len(timer.seconds)
    trained = Trained(model, config.training.seed, history, gradients.history, kept, timer.seconds)
    trained = workers.ordinary(trained, build)
    if resuming is not None:
        resuming.keep(trained)
    return trained


def train_members(
    config: RunConfig,
    prepared: Prepared,
    *,
    label: str = "",
    last_good: Path | None = None,
    resuming: Resuming | None = None,
    workers: Workers | None = None,
    write: Write = print,
) -> tuple[Trained, ...]:
    """Trains every network of the configured model on the same encoded rows, one after the other.

    Arguments and errors are those of `train_model`. What a step that is not finite leaves in `last_good` is the member
    that made it, as a single model.
    """
    members = config.training.members
    trained = []
    for number, training in enumerate(members, start=1):
        of_member = f"member {number}/{len(members)}, " if len(members) > 1 else ""
        member = dataclasses.replace(config, training=training)
        of_model = train_model(
            member,
            prepared,
            label=label + of_member,
            last_good=last_good,
            resuming=resuming,
            workers=workers,
            write=write,
        )
        trained.append(of_model)
    return tuple(trained)


def fit(
    config: RunConfig,
    prepared: Prepared,
    *,
    label: str = "",
    last_good: Path | None = None,
    resuming: Resuming | None = None,
    workers: Workers | None = None,
    write: Write = print,
) -> Run:
    """Trains the configured model and judges it on the test rows.

    Args:
      config: As for `train_model`, as the following.
      prepared: The rows.
      label: Put before each progress line.
      last_good: Where to leave the last good weights if a step is not finite.
      resuming: As for `train_model`, as the following.
      workers: Who trains.
      write: Where progress lines go.

    Raises:
      NonFiniteError: A loss or gradient is not finite.
    """
    trained = train_members(
        config, prepared, label=label, last_good=last_good, resuming=resuming, workers=workers, write=write
    )
    return judged(config, prepared, trained)


def judged(config: RunConfig, prepared: Prepared, trained: tuple[Trained, ...]) -> Run:
    """Calibrates what was trained on the validation rows, and judges it on the test rows.

    Args:
      config: Says how to calibrate.
      prepared: The rows.
      trained: Each network.

    Raises:
      NonFiniteError: A prediction is not finite.
    """
    model: ScoringModel = trained[0].model if len(trained) == 1 else Ensemble([member.model for member in trained])
    calibrate_as_configured(config, model, prepared.valid)
    scored = score(model, prepared.test)
    bad = [name for name, values in scored.predictions.items() if not np.isfinite(values).all()]
    if bad:
        raise NonFiniteError(f"target '{bad[0]}': the trained model's predictions on the test rows are not all finite")
    test = prepared.test if isinstance(prepared.test, pd.DataFrame) else next(iter(prepared.test))
    return Run(
        config=config,
        model=model,
        trained=trained,
        report=scored.report(prepared.schema),
        held_out=test.head(HELD_OUT_ROWS),
        split=prepared.split,
        out_of_vocabulary=prepared.out_of_vocabulary.assign(test=pd.Series(scored.out_of_vocabulary, dtype=float)),
        bad_rows=prepared.bad_rows,
        scored=scored,
        reference=prepared.reference,
    )


def calibrate_as_configured(config: RunConfig, model: ScoringModel, rows: Trainable) -> None:
    """Calibrates a model, if its configuration says so or its schema declares conformal levels.

    Args:
      config: Of the run.
      model: Its `calibration` is set.
      rows: That were not trained on.
    """
    if config.calibration is not None or conformal_targets(model.schema):
        calibrate(model, rows, config.calibration or CalibrationSettings(steps="none", core="none"))


def train(
    config: RunConfig,
    output: str | Path,
    *,
    data: str | Path | None = None,
    overwrite: bool = False,
    importance_rows: int | None = None,
    command: str | None = None,
    write: Write = print,
) -> Run | None:
    """Trains the configured model and writes the run folder.

    The folder appears complete or not at all: `config.yaml` (schema included), `encoder.json`, `weights/`,
    `history.csv` (per epoch), `metrics.json`, `held_out.parquet`, `learning_curves.png`, `calibration.png`, and for a
    model with gradient metrics `gradient_history.csv` (per step) and `gradients.png`; `split.yaml` (the rule that split
    the rows), `out_of_vocabulary.csv` (shares per feature and part), `reference_train.parquet` and
    `reference_valid.parquet` (rows that `htlnet drift` compares later ones with), and `bad_rows.csv` if rows were
    skipped; and `report.html`, one page with all of it, and `page.json`, what the page tells beside these files. Of an
    ensemble the weights and the metrics are those of the whole; the tables of the histories have the member's seed as
    first column, and the pictures are one per member, `learning_curves_seed_0.png`.

    With the configuration's `training.strategy` `multi_worker` every worker calls it alike, with an `output` in a
    folder that all share. The first one reads the rows to fit the split and the encoder, judges what was trained and
    writes the run folder; it has the result, and the others, which wait for that, None. What one of them refuses, all
    of them refuse.

    With `parameter_server` every task of the cluster calls it alike. The `chief` does all that the first worker does
    above, and has the steps made; a `worker` or `ps` serves it until it has ended, and has None. See
    `docs/scale_parameter_servers.md`.

    On its way a training is kept in a hidden folder beside it, `.{name}.checkpoints`, see `Checkpoints`: after a kill
    the same call goes on from there. The folder is removed when the run's has appeared, and where a step was not
    finite.

    Args:
      config: What to do.
      output: The run folder.
      data: Stands in for `config.data.path`.
      overwrite: Replace an existing run folder, and begin anew, whatever was kept of a training that was killed.
      importance_rows: Test rows that the page's permutation importance is measured on; 0: it is left out. None: some
        thousands.
      command: The command line, for the page.
      write: Where progress lines go.

    Raises:
      InputError: The data, the schema or the configuration are not usable, `output` exists already, MLflow is asked for
        and not installed, or what is kept of a training that was killed is of another configuration, of other rows or
        of another version of the package; or the workers differ in configuration, version, rows or in what they see of
        a training that was killed.
      NonFiniteError: A loss or gradient is not finite; the last good weights are left in `{output}.last_good`.
      WorkerLostError: Another worker is gone, or a parameter server, or, in a task that serves, the coordinator without
        having written the run; the same call on all of them goes on from the last checkpoint.
    """
    config = config.with_data(data or config.data.path)
    if importance_rows is not None and importance_rows < 0:
        raise InputError(f"the rows that importance is measured on cannot be negative, received {importance_rows}")
    # What is wrong with the name or the folder is told before the rows are read.
    model_class(config.model.name)
    if config.training.mlflow is not None:
        require_mlflow()
    checkpoint_path(output)
    if config.training.strategy == "parameter_server":
        require_possible(config)
        require_free(output, overwrite=overwrite)
        cluster = read_cluster("parameter_server")
        if cluster.job != "chief":
            serve(cluster, output, write=write)
            return None
        workers = coordinate(cluster, config.training.shards, write=write)
    else:
        workers = open_workers(config.training.strategy)
    resuming = Resuming(config, output, overwrite=overwrite, write=write, writes=workers.is_first)
    made = _made(config, output, resuming, workers, overwrite=overwrite, write=write)
    if made is None:
        write(f"trained; the first of the {workers.count} workers has written '{output}'")
        return None
    run, prepared = made
    resuming.remove()
    add_page(run, prepared, output, command=command, importance_rows=importance_rows, write=write)
    if config.training.mlflow is not None:
        _track(run, config.training.mlflow, output, write)
    return run


def _made(
    config: RunConfig,
    output: str | Path,
    resuming: Resuming,
    workers: Workers,
    *,
    overwrite: bool,
    write: Write,
) -> tuple[Run, Prepared] | None:
    """The run, whose folder is there, and its rows; None where another process has made it.

    Whatever one process does alone, the others wait for, so that they end as it does where it fails.
    """
    workers.require_same(resuming.settings)
    with contextlib.ExitStack() as held:
        with workers.together():
            if workers.is_first:
                stage = held.enter_context(sealed_directory(output, overwrite=overwrite))
                held.enter_context(resuming.open(workers.count))
        prepared = _prepared_by_all(config, resuming, workers, write)
        last_good = local_path(f"{output}.last_good")
        with resuming.told_beside(workers.count):
            trained = train_members(
                config, prepared, last_good=last_good, resuming=resuming, workers=workers, write=write
            )
        run = None
        try:
            with workers.together():
                if workers.is_first:
                    judged_run = judged(config, prepared, trained)
                    write_run(judged_run, stage)
                    held.close()  # the folder appears
                    run = judged_run
        except WorkerLostError as error:
            if run is None:
                raise
            write(f"the run is complete; of another worker nothing was heard since its training: {error}")
    return None if run is None else (run, prepared)


def _prepared_by_all(config: RunConfig, resuming: Resuming, workers: Workers, write: Write) -> Prepared:
    """The rows, which the first process prepares and the others read alike."""
    with workers.together():
        if workers.is_first:
            prepared = prepare(config, reference_rows=REFERENCE_ROWS, write=write)
            resuming.begin(prepared)
            if workers.count > 1:
                resuming.share(prepared)
    with workers.together():
        if not workers.is_first:
            prepared = prepare_alike(config, *resuming.shared())
    if workers.count > 1:
        remedy = "all of them must read the same files, and the first must not write to them while they do"
        workers.require_same(prepared.to_compare(), remedy=remedy)
    return prepared


def _track(run: Run, uri: str, output: str | Path, write: Write) -> None:
    """Logs a run to MLflow: a server that is not there costs no training."""
    try:
        write(f"logged to MLflow at {uri} as run {track_run(uri, run, output)}")
    except Exception as error:
        logging.exception("a run in MLflow")
        write(f"the run is complete, but MLflow at {uri} has not all of it ({type(error).__name__}: {error})")


def add_page(
    run: Run,
    prepared: Prepared,
    output: str | Path,
    *,
    command: str | None = None,
    importance_rows: int | None = None,
    write: Write = print,
) -> None:
    """Adds the page to a run folder that is there: whatever goes wrong with a page costs no training.

    Args:
      run: The run.
      prepared: Its rows.
      output: The run folder.
      command: The command line, for the page.
      importance_rows: As for `train`.
      write: Where progress lines go.
    """
    try:
        facts = run_facts(run, prepared, command=command, importance_rows=importance_rows, write=write)
        write_run_page(facts, local_path(output), str(output))
    except Exception as error:
        logging.exception("the page of a run")
        write(
            f"the run is complete, but its page could not be made ({type(error).__name__}: {error}); "
            f"`htlnet report {output}` tries again"
        )


def load_test_rows(directory: str | Path, data: str | Path | None = None) -> Rows:
    """The test rows of a run, by the rule that split them in training; of other data, those that it calls test rows.

    A run without such a rule, as `htlnet_tf.save_run` writes, calls all of them so. One that `htlnet_tf.update` wrote
    has learned all of its day, so that only rows of other days are test rows: all of `data`.

    Args:
      directory: The run folder.
      data: Stands in for the data path of the run's configuration.

    Raises:
      InputError: The folder is no run, the data are not usable, or none of their rows is a test row.
    """
    split = split_rule(directory, data)
    rows = load_rows(load_config(directory).with_data(data)).rows
    if split is None:
        return rows
    test = rows_of_part(rows, split, "test")
    if isinstance(rows, pd.DataFrame) and isinstance(test, pd.DataFrame) and test.empty:
        raise InputError(f"none of the {len(rows):,} rows is a test row by the run's split: {split.to_dict()}")
    return test
