"""A file as a table comes -> rows as requests to an exported model carry them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from htlnet_tf.data.raw_features import raw_features
from htlnet_tf.data.sources.source import open_source
from htlnet_tf.errors import InputError
from htlnet_tf.schema import Categorical, Schema
from htlnet_tf.schema.features import CategoricalDtype

_DTYPES: dict[str, CategoricalDtype] = {"DT_INT64": "int64", "DT_STRING": "string"}


def request_rows(
    path: str | Path, schema: Schema, dtypes: Mapping[str, str], *, rows: int = 1000
) -> Iterator[pd.DataFrame]:
    """Reads a file by the schema that a model was trained with: names, delimiter, decimal marks, formats of times.

    Args:
      path: A file, folder or glob of CSV, Parquet or TFRecord files; labels need not be there.
      schema: As in training.
      dtypes: The model's inputs by name, each with its type in a signature: `"DT_STRING"`, `"DT_INT64"`, `"DT_FLOAT"`.
      rows: At most so many per piece.

    Returns:
      Frames with a column per feature, under its name, missing values being the codes that a request has for them.

    Raises:
      InputError: A file cannot be read, lacks a column or has a value that its feature does not allow; or the schema
        has not the inputs of the model.
    """
    names = [feature.name for feature in schema.inputs]
    if set(names) != set(dtypes):
        raise InputError(
            f"the schema must be the one that the model was trained with: it has the features {sorted(names)}, and the "
            f"model takes {sorted(dtypes)}"
        )
    settled = schema.with_features(
        dataclasses.replace(f, dtype=f.dtype or _DTYPES.get(dtypes[f.name])) if isinstance(f, Categorical) else f
        for f in schema.features
    )
    sources = list(dict.fromkeys(feature.source for feature in settled.inputs))
    source = open_source(path, delimiter=schema.delimiter)
    for chunk in source.chunks(sources, schema=settled, chunk_rows=rows):
        chunk.frame.attrs["file"] = chunk.file
        yield pd.DataFrame(dict(raw_features(chunk.frame, settled)), index=chunk.frame.index)
