"""A configuration -> rows, split and encoded -> a trained and judged model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import tensorflow as tf

from htlnet_tf.callbacks import GradientHistory, KeepBest, ProgressLines
from htlnet_tf.config import RunConfig, load_rows
from htlnet_tf.data.dataset import make_dataset
from htlnet_tf.data.splits import time_split
from htlnet_tf.errors import NonFiniteError
from htlnet_tf.evaluation import evaluate
from htlnet_tf.files import atomic_directory
from htlnet_tf.layers.feature_encoder import FeatureEncoder
from htlnet_tf.models import model_class
from htlnet_tf.runs import Run, build_model, save_model, save_run
from htlnet_tf.schema import Schema

HELD_OUT_ROWS = 512
_EVALUATION_BATCH = 8192

Write = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Rows split by time and encoded, ready for any number of models.

    Attributes:
      schema: With every dtype settled.
      encoder: Fitted on the training rows.
      train: Training rows.
      valid: Validation rows.
      test: Test rows, which only the final evaluation sees.
    """

    schema: Schema
    encoder: FeatureEncoder
    train: pd.DataFrame
    valid: pd.DataFrame
    test: pd.DataFrame


def prepare(config: RunConfig, *, write: Write = print) -> Prepared:
    """Loads the rows, splits them by time and fits the encoder on the training part.

    Raises:
      InputError: The data or the schema are not usable.
    """
    frame, schema = load_rows(config)
    train, valid, test = time_split(frame, schema, config.split)
    encoder = FeatureEncoder.fit(schema, train)
    write(
        f"{len(frame):,} rows: {len(train):,} to train, {len(valid):,} to validate, {len(test):,} to test; "
        f"{len(schema.features)} features, {encoder.num_rows:,} embedding rows"
    )
    return Prepared(encoder.schema, encoder, train, valid, test)


def fit(
    config: RunConfig,
    prepared: Prepared,
    *,
    label: str = "",
    last_good: Path | None = None,
    write: Write = print,
) -> Run:
    """Trains the configured model and judges it on the test rows.

    Args:
      config: Which model and how to train it.
      prepared: The rows.
      label: Put before each progress line.
      last_good: Where to leave configuration, encoder and weights if a step is not finite; None: nowhere.
      write: Where progress lines go.

    Raises:
      NonFiniteError: A loss or gradient is not finite.
    """
    tf.keras.utils.set_random_seed(config.training.seed)
    schema, encoder = prepared.schema, prepared.encoder
    model = build_model(config, schema, encoder)
    train = make_dataset(
        prepared.train,
        schema,
        encoder,
        batch_size=config.training.batch_size,
        shuffle=True,
        seed=config.training.seed,
    )
    valid = make_dataset(prepared.valid, schema, encoder, batch_size=_EVALUATION_BATCH)
    gradients = GradientHistory()
    try:
        history = model.fit(
            train,
            validation_data=valid,
            epochs=config.training.epochs,
            callbacks=[KeepBest(config.training.patience), ProgressLines(schema, label, write=write), gradients],
            verbose=0,
        ).history
    except NonFiniteError as error:
        if last_good is None:
            raise
        with atomic_directory(last_good, overwrite=True) as stage:
            save_model(config, model, stage)
        raise NonFiniteError(f"{error}. The last good weights are in '{last_good}'") from None
    held_out = prepared.test.head(HELD_OUT_ROWS)
    return Run(config, model, history, gradients.history, evaluate(model, prepared.test), held_out)


def train(
    config: RunConfig,
    output: str | Path,
    *,
    data: str | Path | None = None,
    overwrite: bool = False,
    write: Write = print,
) -> Run:
    """Trains the configured model and writes the run folder.

    The folder appears complete or not at all: `config.yaml` (schema included), `encoder.json`, `weights/`,
    `history.csv` (per epoch), `metrics.json`, `held_out.parquet`, `learning_curves.png`, and for a model with gradient
    metrics `gradient_history.csv` (per step) and `gradients.png`.

    Args:
      config: What to do.
      output: The run folder.
      data: Stands in for `config.data.path`.
      overwrite: Replace an existing run folder.
      write: Where progress lines go.

    Raises:
      InputError: The data, the schema or the configuration are not usable, or `output` exists already.
      NonFiniteError: A loss or gradient is not finite; the last good weights are left in `{output}.last_good`.
    """
    config = config.with_data(data)
    model_class(config.model.name)  # a wrong name is told before the rows are read
    with atomic_directory(output, overwrite=overwrite) as stage:
        prepared = prepare(config, write=write)
        run = fit(config, prepared, last_good=Path(f"{output}.last_good"), write=write)
        save_run(run, stage)
    return run


def load_test_rows(config: RunConfig, data: str | Path | None = None) -> pd.DataFrame:
    """The test rows of a configuration, split off as in training.

    Raises:
      InputError: The data are not usable.
    """
    frame, schema = load_rows(config.with_data(data))
    return time_split(frame, schema, config.split)[-1]
