"""Run folders: a trained model with what is known of it, saved, loaded and exported."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import tensorflow as tf

from htlnet_tf.config import RunConfig
from htlnet_tf.data.splits import Split
from htlnet_tf.data.stream import BadRows
from htlnet_tf.errors import InputError
from htlnet_tf.evaluation import Scored
from htlnet_tf.files import checkpoint_path, local_path
from htlnet_tf.gradients import (
    IMTLG,
    MGDA,
    Adjustment,
    AlignedMTL,
    CAGrad,
    GradientAdjustment,
    GradientSum,
    MetaBalance,
    NashMTL,
    PCGrad,
)
from htlnet_tf.layers.feature_encoder import FeatureEncoder
from htlnet_tf.layers.uncertainty_weights import LossWeighting, UncertaintyWeights
from htlnet_tf.models import model_class
from htlnet_tf.models.base import MultiTaskModel
from htlnet_tf.optimizers import LazyAdam
from htlnet_tf.plots import plot_gradients, plot_learning_curves
from htlnet_tf.reports import Report
from htlnet_tf.schema import Schema

if TYPE_CHECKING:
    from htlnet_tf.export import ExportedVersion


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained model with what is known of it.

    Attributes:
      config: What was asked for.
      model: Has the weights of its best epoch.
      history: Per epoch, Keras' `History.history`.
      gradient_history: Per step, see `GradientHistory`; empty for a model without gradient metrics.
      report: Exact metrics on the test rows.
      held_out: Some test rows, for the export to compare scores on.
      split: The rule that split the rows.
      out_of_vocabulary: By feature with a vocabulary, the share of the values in `train`, `valid` and `test` that are
        not in it.
      bad_rows: The rows that were skipped; None if they were not looked for.
      scored: The test rows with the model's predictions, which the report is of.
      best_check: The validation, from 1, whose weights the model has; there are
        `config.training.validations_per_epoch` in a pass over the training rows.
      seconds: Of training before each validation.
    """

    config: RunConfig
    model: MultiTaskModel
    history: dict[str, list[float]]
    gradient_history: dict[str, list[float]]
    report: Report
    held_out: pd.DataFrame
    split: Split
    out_of_vocabulary: pd.DataFrame
    bad_rows: BadRows | None
    scored: Scored
    best_check: int
    seconds: list[float]


def build_model(config: RunConfig, schema: Schema, encoder: FeatureEncoder) -> MultiTaskModel:
    """Builds and compiles the configured model.

    Raises:
      InputError: The model or one of its arguments is not known, or an argument's value is not allowed.
    """
    arguments, schema = dict(config.model.arguments), config.settled(schema)
    chosen = model_class(config.model.name)
    try:
        if "gradient_adjustment" in arguments:
            arguments["gradient_adjustment"] = _adjustment(arguments["gradient_adjustment"])
        if "loss_weighting" in arguments:
            arguments["loss_weighting"] = _loss_weighting(arguments["loss_weighting"], encoder.schema)
        model = chosen(schema, encoder, **arguments)
    except (TypeError, ValueError) as error:
        raise InputError(f"model '{config.model.name}', arguments {sorted(arguments)}: {error}") from error
    model.compile(optimizer=LazyAdam(config.training.learning_rate))
    return model


def save_model(config: RunConfig, model: MultiTaskModel, directory: Path) -> None:
    """Writes what `load_model` needs into an existing directory."""
    (directory / "config.yaml").write_text(dataclasses.replace(config, schema=model.schema).to_yaml(), encoding="utf-8")
    model.encoder.save(directory / "encoder.json")
    model.save_weights(str(directory / "weights" / "model"))


def save_run(run: Run, directory: Path) -> None:
    """Writes a run's files into an existing directory."""
    schema = run.model.schema
    save_model(run.config, run.model, directory)
    numbered(run.history, "epoch").to_csv(directory / "history.csv")
    metrics = json.dumps(run.report.to_dict(), indent=2, allow_nan=False)
    (directory / "metrics.json").write_text(metrics, encoding="utf-8")
    run.held_out.to_parquet(directory / "held_out.parquet")
    run.split.to_yaml(directory / "split.yaml")
    run.out_of_vocabulary.to_csv(directory / "out_of_vocabulary.csv", index_label="feature")
    if run.bad_rows:
        run.bad_rows.write(directory / "bad_rows.csv")
    plot_learning_curves(run.history, schema, directory / "learning_curves.png")
    if run.gradient_history:
        numbered(run.gradient_history, "step").to_csv(directory / "gradient_history.csv")
        plot_gradients({type(run.model).__name__: run.gradient_history}, schema, directory / "gradients.png")


def numbered(history: dict[str, list[float]], index: str) -> pd.DataFrame:
    """A history as a table, its rows counted from 1 under the name `index`."""
    table = pd.DataFrame(history)
    table.index = pd.RangeIndex(1, len(table) + 1, name=index)
    return table


