"""Run folders: a trained model with what is known of it, saved, loaded and exported."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import tensorflow as tf

from htlnet_tf.data.bad_rows import BadRows
from htlnet_tf.data.columns import require_columns
from htlnet_tf.data.sampling import sampled
from htlnet_tf.data.splits import Split
from htlnet_tf.encoding.encoded import Rows
from htlnet_tf.encoding.encoder import FeatureEncoder
from htlnet_tf.errors import InputError
from htlnet_tf.files import checkpoint_path, local_path
from htlnet_tf.judging.calibration import calibration_table
from htlnet_tf.judging.evaluation import Scored
from htlnet_tf.judging.reports import Report
from htlnet_tf.judging.uncertainty import uncertainty_tables
from htlnet_tf.manifest import require_intact, sealed_directory
from htlnet_tf.models.scoring_model import ScoringModel
from htlnet_tf.plots import plot_calibration, plot_gradients, plot_learning_curves
from htlnet_tf.runs.building import compile_model, create_model, learning_rate, model_config
from htlnet_tf.runs.config import DataConfig, RunConfig, TrainingConfig
from htlnet_tf.runs.parts import load_split
from htlnet_tf.runs.reference import REFERENCE_ROWS, Reference
from htlnet_tf.runs.trained import Trained, write_histories
from htlnet_tf.scoring.calibration import Calibration

_CALIBRATION = "calibration.json"


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained model with what is known of it.

    Attributes:
      config: What was asked for.
      model: The trained model, or the ensemble of them.
      trained: How it was trained; of an ensemble, each member in the order of the seeds.
      report: Exact metrics on the test rows.
      held_out: Some test rows, for the export to compare scores on.
      split: The rule that split the rows.
      out_of_vocabulary: By feature with a vocabulary, the share of the values in `train`, `valid` and `test` that are
        not in it.
      bad_rows: The rows that were skipped; None if they were not looked for.
      scored: The test rows with the model's predictions, which the report is of.
      reference: Some training and validation rows, for `htlnet drift`; None: the folder has none.
    """

    config: RunConfig
    model: ScoringModel
    trained: tuple[Trained, ...]
    report: Report
    held_out: pd.DataFrame
    split: Split
    out_of_vocabulary: pd.DataFrame
    bad_rows: BadRows | None
    scored: Scored
    reference: Reference | None = None


def save_model(config: RunConfig, model: ScoringModel, directory: Path) -> None:
    """Writes what `load_model` needs into an existing directory."""
    (directory / "config.yaml").write_text(dataclasses.replace(config, schema=model.schema).to_yaml(), encoding="utf-8")
    model.encoder.save(directory / "encoder.json")
    model.save_weights(str(directory / "weights" / "model"))
    if model.calibration is not None:
        model.calibration.save(directory / _CALIBRATION)


def write_run(run: Run, directory: Path) -> None:
    """Writes a run's files into an existing directory; without learning curves where a curve would be a single point
    of rows that were learned and nothing to hold it against.
    """
    schema = run.model.schema
    save_model(run.config, run.model, directory)
    write_histories(run.trained, directory)
    _write_report(run.report, directory)
    run.held_out.to_parquet(directory / "held_out.parquet")
    if run.reference is not None:
        run.reference.write(directory)
    run.split.to_yaml(directory / "split.yaml")
    run.out_of_vocabulary.to_csv(directory / "out_of_vocabulary.csv", index_label="feature")
    for name, table in uncertainty_tables(schema, run.scored).items():
        table.to_csv(directory / name, index=False)
    if run.bad_rows:
        run.bad_rows.write(directory / "bad_rows.csv")
    calibration = calibration_table(schema, run.scored.labels, run.scored.predictions)
    if len(calibration):
        title = "Calibration on the test rows"
        plot_calibration({run.model.title: calibration}, schema, directory / "calibration.png", title=title)
    for member in run.trained:
        of_member = f"_seed_{member.seed}" if len(run.trained) > 1 else ""
        if len(member.seconds) > 1 or any(name.startswith("val_") for name in member.history):
            plot_learning_curves(member.history, schema, directory / f"learning_curves{of_member}.png")
        if member.gradient_history:
            histories = {member.model.title: member.gradient_history}
            plot_gradients(histories, schema, directory / f"gradients{of_member}.png")


def _write_report(report: Report, directory: Path) -> None:
    metrics = json.dumps(report.to_dict(), indent=2, allow_nan=False)
    (directory / "metrics.json").write_text(metrics, encoding="utf-8")


def load_config(directory: str | Path, changes: Sequence[str] = ()) -> RunConfig:
    """The configuration of a run folder, with the schema that was declared.

    Args:
      directory: The run folder.
      changes: As for `RunConfig.from_yaml`.

    Raises:
      InputError: The folder is not a run, its configuration is damaged, or a change breaks a rule.
    """
    path = local_path(directory) / "config.yaml"
    if not path.is_file():
        raise InputError(f"'{directory}' is no run folder: it has no config.yaml")
    require_intact(directory, path.name)
    return RunConfig.from_yaml(path, changes)


