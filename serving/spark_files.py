"""`htlnet score --engine spark`: Parquet files to Parquet files on Apache Spark."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from htlnet_tf.data.bad_rows import OnBadRows
from htlnet_tf.data.sources.source import open_source
from htlnet_tf.errors import InputError
from htlnet_tf.files import atomic_directory, local_path
from htlnet_tf.serving import spark
from htlnet_tf.serving.apart import require_addresses_apart, require_apart
from htlnet_tf.serving.exported import exported_schema, version_folder
from htlnet_tf.serving.score_parts import require_scores_alone, table_root
from htlnet_tf.serving.spark_master import require_master

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_INFERENCE = "spark.sql.sources.partitionColumnTypeInference.enabled"
_FILE = re.compile(r"file:(?://[^/]*)?(?P<path>/.*)", re.IGNORECASE)
_REMOTE = re.compile(r"[a-z][a-z0-9+.\-]*://", re.IGNORECASE)


def score_on_spark(
    model: str | Path,
    source: str,
    output: str,
    *,
    keep: Sequence[str] = (),
    master: str | None = None,
    on_bad_rows: OnBadRows = "error",
    overwrite: bool = False,
    write: Callable[[str], None] | None = None,
) -> int:
    """Scores Parquet files with Spark, which writes the scores and then `_SUCCESS`. A killed run begins anew.

    A folder appears whole or not at all, by a rename; where it is overwritten, the old one stays until then. To an
    address Spark writes as it always does.

    Args:
      model: As of `htlnet_tf.serving.spark.score`.
      source: A path as of `score_files`, or an address that Spark reads, such as `hdfs:///logs`.
      output: A folder, or an address that Spark writes to.
      keep: Columns before the scores.
      master: Spark's, such as `"local[2]"`; None: what Spark's own configuration says.
      on_bad_rows: As of `htlnet_tf.serving.spark.score`.
      overwrite: Replace what `output` has.
      write: Given lines of progress; None: nobody is told.

    Returns:
      The number of rows that were scored.

    Raises:
      InputError: As of `htlnet_tf.serving.spark.score`; the master is none; `output` has something in it, other things
        than scores if they are to be overwritten, or is, holds or lies in what is read; a row is bad.
    """
    spark.require_pyspark()
    _require_apart(model, source, output)
    if overwrite and (folder := _local(output)) is not None:
        require_scores_alone(folder)
    session = open_session(master)
    from pyspark.sql import Observation, functions

    rows, folders = read_rows(session, model, source, keep)
    before, after = Observation("read"), Observation("scored")
    counted = functions.count(functions.lit(1)).alias("rows")
    scores = spark.scored(rows.observe(before, counted), model, keep, on_bad_rows, text=folders)
    write_scores(scores.observe(after, counted), output, overwrite=overwrite)
    scored = int(after.get["rows"])
    if write is not None and scored < int(before.get["rows"]):
        write(f"{int(before.get['rows']) - scored:,} bad rows were skipped")
    return scored


def open_session(master: str | None) -> SparkSession:
    """The session of this process, a new one if there is none.

    Raises:
      InputError: pyspark or Java is missing, or the master cannot be reached.
    """
    spark.require_pyspark()
    if master is not None:
        require_master(master)
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    is_new = SparkSession.getActiveSession() is None
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    # Rows go through Arrow here, and not through pandas' frames as Spark makes them.
    warnings.filterwarnings("ignore", message="PySpark does not yet fully support pandas")
    builder = SparkSession.builder.appName("htlnet score")
    if master is not None:
        builder = builder.master(master)
    try:
        session = builder.getOrCreate()
    except (PySparkException, Py4JError, OSError) as error:
        raise InputError(f"Spark does not start, which needs Java 17 and a master: {_first_line(error)}") from error
    # In this process Java would tell with its whole stack, and twice, what the error says in a sentence.
    if is_new and session.sparkContext.master.startswith("local"):
        session.sparkContext.setLogLevel("FATAL")
    return session


def read_rows(
    session: SparkSession, model: str | Path, source: str, keep: Sequence[str]
) -> tuple[DataFrame, list[str]]:
    """The rows, and the columns that their folders give, which Spark leaves as text.

    Raises:
      InputError: There are no such files, or they are not Parquet or lack a column.
    """
    from pyspark.errors import PySparkException

    inferred = session.conf.get(_INFERENCE)
    session.conf.set(_INFERENCE, "false")
    try:
        folder = _local(source)
        if folder is None:
            return session.read.parquet(source), []
        schema = exported_schema(version_folder(model))
        table = open_source(folder)
        if table.format != "parquet":
            raise InputError(f"Spark reads Parquet here, received {table.format} files: --engine local reads them all")
        table.check(list(dict.fromkeys((*(feature.source for feature in schema.inputs), *keep))))
        rows = session.read.option("basePath", _address(table_root(folder))).parquet(*map(_address, table.files))
    except PySparkException as error:
        raise InputError(f"Spark cannot read '{source}': {_first_line(error)}") from error
    finally:  # the session may be that of a program, whose own frames keep their types
        session.conf.set(_INFERENCE, inferred)
    in_files = set(table.file_columns(table.files[0]))
    return rows, [name for name in rows.columns if name not in in_files]


def write_scores(scores: DataFrame, output: str, *, overwrite: bool) -> None:
    """Writes Parquet.

    Raises:
      InputError: There is something already, it cannot be written, or a row is bad.
    """
    place = _local(output)
    if place is None:
        _write(scores, output, output, overwrite=overwrite)
        return
    with atomic_directory(place, overwrite=overwrite) as partial:
        _write(scores, _address(partial), output, overwrite=True)


def _write(scores: DataFrame, place: str, output: str, *, overwrite: bool) -> None:
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        scores.write.mode("overwrite" if overwrite else "errorifexists").parquet(place)
    except (PySparkException, Py4JError) as error:
        text = str(error)
        if "PATH_ALREADY_EXISTS" in text:
            raise InputError(f"'{output}' exists already; name another folder or --overwrite") from error
        # What a worker raised comes as text, with the stack traces of both sides.
        told = re.findall(r"htlnet_tf\.errors\.(?:Input|Row)Error: (.*)", text)
        raise InputError(told[0] if told else f"Spark failed: {_first_line(error)}") from error


def _address(path: str | Path) -> str:
    """A local path for Spark, whatever file system it is configured to; it decodes no `%3D`, so none is encoded."""
    return f"file://{Path(path).absolute()}"


def _local(place: str) -> Path | None:
    """The path that a user has named, as such or as `file:///...`; None of an address of another kind."""
    named = _FILE.fullmatch(place)
    if named is None and _REMOTE.match(place):
        return None
    return local_path(place if named is None else named["path"])


def _require_apart(model: str | Path, source: str, output: str) -> None:
    folder, rows = _local(output), _local(source)
    if folder is None:
        require_addresses_apart(source, output)
        return
    if rows is not None:
        require_apart(rows, open_source(rows).files, folder)
    require_apart(version_folder(model), [], folder, "the model")


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
