"""The training of a day: networks that go on from those of the day before."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Union

import tensorflow as tf
from absl import logging

from htlnet_tf.encoding.dataset import make_dataset
from htlnet_tf.encoding.growth import Growth
from htlnet_tf.encoding.kinds.kind import Origins
from htlnet_tf.models.base import MultiTaskModel
from htlnet_tf.models.carrying import carry_optimizer, carry_weights
from htlnet_tf.runs.building import build_model
from htlnet_tf.runs.callbacks import GradientHistory, ProgressLines, TrainingSeconds
from htlnet_tf.runs.config import RunConfig, TrainingConfig
from htlnet_tf.runs.preparation import Prepared, Trainable, Write
from htlnet_tf.runs.trained import Trained

_EVALUATION_BATCH = 8192


def members_after(
    config: RunConfig, weights: Sequence[Sequence[tf.Tensor]], growth: Growth, tables: Sequence[Origins], run: Path
) -> tuple[list[MultiTaskModel], bool]:
    """The networks of a run with rows for the values of the day, ready to learn it; and whether moments were kept.

    Args:
      config: Of the run.
      weights: Per network, what `htlnet_tf.models.carrying.moved_weights` gave.
      growth: Of its encoder.
      tables: Of the growth.
      run: The run folder, whose weights have the optimizers' states.
    """
    kept, members = True, []
    for number, (training, trained) in enumerate(zip(_trainings(config, growth), weights, strict=True)):
        tf.keras.utils.set_random_seed(training.seed)
        model = build_model(dataclasses.replace(config, training=training), growth.learning.schema, growth.learning)
        carry_weights(trained, model, tables, new_rows=config.update.new_rows)
        member = number if len(weights) > 1 else None
        kept &= carry_optimizer(run / "weights" / "model", model, tables, member=member)
        members.append(model)
    if not kept:
        logging.warning(
            "the run has no state of its optimizer, as runs of older versions have none: moments begin at 0"
        )
    return members, kept


def learn(
    config: RunConfig, members: Sequence[MultiTaskModel], growth: Growth, prepared: Prepared, *, write: Write
) -> tuple[Trained, ...]:
    """Trains each network on the day's first part, and fits its level on the second.

    Args:
      config: Of the run.
      members: The networks.
      growth: Of the encoder.
      prepared: The day.
      write: Where progress lines go.

    Raises:
      NonFiniteError: A loss or gradient is not finite.
    """
    trained = []
    for number, (training, model) in enumerate(zip(_trainings(config, growth), members, strict=True), start=1):
        label = f"member {number}/{len(members)}, " if len(members) > 1 else ""
        model.level_rows = _rows(prepared.valid, growth)
        gradients, timer = GradientHistory(), TrainingSeconds()
        history = model.fit(
            _rows(prepared.train, growth, training),
            epochs=training.epochs,
            callbacks=[ProgressLines(model.schema, label, write=write), gradients, timer],
            verbose=0,
        ).history
        seconds = timer.seconds
        trained.append(Trained(model, training.seed, history, gradients.history, len(seconds), seconds))
    return tuple(trained)


def learn_more(
    config: RunConfig, members: Sequence[MultiTaskModel], growth: Growth, parts: Sequence[Trainable]
) -> None:
    """Trains each network on the rest of the day, and fits its level on the first of these parts.

    Arguments and errors are those of `learn`.
    """
    for training, model in zip(_trainings(config, growth), members, strict=True):
        model.level_rows = _rows(parts[0], growth)
        for part in parts:
            model.fit(_rows(part, growth, training), epochs=training.epochs, verbose=0)


def _rows(rows: Trainable, growth: Growth, training: Union[TrainingConfig, None] = None) -> tf.data.Dataset:
    """Batches of rows to learn, or without `training` to look at."""
    schema, encoder = growth.learning.schema, growth.learning
    if training is None:
        return make_dataset(rows, schema, encoder, batch_size=_EVALUATION_BATCH)
    size, seed = training.batch_size, training.seed
    return make_dataset(rows, schema, encoder, batch_size=size, shuffle=True, seed=seed, training=False)


def _trainings(config: RunConfig, growth: Growth) -> list[TrainingConfig]:
    """How each network learns the day: at a constant rate, in another order than the days before."""
    update, training = config.update, config.training
    days = growth.encoder.statistics.days - 1
    rate = training.learning_rate if update.learning_rate is None else update.learning_rate
    return [
        dataclasses.replace(t, seed=t.seed + 1000 * days, learning_rate=rate, schedule=None, epochs=update.epochs)
        for t in training.members
    ]
