"""`htlnet drift RUN --data NEW`: whether later rows still look like those that a run was trained on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from htlnet_tf.data.sampling import sampled, sampled_frames
from htlnet_tf.data.sources.absent_columns import WithAbsentColumns
from htlnet_tf.data.sources.source import open_source
from htlnet_tf.data.stream import Stream, check_rows
from htlnet_tf.encoding.encoded import Rows
from htlnet_tf.errors import InputError
from htlnet_tf.judging.drift_report import DriftReport, drift_report
from htlnet_tf.runs.config import RunConfig, load_rows
from htlnet_tf.runs.folder import load_config, load_model
from htlnet_tf.runs.reference import Reference
from htlnet_tf.schema import Schema

_BY_SCHEMA = ("generic", "generated")


def drift(run: str | Path, rows: Rows | str | Path, *, changes: Sequence[str] = ()) -> DriftReport:
    """Compares later rows with those that a run was trained on.

    Args:
      run: The run folder.
      rows: Later rows: a frame, a stream, or the path that the run's loader reads; of files, and of a frame, every
        column but the features' may be absent.
      changes: Thresholds in place of those of the run's configuration, `drift.psi=0.1`.

    Raises:
      InputError: The folder is no run or has no reference rows, a change is none of a threshold, or the rows are not
        usable; names file, column and row.
    """
    for change in changes:
        if not change.startswith("drift."):
            raise InputError(f"thresholds are settings such as drift.psi=0.1, received '{change}'")
    config = load_config(run, changes)
    reference = Reference.load(run)
    _, model = load_model(run)
    later = later_rows(config, rows, model.schema) if isinstance(rows, (str, Path)) else rows
    if isinstance(later, pd.DataFrame):
        later = later.assign(**{n: v for n, v in optional_columns(model.schema).items() if n not in later})
        some = sampled(later, model.schema, config.drift.rows)
    else:
        some = sampled_frames(_checked(later, model.schema), config.drift.rows)
    if not len(some):
        raise InputError("there are no rows to compare with those of the training")
    return drift_report(model, (reference.train, reference.valid), some, config.drift)


def _checked(rows: Stream, schema: Schema) -> Iterator[pd.DataFrame]:
    """The frames of a stream, every row checked where its file and number are still known."""
    for frame in dataclasses.replace(rows, schema=schema):
        check_rows(frame, schema)
        yield frame


def later_rows(config: RunConfig, path: str | Path, schema: Schema) -> Rows:
    """Rows as a run's loader reads them, of files those that lack labels too; generated rows are read from files.

    Args:
      config: Of the run.
      path: What to load.
      schema: Of the model.

    Raises:
      InputError: They cannot be read, or a feature's column is missing.
    """
    if config.data.loader not in _BY_SCHEMA:
        return load_rows(config.with_data(path)).rows
    source = open_source(path, delimiter=schema.delimiter)
    optional = optional_columns(schema)
    faults = {name: fault for name in schema.columns if (fault := source.fault(name)) is not None}
    for name, fault in faults.items():
        if name not in optional or name in source.columns:
            raise InputError(f"{source.files[0]}: {fault}")
    absent = {name: optional[name] for name in faults}
    return Stream(WithAbsentColumns(source, absent) if absent else source, schema, config.data.on_bad_rows)


def optional_columns(schema: Schema) -> dict[str, float]:
    """By column that scoring does not need, what stands for it where it is absent: no label, the weight 1, no time."""
    needed = {feature.source for feature in schema.inputs}
    others = {name: 1.0 if name in schema.weights else math.nan for name in schema.columns}
    return {name: value for name, value in others.items() if name not in needed}
