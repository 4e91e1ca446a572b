"""The folder of a model for ONNX Runtime: what is in it, written by the export and read by the scorer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import pydantic
from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from htlnet_tf.errors import InputError
from htlnet_tf.files import local_path
from htlnet_tf.serving.onnx.lookups import HashedRows, PairRows, ValueRows
from htlnet_tf.serving.server.version_folders import version_folders

ONNX_FOLDER = "onnx"
GRAPH_FILE = "model.onnx"
WEIGHTS_FILE = "model.onnx.data"
DOCUMENT_FILE = "encoder.json"
SCHEMA_FILE = "assets.extra/schema.yaml"
FORMAT = 1

Lookup = Annotated[ValueRows | HashedRows | PairRows, Field(discriminator="kind")]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Document:
    """`encoder.json`.

    Args:
      lookups: Of every input of the graph that is int32 [N, slots], crosses behind the features that they are of. The
        graph's other inputs are columns in raw form: float32 [N], or int64 [N] of a timestamp.
      files: The size in bytes of every other file.
      format: Of this document.
    """

    lookups: tuple[Lookup, ...]
    files: dict[str, int]
    format: int = FORMAT

    def to_json(self) -> str:
        """The file's text."""
        return _ADAPTER.dump_json(self, indent=1).decode("utf-8")


_ADAPTER: TypeAdapter[Document] = TypeAdapter(Document)


def latest(path: str | Path) -> Path:
    """The version that a path means: itself, or the latest one of a model's folder, `MODELS/htlnet` or `.../onnx`.

    Raises:
      InputError: There is none.
    """
    folder = local_path(path)
    for base in (folder, folder / ONNX_FOLDER):
        if (base / DOCUMENT_FILE).is_file():
            return base
        found = version_folders(base) if base.is_dir() else {}
        complete = {number: entry for number, entry in found.items() if (entry / DOCUMENT_FILE).is_file()}
        if complete:
            return complete[max(complete)]
    raise InputError(f"'{path}' has no model for ONNX Runtime; write one: htlnet export RUN --to MODELS --format onnx")


def read_document(folder: Path) -> Document:
    """Reads `encoder.json`, and looks whether every file that it names is there as it was written.

    Raises:
      InputError: It is damaged or of a newer format, or a file is missing or has another size.
    """
    path = folder / DOCUMENT_FILE
    try:
        document = _ADAPTER.validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read '{path}': {error.strerror or error}") from error
    except pydantic.ValidationError as error:
        raise InputError(f"'{path}' is damaged: {error.errors()[0]['msg']}; export the model again") from error
    if document.format != FORMAT:
        raise InputError(f"'{path}' has format {document.format}, and this version of htlnet_tf reads {FORMAT}")
    for name, size in document.files.items():
        file = folder / name
        if not file.is_file():
            raise InputError(f"'{file}' is missing; export the model again")
        if file.stat().st_size != size:
            raise InputError(
                f"'{file}' is damaged: it has {file.stat().st_size} bytes and was written with {size}; "
                "export the model again"
            )
    return document


def read_table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """Reads a Parquet file of the folder.

    Raises:
      InputError: It is damaged.
    """
    frame: Any
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's own errors are such
        raise InputError(f"'{path}' is damaged: {error}; export the model again") from error
    if tuple(frame.columns) != columns:
        raise InputError(f"'{path}' is damaged: its columns are {list(frame.columns)}, not {list(columns)}")
    return frame