def load_config(directory: str | Path) -> RunConfig:
    """The configuration of a run folder, with the schema that was declared.

    Raises:
      InputError: The folder is not a run, or its configuration is damaged.
    """
    path = local_path(directory) / "config.yaml"
    if not path.is_file():
        raise InputError(f"'{directory}' is no run folder: it has no config.yaml")
    return RunConfig.from_yaml(path)


def load_model(directory: str | Path) -> tuple[RunConfig, MultiTaskModel]:
    """The configuration and the trained model of a run folder.

    Raises:
      InputError: The folder is not a run, or a file in it is missing or damaged.
    """
    folder = checkpoint_path(directory)
    config = load_config(folder)
    encoder = FeatureEncoder.load(folder / "encoder.json")
    schema = encoder.schema if config.schema is None else encoder.schema.with_targets(config.schema.targets)
    model = build_model(config, schema, encoder)
    try:
        # The optimizer's slots are in the checkpoint too; they are not needed to score.
        status = model.load_weights(str(folder / "weights" / "model"))
        status.assert_existing_objects_matched().expect_partial()
    except (tf.errors.OpError, ValueError, IndexError, AssertionError) as error:
        raise InputError(f"the weights in '{folder}' are missing or damaged: {error}") from error
    return config, model


def load_held_out(directory: str | Path) -> pd.DataFrame:
    """The held-out rows of a run folder.

    Raises:
      InputError: The file is missing or damaged.
    """
    path = local_path(directory) / "held_out.parquet"
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read '{path}': {error}") from error


def export_run(
    directory: str | Path,
    path: str | Path,
    *,
    warmup_rows: Sequence[int] | None = None,
    warmup_signatures: Sequence[str] | None = None,
    keep: int | None = None,
) -> ExportedVersion:
    """Exports a run's model under the next version number of `path`, verified on the run's held-out rows.

    The training summary gets what the run folder has: the training's settings, the test metrics, the rule that split
    the rows, and where they came from.

    Args:
      directory: The run folder.
      path: The model's directory: `models/htlnet`.
      warmup_rows: As for `htlnet_tf.export.export_model`, as the following. None: the usual sizes.
      warmup_signatures: Signatures to warm up; None: all.
      keep: Remove the oldest versions that no label names, but none of the newest so many.

    Raises:
      InputError: `directory` is no run folder or is damaged, or `path` cannot be written to.
      VerificationError: The exported model gives other scores; nothing is published.
    """
    from htlnet_tf.export import export_model
    from htlnet_tf.export.warmup import WARMUP_ROWS

    config, model = load_model(directory)
    held_out = load_held_out(directory)
    path_of_metrics = local_path(directory) / "metrics.json"
    try:
        metrics = json.loads(path_of_metrics.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read '{path_of_metrics}': {error}") from error
    split = local_path(directory) / "split.yaml"
    summary = {
        "training": dataclasses.asdict(config.training),
        "test_metrics": metrics,
        # A run folder of an older version of this package has no rule.
        "split": Split.from_yaml(split).to_dict() if split.exists() else None,
        "source": dataclasses.asdict(config.data),
    }
    return export_model(
        model,
        path,
        rows=held_out,
        summary=summary,
        warmup_rows=WARMUP_ROWS if warmup_rows is None else warmup_rows,
        warmup_signatures=warmup_signatures,
        keep=keep,
    )


ADJUSTMENTS: dict[str, type[Adjustment]] = {
    "aligned_mtl": AlignedMTL,
    "cagrad": CAGrad,
    "htlnet": GradientAdjustment,
    "imtl_g": IMTLG,
    "metabalance": MetaBalance,
    "mgda": MGDA,
    "nash_mtl": NashMTL,
    "pcgrad": PCGrad,
    "sum": GradientSum,
}


def _adjustment(declared: Any) -> Adjustment:
    """An adjustment from its name, or from its arguments with a `name` (HTLNet's if there is none)."""
    arguments = {"name": declared} if isinstance(declared, str) else dict(declared)
    name = arguments.pop("name", "htlnet")
    if name not in ADJUSTMENTS:
        raise ValueError(f"gradient_adjustment '{name}' is not known; there are {sorted(ADJUSTMENTS)}")
    return ADJUSTMENTS[name].from_config(arguments)


_LOSS_WEIGHTINGS: dict[str, Callable[[Schema], LossWeighting]] = {"uncertainty": UncertaintyWeights}


def _loss_weighting(declared: Any, schema: Schema) -> LossWeighting:
    """A loss weighting from its name."""
    if declared not in list(_LOSS_WEIGHTINGS):
        raise ValueError(f"loss_weighting '{declared}' is not known; there are {sorted(_LOSS_WEIGHTINGS)}")
    return _LOSS_WEIGHTINGS[declared](schema)
