"""The runs of references: on the same rows as the models, judged by the same metrics, kept in the same records."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from htlnet_tf import cores
from htlnet_tf.comparison.runs import Job, RunRecord, with_regret, write_record
from htlnet_tf.data.columns import Arrays
from htlnet_tf.encoding.encoded import EncodedRows
from htlnet_tf.errors import InputError
from htlnet_tf.files import atomic_directory
from htlnet_tf.judging.calibration import calibration_table
from htlnet_tf.judging.evaluation import Scored, score_with
from htlnet_tf.judging.references import REFERENCES, FittedReference, relative_loss, with_level
from htlnet_tf.judging.references.constants import training_means
from htlnet_tf.runs.config import RunConfig
from htlnet_tf.runs.preparation import Prepared, Write
from htlnet_tf.runs.versions import versions
from htlnet_tf.schema import Schema
from htlnet_tf.scoring.calibration.fitting import fit_calibration
from htlnet_tf.scoring.calibration.settings import CalibrationSettings


def require_possible(references: Iterable[str], config: RunConfig) -> None:
    """Checks, before rows are read, that references can be fitted.

    Raises:
      InputError: A package is not installed, or the rows are streamed.
    """
    for name in references:
        if config.data.streaming:
            raise InputError(
                f"the reference '{name}' is fitted on encoded rows in memory, but data.streaming is true: set it to "
                "false, or compare without references"
            )
        requirement = REFERENCES[name].requirement
        if requirement is not None and importlib.util.find_spec(requirement) is None:
            raise InputError(f"the reference '{name}' needs {requirement}: pip install 'htlnet-tf[references]'")


def obstacles(references: Iterable[str], schema: Schema) -> dict[str, str]:
    """The references that are not for such a core, and why."""
    found = {name: REFERENCES[name].obstacle(schema) for name in references}
    return {name: why for name, why in found.items() if why is not None}


def fit_reference(
    name: str, settings: Mapping[str, Any], prepared: Prepared, *, seed: int
) -> tuple[FittedReference, float]:
    """Fits a reference on the training and validation rows; the test rows are not looked at.

    Args:
      name: Of the reference.
      settings: Its own.
      prepared: The rows.
      seed: Of what is drawn at random.

    Returns:
      The reference, and its relative loss on the validation rows, see `relative_loss`.
    """
    train, valid = _in_memory(prepared.train), _in_memory(prepared.valid)
    # Set where processes share the cores; 0: all of them.
    threads = tf.config.threading.get_intra_op_parallelism_threads() or cores.count()
    reference = REFERENCES[name]
    fitted = reference.fit(train, valid, prepared.encoder, settings, seed=seed, threads=threads)
    targets = reference.targets(prepared.schema)
    level = train if prepared.level is None else _in_memory(prepared.level)
    return with_level(fitted, level, targets), relative_loss(fitted, valid, targets)


def make_reference_run(job: Job, prepared: Prepared, root: Path, *, write: Write = print) -> RunRecord:
    """Fits and judges one reference with one seed and writes its folder: its record, and its calibration.

    Args:
      job: What to run.
      prepared: The rows.
      root: The comparison's folder.
      write: Where progress lines go.
    """
    reference, schema = REFERENCES[job.variant], prepared.schema
    started = time.monotonic()
    fitted, loss = fit_reference(job.variant, job.config.model.arguments, prepared, seed=job.seed)
    seconds = time.monotonic() - started
    write(f"  {job.variant}, seed {job.seed}: {seconds:.0f} s, validation: relative loss {loss:.4f}")
    predicted = [target.name for target in reference.targets(schema)]
    scored = _score(fitted, predicted, prepared, job.config.calibration)
    package = {} if reference.requirement is None else {reference.requirement: metadata.version(reference.requirement)}
    record = RunRecord(
        job.variant,
        job.seed,
        job.settings,
        parameters=fitted.parameters,
        epochs=float(fitted.steps),
        best_epoch=float(fitted.steps),
        seconds_per_epoch=seconds / max(fitted.steps, 1),
        versions=versions() | package,
        report=with_regret(scored.report(schema), scored, prepared).of_targets(predicted),
        training_seconds=seconds,
    )
    calibration = calibration_table(schema, scored.labels, scored.predictions)
    with atomic_directory(root / job.folder) as stage:
        write_record(record, stage)
        calibration[calibration["target"].isin(predicted)].to_csv(stage / "calibration.csv", index=False)
    return record


def _score(
    fitted: FittedReference, predicted: list[str], prepared: Prepared, settings: CalibrationSettings | None
) -> Scored:
    """The test rows, calibrated as models are; for targets that it does not predict the training rows' mean stands,
    which is left out later.
    """
    from htlnet_tf.data.score_frame import score_frame

    schema, encoder, train = prepared.schema, prepared.encoder, _in_memory(prepared.train)
    means = training_means(schema, train.labels, train.weights)

    calibration = None
    if settings is not None:
        calibration = fit_calibration(settings, schema, encoder, fitted.predict, [_in_memory(prepared.valid)])

    def predict(encoded: Arrays, index: pd.Index) -> tuple[pd.DataFrame, pd.DataFrame | None]:
        found = fitted.predict(encoded)
        others = {name: np.tile(mean, (len(index), 1)) for name, mean in means.items() if name not in predicted}
        before = score_frame(schema, found | others, index)
        if calibration is None:
            return before, None
        tensors = {name: tf.constant(values, tf.float32) for name, values in found.items()}
        after = calibration(tensors, lambda field: tf.constant(encoded["ids"][:, encoder.slots_of(field)]))
        return score_frame(schema, {name: values.numpy() for name, values in after.items()} | others, index), before

    return score_with(predict, schema, prepared.encoder, prepared.test)


def _in_memory(rows: Any) -> EncodedRows:
    if not isinstance(rows, EncodedRows):
        raise InputError("references are fitted on encoded rows in memory; received a stream")
    return rows
