"""The same small table in every file format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import htlnet_tf as htl
from htlnet_tf.data.sources.source import open_source
from htlnet_tf.data.sources.tfrecord_writer import write_tfrecord

SUFFIXES = (".csv", ".csv.gz", ".parquet", ".tfrecord", ".tfrecord.gz", ".tfrecords")
SCHEMA = htl.Schema(
    features=[
        htl.Categorical("text", dtype="string"),
        htl.Categorical("whole", dtype="int64"),
        htl.Categorical("tags", separator=","),
        htl.Numeric("number"),
    ],
    targets=[htl.Binary("click"), htl.Continuous("amount", non_negative=False)],
)


def frame_of(**columns: list[Any]) -> pd.DataFrame:
    """A frame with the columns of `SCHEMA`, those that are not given filled in."""
    count = len(next(iter(columns.values())))
    filled = {"text": ["x"] * count, "whole": [1] * count, "number": [0.5] * count, "click": [1] * count} | columns
    tags = filled.get("tags", [["a,b", "a", None, "b"][i % 4] for i in range(count)])
    return pd.DataFrame(
        {
            "text": pd.array(filled["text"], "str"),
            "whole": pd.array(filled["whole"], "Int64"),
            "number": pd.array(filled["number"], "Float64").to_numpy("float64", na_value=float("nan")),
            "tags": pd.array(tags, "str"),
            "click": pd.array(filled["click"], "Int64"),
            "amount": [0.25] * count,
        }
    )


def write(frame: pd.DataFrame, path: Path, schema: htl.Schema = SCHEMA) -> Path:
    """Writes a frame in the format that the path's name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if ".tfrecord" in path.name:
        if frame.empty:
            path.touch()
        else:
            left = [f for f in schema.features if f.name in frame]
            write_tfrecord(frame, path, schema.with_features(left))
    elif ".csv" in path.name:
        frame.to_csv(path, index=False)
    else:
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path)
    return path


def read(path: Path, **arguments: Any) -> pd.DataFrame:
    """The columns of `SCHEMA`, all rows."""
    frames = [chunk.frame for chunk in open_source(path).chunks(SCHEMA.columns, schema=SCHEMA, **arguments)]
    return pd.concat([frame.astype({"text": object, "tags": object}) for frame in frames])


def read_values(column: pd.Series) -> list[Any]:
    """Values of a column, None where missing."""
    return [None if pd.isna(value) else value for value in column.astype(object)]
