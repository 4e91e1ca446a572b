"""A configuration -> rows that are split and encoded, ready for any number of models."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any, Union

import numpy as np
import pandas as pd

from htlnet_tf.data.bad_rows import BadRows
from htlnet_tf.data.labels import label_values
from htlnet_tf.data.latest import latest_rows
from htlnet_tf.data.split_config import PARTS
from htlnet_tf.data.splits import Split
from htlnet_tf.data.stream import Stream, check_rows
from htlnet_tf.encoding.coverage import Coverage
from htlnet_tf.encoding.encoded import EncodedRows, Rows, encode_rows
from htlnet_tf.encoding.encoder import FeatureEncoder
from htlnet_tf.errors import InputError
from htlnet_tf.runs.config import RunConfig, load_rows
from htlnet_tf.runs.reference import Reference
from htlnet_tf.schema import Schema
from htlnet_tf.scoring import conformal
from htlnet_tf.scoring.calibration.fitting import require_rows, require_settings

Write = Callable[[str], None]
Trainable = Union[EncodedRows, Stream]


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Rows that are split and encoded.

    Attributes:
      schema: With everything settled.
      encoder: Fitted on the training rows.
      split: The rule that split them, to be kept with the run.
      train: Training rows, encoded; a stream where the configuration asks for streaming.
      valid: Validation rows, likewise.
      test: Test rows, raw, which only the final evaluation sees.
      out_of_vocabulary: By feature with a vocabulary, the shares of the values in `train` and `valid` that it lacks.
      bad_rows: What a stream has skipped so far; None for rows that came as a frame.
      truth: Of the test rows, in their order and with their index, see `htlnet_tf.runs.config.LoadedRows`; None where
        it is not known.
      level: The latest of the training rows, encoded or a stream as `train` is, where the level is fitted on a share of
        them; None: on all.
      sizes: By part, how many rows it has.
      reference: Some of the raw training and validation rows; None if they were not asked for.
    """

    schema: Schema
    encoder: FeatureEncoder
    split: Split
    train: Trainable
    valid: Trainable
    test: Rows
    out_of_vocabulary: pd.DataFrame
    bad_rows: BadRows | None = None
    truth: pd.DataFrame | None = None
    level: Trainable | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    reference: Reference | None = None

    def to_compare(self) -> dict[str, Any]:
        """What processes that train together must have in common, by its name.

        Of encoded rows the ids and labels: other numbers may differ in their last digit between machines.
        """
        found: dict[str, Any] = {}
        for name, rows in (("training", self.train), ("validation", self.valid), ("level", self.level)):
            if isinstance(rows, Stream):
                found[f"the list of files of the {name} rows"] = list(rows.source.files)
            elif rows is not None:
                found[f"the number of {name} rows"] = len(rows)
                found[f"the checksum of the {name} rows"] = _checksum(rows)
        return found


def prepare(config: RunConfig, *, reference_rows: int = 0, write: Write = print) -> Prepared:
    """Loads the rows, splits them and fits the encoder on the training part.

    Args:
      config: Where the rows come from.
      reference_rows: Keep so many raw rows of each of the parts `train` and `valid`, which reads a stream once more.
      write: Where progress lines go.

    Raises:
      InputError: The data or the schema are not usable, or a part of the split is empty.
    """
    rows, schema, truth = load_rows(config)
    if isinstance(rows, Stream):
        rows = dataclasses.replace(rows, by_time=config.split.by == "time")
    split = fit_split(config, rows, schema)
    train, valid, test = split.apply(rows) if isinstance(rows, pd.DataFrame) else (rows.of(split, p) for p in PARTS)
    level = None
    if config.training.level_share is not None:
        try:
            level = latest_rows(train, schema, config.training.level_share)
        except InputError as error:
            raise InputError(f"training.level_share: {error}") from error
    encoder = FeatureEncoder.fit(schema, train)
    encoded: dict[str, Trainable] = {}
    unknown: dict[str, dict[str, float]] = {}
    sizes = []
    for name, part in (("train", train), ("valid", valid)):
        if isinstance(part, Stream) and config.data.streaming:
            encoded[name] = part
        else:
            encoded[name] = encode_rows(part, encoder, training=name == "train")
        coverage = coverage_of(encoded[name], encoder)
        if name == "valid":
            require_calibration(config, encoder, encoded[name])
        if not coverage.num_rows:
            raise InputError(f"every part of the split needs rows, but '{name}' has none: {split.to_dict()}")
        sizes.append(coverage.num_rows)
        unknown[name] = coverage.shares()
    # Nobody wants to learn after hours of training that the model cannot be judged.
    sizes.append(_checked(test, encoder.schema))
    if not sizes[-1]:
        raise InputError(f"every part of the split needs rows, but 'test' has none: {split.to_dict()}")
    write(
        f"{sizes[0]:,} rows to train, {sizes[1]:,} to validate, {sizes[2]:,} to test; "
        f"{len(schema.features)} features, {encoder.num_rows:,} embedding rows"
    )
    reference = Reference.of(train, valid, encoder.schema, reference_rows) if reference_rows else None
    bad_rows = rows.bad_rows if isinstance(rows, Stream) else None
    if bad_rows:
        write(f"{len(bad_rows):,} bad rows were skipped; the first: {bad_rows.first()}")
    return Prepared(
        encoder.schema,
        encoder,
        split,
        encoded["train"],
        encoded["valid"],
        test,
        pd.DataFrame(unknown),
        bad_rows,
        truth=truth.loc[test.index] if truth is not None and isinstance(test, pd.DataFrame) else None,
        level=_level_rows(config, level, encoder),
        sizes=dict(zip(PARTS, sizes, strict=True)),
        reference=reference,
    )


