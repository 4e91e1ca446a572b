"""Files of rows, read piece by piece with the types of a signature or of the training's schema."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from htlnet_tf.data.sources.source import Source, open_source
from htlnet_tf.errors import InputError
from htlnet_tf.serving.signatures import Signature

if TYPE_CHECKING:
    from htlnet_tf.data.sources.text_values import Kind
    from htlnet_tf.schema import Schema

_KINDS: dict[str, Kind] = {"DT_STRING": "text", "DT_FLOAT": "number", "DT_DOUBLE": "number", "DT_BOOL": "bool"}


class RowFiles:
    """The files of a table that is to be scored.

    Args:
      path: A file, folder, glob, or list of these, of CSV, Parquet or TFRecord files.
      signature: Says which columns are needed, and their types.
      schema: As in training, with every dtype settled; None: columns have the signature's names and plain values.
      keep: Further columns.

    Attributes:
      keep: As given, each once.

    Raises:
      InputError: There are no such files, or a column is missing.
    """

    def __init__(
        self,
        path: str | Path | Sequence[str | Path],
        signature: Signature,
        *,
        schema: Schema | None = None,
        keep: Sequence[str] = (),
    ) -> None:
        self.keep = tuple(dict.fromkeys(keep))
        self._schema = schema
        self._kinds: dict[str, Kind] = {
            name: _KINDS.get(info.dtype, "integer") for name, info in signature.inputs.items()
        }
        sources = signature.inputs if schema is None else (feature.source for feature in schema.inputs)
        self._names = list(dict.fromkeys((*sources, *self.keep)))
        self._source: Source = open_source(path, delimiter="," if schema is None else schema.delimiter)

    def require_other(self, path: Path) -> None:
        """Checks that a file to be written is none that is read.

        Raises:
          InputError: It is one.
        """
        if any(Path(file).resolve() == path.resolve() for file in self._source.files):
            raise InputError(f"'{path}' is read: write the scores to another file")

    def pieces(self, rows: int) -> Iterator[tuple[str, pd.DataFrame]]:
        """Reads the rows, in order of the files' paths.

        Args:
          rows: At most so many per piece.

        Returns:
          The file, and a frame indexed by row number in the file, the header not counted.

        Raises:
          InputError: A file is damaged, a column is missing in it, or there are no rows.
        """
        kinds = self._kinds if self._schema is None else None
        for chunk in self._source.chunks(self._names, schema=self._schema, kinds=kinds, chunk_rows=rows):
            # Errors of values name the file then.
            chunk.frame.attrs["file"] = chunk.file
            yield chunk.file, chunk.frame