def load_model(directory: str | Path) -> tuple[RunConfig, ScoringModel]:
    """The configuration and the trained model of a run folder.

    Raises:
      InputError: The folder is not a run, or a file in it is missing or damaged.
    """
    folder = checkpoint_path(directory)
    config = load_config(folder)
    require_intact(folder, "encoder.json", "weights", _CALIBRATION)
    encoder = FeatureEncoder.load(folder / "encoder.json")
    schema = encoder.schema if config.schema is None else encoder.schema.with_outputs_of(config.schema)
    model = create_model(config, schema, encoder)
    _load_weights(model, folder)
    compile_model(model, config)
    if (folder / _CALIBRATION).exists():
        model.calibration = Calibration.load(folder / _CALIBRATION)
    return config, model


def _load_weights(model: ScoringModel, folder: Path) -> None:
    try:
        # The optimizer's state may be in the checkpoint too; it is not needed to score.
        status = model.load_weights(folder / "weights" / "model")
        status.assert_existing_objects_matched().expect_partial()
    except (tf.errors.OpError, ValueError, IndexError, AssertionError) as error:
        raise InputError(f"the weights in '{folder}' are missing or damaged: {error}") from error


@dataclasses.dataclass(frozen=True)
class LoadedRun:
    """A model read from a run folder, with what the folder knows of it.

    Attributes:
      model: Compiled, with the weights of the run.
      config: What was asked for, the schema included; of a model that `save_run` wrote, only which model it is.
      report: Exact metrics on the test rows; None if there are none.
      held_out: Some test rows; None if there are none.
      split: The rule that split the rows; None if it is not known.
    """

    model: ScoringModel
    config: RunConfig
    report: Report | None
    held_out: pd.DataFrame | None
    split: Split | None


def save_run(
    model: ScoringModel,
    directory: str | Path,
    *,
    report: Report | None = None,
    held_out: pd.DataFrame | None = None,
    reference: Rows | None = None,
    overwrite: bool = False,
) -> None:
    """Saves a model that was trained from Python, with its schema and encoder, as a run folder.

    `load_run` reads the folder, and so do `htlnet export`, `htlnet evaluate --data` and `htlnet parity --data`. It
    appears complete or not at all. What `htlnet train` writes is such a folder too, with more in it. Of the optimizer
    the learning rate alone is kept.

    Args:
      model: A model of this package, or an ensemble of models of one class with the same arguments.
      directory: The folder to write.
      report: What `htlnet_tf.evaluate` said of the model, kept as its test metrics.
      held_out: Raw rows to keep, on which an export compares scores.
      reference: Raw rows such as the model was trained on, best those of the validation, with their labels: some of
        them are kept for `htlnet drift`.
      overwrite: Replace an existing folder.

    Raises:
      InputError: The folder exists already or cannot be written to, or the model is of a class or has an argument (a
        function as gradient adjustment, say) that a configuration cannot name; nothing is written.
    """
    calibration = model.calibration
    if len(model.members) == 1:
        model = model.members[0]  # which is what a configuration without an ensemble builds
    rate, training = learning_rate(model), TrainingConfig(ensemble=len(model.members))
    config = RunConfig(
        data=DataConfig(loader="generic"),
        schema=model.schema,
        model=model_config(model),
        training=training if rate is None else dataclasses.replace(training, learning_rate=rate),
        calibration=None if calibration is None else calibration.settings,
    )
    with sealed_directory(checkpoint_path(directory), overwrite=overwrite) as stage:
        # By way of a model built from the configuration: what is written can be read, and whatever optimizer the model
        # has, none of its state is met by another one later.
        with tempfile.TemporaryDirectory() as folder:
            model.save_weights(Path(folder) / "weights" / "model")
            fresh = create_model(config, model.schema, model.encoder)
            _load_weights(fresh, Path(folder))
        fresh.calibration = calibration
        save_model(config, fresh, stage)
        if report is not None:
            _write_report(report, stage)
        if held_out is not None:
            held_out.to_parquet(stage / "held_out.parquet")
        if reference is not None:
            some = sampled(reference, model.schema, REFERENCE_ROWS)
            require_columns(some, model.schema.columns, purpose="reference rows")
            Reference(None, some[list(model.schema.columns)]).write(stage)


def load_run(directory: str | Path) -> LoadedRun:
    """Reads the run folder that `save_run` or `htlnet train` wrote.

    Args:
      directory: The folder.

    Raises:
      InputError: The folder is not a run, or a file in it is missing or damaged.
    """
    folder = local_path(directory)
    config, model = load_model(directory)
    metrics = load_metrics(folder)
    return LoadedRun(
        model,
        config,
        None if metrics is None else Report.from_dict(metrics, model.schema),
        load_held_out(directory) if (folder / "held_out.parquet").exists() else None,
        load_split(folder),
    )


def load_metrics(folder: Path) -> dict[str, Any] | None:
    """The test metrics of a run folder, see `Report.to_dict`; None if it has none.

    Raises:
      InputError: The file is damaged.
    """
    path = folder / "metrics.json"
    if not path.exists():
        return None
    require_intact(folder, path.name)
    try:
        metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read '{path}': {error}") from error
    return metrics


def load_held_out(directory: str | Path) -> pd.DataFrame:
    """The held-out rows of a run folder.

    Raises:
      InputError: The file is missing or damaged.
    """
    path = local_path(directory) / "held_out.parquet"
    require_intact(directory, path.name)
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read '{path}': {error}") from error
