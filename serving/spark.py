"""Rows of a Spark DataFrame -> their scores, by an exported version in every worker; needs the extra `spark`.

The workers run Python with this package (`PYSPARK_PYTHON`). Rows come to them as Arrow batches and not as pandas'
frames, in which Spark makes floats of whole numbers with gaps, and are read as training reads a Parquet file.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa

from htlnet_tf.data.bad_rows import BadRows, OnBadRows
from htlnet_tf.data.sources.batch_source import BatchSource
from htlnet_tf.data.sources.text_values import declared_kinds, parse
from htlnet_tf.errors import InputError
from htlnet_tf.schema import Schema
from htlnet_tf.serving.exported import exported_schema, version_digest, version_folder
from htlnet_tf.serving.score_tables import CHUNK_ROWS, checked_features, require_kept, score_arrays

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

__all__ = ("score",)

Batches = Iterator[pa.RecordBatch]


def score(
    frame: DataFrame,
    model: str | Path,
    *,
    keep: Sequence[str] = (),
    on_bad_rows: OnBadRows = "error",
    ship: bool = False,
) -> DataFrame:
    """Scores every row of a DataFrame, as lazily as Spark does everything.

    A worker process loads the version once. Scores are those of `htlnet_tf.score_files`, bit for bit on the same kind
    of processor, however the rows are cut into partitions and batches. The driver sees no row.

    Args:
      frame: Has the columns of the features, as the training's table called them; labels may be missing.
      model: `MODELS/NAME` or `MODELS/NAME/VERSION`, which the driver can read; and the workers, if it is not shipped.
      keep: Columns that stand before the scores, in their own types.
      on_bad_rows: `"error"`: the first row that breaks a rule of the schema fails its task. `"skip"`: it is left out.
      ship: Send the version's folder to the workers, by Spark's `addArchive`.

    Returns:
      The kept columns and `Schema.score_columns`, floats in the targets' units.

    Raises:
      InputError: pyspark is missing, the model is none, a column is missing, or a kept one is called as a score is.

    Example:
      >>> scores = htl.serving.spark.score(spark.read.parquet("hdfs:///logs"), "models/htlnet", keep=["user_id"])
      >>> scores.write.parquet("hdfs:///scores")
    """
    return scored(frame, model, keep, on_bad_rows, ship=ship)


def scored(
    frame: DataFrame,
    model: str | Path,
    keep: Sequence[str],
    on_bad_rows: OnBadRows,
    *,
    ship: bool = False,
    text: Sequence[str] = (),
) -> DataFrame:
    """As `score`, of a frame some columns of which, `text`, are the names of folders whatever they stand for."""
    require_pyspark()
    if on_bad_rows not in ("error", "skip"):
        raise InputError(f"on_bad_rows must be 'error' or 'skip', received {on_bad_rows!r}")
    folder = version_folder(model)
    schema = exported_schema(folder)
    names = require_kept(schema, keep)
    selected = select(frame, [*names, *(feature.source for feature in schema.inputs)])
    place = shipped(frame.sparkSession, folder) if ship else str(folder)
    function = functools.partial(_score_batches, place, names, on_bad_rows, tuple(text))
    return selected.mapInArrow(function, with_scores(selected, names, schema.score_columns))


def require_pyspark() -> None:
    """Checks that Spark's Python is installed.

    Raises:
      InputError: It is not.
    """
    try:
        import pyspark  # noqa: F401
    except ImportError as error:
        raise InputError("Spark is needed: pip install 'htlnet-tf[spark]', and Java 17") from error


def select(frame: DataFrame, names: Sequence[str]) -> DataFrame:
    """Columns of a frame, each once.

    Raises:
      InputError: One is missing, or there are several of that name.
    """
    from pyspark.sql import functions

    for name in names:
        count = frame.columns.count(name)
        if count != 1:
            told = "is missing" if count == 0 else f"appears {count} times"
            raise InputError(f"column '{name}' {told}; the frame has {frame.columns}")
    return frame.select(*(functions.col(f"`{name.replace('`', '``')}`") for name in dict.fromkeys(names)))


def with_scores(frame: DataFrame, keep: Sequence[str], scores: Sequence[str]) -> object:
    """The type of kept columns and scores."""
    from pyspark.sql import types

    fields = {field.name: field for field in frame.schema.fields}
    columns = [*(fields[name] for name in keep), *(types.StructField(name, types.FloatType()) for name in scores)]
    return types.StructType(columns)


def shipped(session: SparkSession, folder: Path) -> str:
    """Sends a version's folder to all workers, once per session; gives what they find it by."""
    name = f"htlnet-{version_digest(folder)[:16]}"
    if not any(name in archive for archive in session.sparkContext.listArchives):
        archive = shutil.make_archive(str(Path(_archives(), name)), "zip", folder)
        session.sparkContext.addArchive(f"{archive}#{name}")
    return f"{_SHIPPED}{name}"


