"""The rows of the training that travel with a run, for later rows to be compared with."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd

from htlnet_tf.data.sampling import sampled
from htlnet_tf.encoding.encoded import Rows
from htlnet_tf.errors import InputError
from htlnet_tf.files import local_path
from htlnet_tf.schema import Schema

REFERENCE_ROWS = 10_000
"""At most so many of each part: some megabytes."""


@dataclasses.dataclass(frozen=True)
class Reference:
    """Some raw rows of the training, evenly from the first to the last, with the schema's columns.

    Attributes:
      train: Of the training rows; None where the run was written without.
      valid: Of the validation rows.
    """

    train: pd.DataFrame | None
    valid: pd.DataFrame

    @classmethod
    def of(cls, train: Rows, valid: Rows, schema: Schema, most: int = REFERENCE_ROWS) -> Reference:
        """Some of these rows; a stream is read for it.

        Args:
          train: What the model learned.
          valid: What it was validated and calibrated on.
          schema: Of the encoder.
          most: At most so many of each.
        """
        columns = list(schema.columns)
        return cls(*(sampled(part, schema, most)[columns] for part in (train, valid)))

    def write(self, directory: Path) -> None:
        """Writes `reference_train.parquet`, if there are such rows, and `reference_valid.parquet`."""
        for name, rows in self._parts().items():
            rows.to_parquet(_path(directory, name))

    @classmethod
    def load(cls, directory: str | Path) -> Reference:
        """Reads what `write` wrote.

        Raises:
          InputError: The folder has no such rows, as one that an older version of this package wrote, or they are
            damaged.
        """
        folder = local_path(directory)
        if not _path(folder, "valid").exists():
            raise InputError(
                f"'{directory}' has no reference rows ({_path(folder, 'valid').name}), which later rows are compared "
                "with: train it again; `htlnet train` writes them, and `htlnet_tf.save_run` with `reference=`"
            )
        return cls(_read(folder, "train") if _path(folder, "train").exists() else None, _read(folder, "valid"))

    def _parts(self) -> dict[str, pd.DataFrame]:
        return {"valid": self.valid} if self.train is None else {"train": self.train, "valid": self.valid}


def _path(folder: Path, part: str) -> Path:
    return folder / f"reference_{part}.parquet"


def _read(folder: Path, part: str) -> pd.DataFrame:
    try:
        return pd.read_parquet(_path(folder, part))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read '{_path(folder, part)}': {error}") from error