def prepare_alike(config: RunConfig, split: Split, encoder: FeatureEncoder) -> Prepared:
    """The rows to train along with another process, which has checked them and fitted the split and the encoder.

    Args:
      config: As for `prepare`.
      split: The other's.
      encoder: The other's.

    Raises:
      InputError: The data or the schema are not usable.
    """
    rows = load_rows(config).rows
    if isinstance(rows, Stream):
        rows = dataclasses.replace(rows, by_time=config.split.by == "time")
    train, valid, test = split.apply(rows) if isinstance(rows, pd.DataFrame) else (rows.of(split, p) for p in PARTS)
    schema, level = encoder.schema, None
    if config.training.level_share is not None:
        level = latest_rows(train, schema, config.training.level_share)

    def for_training(part: Rows, *, training: bool) -> Trainable:
        if isinstance(part, Stream) and config.data.streaming:
            return part
        return encode_rows(part, encoder, training=training)

    return Prepared(
        schema,
        encoder,
        split,
        for_training(train, training=True),
        for_training(valid, training=False),
        test,
        pd.DataFrame(),
        level=_level_rows(config, level, encoder),
    )


def require_calibration(config: RunConfig, encoder: FeatureEncoder, valid: Trainable) -> None:
    """Checks that calibration and conformal levels can be fitted; the rows of a stream are not counted for it."""
    if config.calibration is not None:
        require_settings(config.calibration, encoder.schema, encoder)
    if isinstance(valid, EncodedRows):
        if config.calibration is not None:
            require_rows(config.calibration, encoder.schema, encoder, valid)
        conformal.require_rows(encoder.schema, valid)


def _checksum(rows: EncodedRows) -> str:
    """CRC-32 of ids and labels, in hex."""
    features, labels = rows.tree[:2]
    found = 0
    for array in (features["ids"], *(labels[name] for name in sorted(labels))):
        found = zlib.crc32(np.ascontiguousarray(array).data, found)
    return f"{found:08x}"


def _level_rows(config: RunConfig, rows: Rows | None, encoder: FeatureEncoder) -> Trainable | None:
    if rows is None or (isinstance(rows, Stream) and config.data.streaming):
        return rows
    return encode_rows(rows, encoder, training=True)


def fit_split(config: RunConfig, rows: Rows, schema: Schema) -> Split:
    """The configured split, fitted to the rows.

    Raises:
      InputError: A column that the rule needs is missing or not usable.
    """
    if isinstance(rows, pd.DataFrame):
        return Split.fit(config.split, schema, rows)
    # A rule by time needs the timestamps alone; bad rows are found on whole rows.
    columns = [schema.time_column] if schema.time_column and rows.on_bad_rows == "error" else None
    return Split.fit(config.split, schema, rows.frames(columns=columns))


def _checked(rows: Rows, schema: Schema) -> int:
    """Checks every value of the rows and counts them."""
    count = 0
    for frame in [rows] if isinstance(rows, pd.DataFrame) else dataclasses.replace(rows, schema=schema):
        check_rows(frame, schema)
        count += len(frame)
    return count


def coverage_of(rows: Trainable, encoder: FeatureEncoder) -> Coverage:
    """How much of some rows an encoder's vocabularies cover."""
    coverage = Coverage(encoder)
    if isinstance(rows, EncodedRows):
        coverage.add(rows.features["ids"])
    else:
        for frame in dataclasses.replace(rows, schema=encoder.schema):
            coverage.add(encoder.encode(frame)["ids"])  # which checks the features
            label_values(frame, encoder.schema)
    return coverage