@functools.cache
def _archives() -> Path:
    """A folder until the driver ends: each worker fetches an archive from there with its first task."""
    folder = tempfile.mkdtemp(prefix="htlnet-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def on_worker(place: str) -> Path:
    """Where a worker finds a version's folder."""
    if not place.startswith(_SHIPPED):
        return Path(place)
    from pyspark import SparkFiles

    return Path(SparkFiles.get(place.removeprefix(_SHIPPED)))


_SHIPPED = "archive:"


def _score_batches(
    place: str, keep: Sequence[str], on_bad_rows: OnBadRows, text: Sequence[str], batches: Batches
) -> Batches:
    from htlnet_tf.serving.local_servable import loaded

    servable = None
    for number, batch in enumerate(batch for batch in batches if batch.num_rows):
        servable = servable or loaded(on_worker(place))  # a partition without rows needs none
        schema = servable.schema
        bad_rows = BadRows() if on_bad_rows == "skip" else None
        first = 0
        for frame in frames_of(batch, schema, [feature.source for feature in schema.inputs], number, text):
            raw, good = checked_features(frame, schema, bad_rows)
            part = batch.select(keep).slice(first, len(frame))
            first += len(frame)
            if raw is not None:
                part = part if good.all() else part.filter(pa.array(good))
                columns = [*part.columns, *score_arrays(schema, servable.scores(raw))]
                yield pa.RecordBatch.from_arrays(columns, [*keep, *schema.score_columns])


def frames_of(
    batch: pa.RecordBatch, schema: Schema, names: Sequence[str], number: int, text: Sequence[str] = ()
) -> Iterator[pd.DataFrame]:
    """A batch of a partition as training reads it, in frames that say where they are from.

    Args:
      batch: Has the columns.
      schema: Of the training, every dtype settled.
      names: Columns, as the table calls them.
      number: Of the batch in its partition.
      text: The columns that folders have given, which are text whatever they stand for.
    """
    from pyspark import TaskContext

    context = TaskContext.get()
    place = f"partition {0 if context is None else context.partitionId()}, batch {number}"
    columns = list(dict.fromkeys(names))
    typed, faulty = _of_folders(batch.select(columns), schema, [name for name in text if name in columns])
    for chunk in BatchSource([typed]).chunks(columns, schema=schema, chunk_rows=CHUNK_ROWS):
        rows = slice(chunk.first_row, chunk.first_row + len(chunk.frame))
        frame = chunk.frame.assign(**{name: values[rows] for name, values in faulty.items()})
        frame.attrs["file"] = place
        yield frame


def _of_folders(
    batch: pa.RecordBatch, schema: Schema, text: Sequence[str]
) -> tuple[pa.RecordBatch, dict[str, pd.Categorical]]:
    """The columns that folders have given as what they stand for, as `Source` reads them; apart, those with a value
    that cannot be read so.
    """
    kinds, faulty = declared_kinds(schema), {}
    for name in text:
        values = parse(batch.column(name), kinds.get(name, "text"), padded=True)
        if isinstance(values, pd.Categorical):
            faulty[name] = values
        else:
            batch = batch.set_column(batch.schema.get_field_index(name), name, values)
    return batch, faulty
