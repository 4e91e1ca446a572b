"""Training over parameter servers: what the coordinator does in place of `fit` on its own rows."""

from __future__ import annotations

import contextlib
import logging
import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from htlnet_tf.checkpoints.by_epoch import read_weights
from htlnet_tf.distribution import tasks_of
from htlnet_tf.encoding.dataset import make_dataset
from htlnet_tf.encoding.encoded import EncodedRows
from htlnet_tf.encoding.shared_rows import batches_of_all, encoded_for_workers, save_encoded
from htlnet_tf.errors import InputError, NonFiniteError
from htlnet_tf.models.base import MultiTaskModel
from htlnet_tf.runs.callbacks import EpochLines, EpochSeconds, KeepBest
from htlnet_tf.runs.config import RunConfig
from htlnet_tf.runs.last_good import leave_last_good
from htlnet_tf.runs.preparation import Prepared, Write
from htlnet_tf.runs.resuming import Resuming
from htlnet_tf.runs.trained import Trained
from htlnet_tf.runs.workers import Workers

_LARGEST_BATCH = 8192
_BATCHES_PER_WORKER = 16
"""Of a validation, at least: whichever worker is free takes the next one, of its own rows, a sample of all."""


def require_possible(config: RunConfig) -> None:
    """Checks that a configuration can be trained over parameter servers.

    Raises:
      InputError: It cannot; names the setting.
    """
    training = config.training
    reasons = {
        "data.streaming": (
            config.data.streaming,
            "workers read encoded rows, which the coordinator has in memory once before it writes them",
        ),
        "training.ensemble": (training.ensemble > 1, "one network is trained: train the members one by one"),
        "training.ema_momentum": (
            training.ema_momentum is not None,
            "an average over the steps needs their order, and the workers' steps have none",
        ),
        "training.deterministic": (training.deterministic, "the workers' steps have no order"),
    }
    for name, (is_set, reason) in reasons.items():
        if is_set:
            raise InputError(f"training.strategy parameter_server goes without {name}: {reason}")


def train_over_servers(
    config: RunConfig,
    prepared: Prepared,
    workers: Workers,
    resuming: Resuming,
    build: Callable[[], MultiTaskModel],
    *,
    label: str = "",
    last_good: Path | None = None,
    write: Write = print,
) -> Trained:
    """Trains one network over parameter servers, as their coordinator.

    Args:
      config: As for `htlnet_tf.runs.training.train_model`.
      prepared: Rows in memory, which are written for the workers.
      workers: Of `coordinate`.
      resuming: Where rows and checkpoints go, a folder that all tasks share.
      build: Builds and compiles the network.
      label: Put before each progress line.
      last_good: Where to leave the last good weights if a step is not finite.
      write: Where progress lines go.

    Returns:
      A model of no strategy, with the best weights and the level of the training rows.

    Raises:
      InputError: There are fewer rows than workers, or the folder cannot be written to.
      NonFiniteError: A loss or gradient is not finite.
    """
    train, valid = prepared.train, prepared.valid
    assert workers.served_by is not None and isinstance(train, EncodedRows) and isinstance(valid, EncodedRows)
    encoder, training = prepared.encoder, config.training
    count = len(workers.served_by.addresses["worker"])
    with workers.strategy.scope():
        model = build()
    model.levels_after_fit = False
    tables, servers = model.embedding.tables, len(workers.served_by.addresses["ps"])
    write(
        f"  {label}{count} workers; embedding tables in {len(tables)} {'part' if len(tables) == 1 else 'parts'} on "
        f"{len(tasks_of(tables))} of {servers} parameter servers"
    )
    folder = resuming.folder.absolute()
    rows, held_out = (
        _written(name, part, prepared, folder / f"{name}_rows_{count}", count, training=name == "training")
        for name, part in (("training", train), ("validation", valid))
    )
    batch = min(_LARGEST_BATCH, max(1, math.ceil(len(valid) / (_BATCHES_PER_WORKER * count))))
    parts = training.validations_per_epoch
    keep_best = KeepBest(training.patience * parts, keep_weights=False) if training.early_stopping else None
    timer, lines = EpochSeconds(), EpochLines(prepared.schema, label, parts=parts, write=write)
    checkpoints = resuming.epoch_checkpoints(training.seed, keep_best)
    order = training.seed + checkpoints.upcoming  # where it goes on, workers begin with a first pass again
    try:
        with _logged_in_short():
            history = model.fit(
                encoded_for_workers(rows, encoder, batch_size=training.batch_size, seed=order),
                validation_data=encoded_for_workers(held_out, encoder, batch_size=batch, shuffle=False),
                epochs=training.epochs * parts,
                steps_per_epoch=training.steps_per_validation(len(train)),
                validation_steps=batches_of_all(held_out, batch),
                callbacks=[*([] if keep_best is None else [keep_best]), lines, timer, checkpoints],
                verbose=0,
            ).history
    except NonFiniteError as error:
        if last_good is None:
            raise
        leave_last_good(config, _whole(model, build, folder), last_good, error)
    whole = build()
    read_weights(whole, checkpoints.best_weights)
    level = train if prepared.level is None else prepared.level
    whole.fit_level(make_dataset(level, prepared.schema, encoder, batch_size=_LARGEST_BATCH, training=True))
    best = len(timer.seconds) if keep_best is None else keep_best.best_epoch + 1
    return Trained(whole, training.seed, history, {}, best, timer.seconds)


@contextlib.contextmanager
def _logged_in_short() -> Iterator[None]:
    """Of what TensorFlow logs of a lost task, several times and with all that others say of it, the first lines."""

    def shorten(record: logging.LogRecord) -> bool:
        record.msg, record.args = next(iter(record.getMessage().splitlines()), "")[:300], ()
        return True

    logger = logging.getLogger("tensorflow")
    logger.addFilter(shorten)
    try:
        yield
    finally:
        logger.removeFilter(shorten)


def _written(name: str, rows: EncodedRows, prepared: Prepared, path: Path, workers: int, *, training: bool) -> Path:
    """Rows as workers read them; those that are there stay."""
    try:
        return save_encoded(rows, prepared.schema, prepared.encoder, path, workers=workers, training=training)
    except InputError as error:
        raise InputError(f"{name} rows for the workers: {error}") from error


def _whole(model: MultiTaskModel, build: Callable[[], MultiTaskModel], folder: Path) -> MultiTaskModel:
    """A model of no strategy with the weights that the servers have now, by way of a folder that all share."""
    plain = build()
    with tempfile.TemporaryDirectory(dir=folder) as shared:
        path = Path(shared) / "model"
        model.save_weights(str(path))
        read_weights(plain, path)
    return plain
