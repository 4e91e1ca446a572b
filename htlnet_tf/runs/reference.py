"""The rows of the training that travel with a run, for later rows to be compared with."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd

from htlnet_tf.data.sampling import sampled
from htlnet_tf.encoding.encoded import Rows
from htlnet_tf.encoding.encoder import FeatureEncoder
from htlnet_tf.errors import InputError
from htlnet_tf.files import local_path
from htlnet_tf.judging.first_met import first_met
from htlnet_tf.manifest import require_intact
from htlnet_tf.schema import Schema

REFERENCE_ROWS = 10_000
"""At most so many of each part: some megabytes."""


_PARTS = ("train", "valid", "met")


@dataclasses.dataclass(frozen=True)
class Reference:
    """Some raw rows of the training, evenly from the first to the last, with the schema's columns.

    Attributes:
      train: Of the training rows; None where the run was written without.
      valid: Of the validation rows.
      met: Of these, `htlnet_tf.judging.first_met.first_met` with the encoder that they were new to, if the run's has
        grown by them.
    """

    train: pd.DataFrame | None
    valid: pd.DataFrame
    met: pd.DataFrame | None = None

    @classmethod
    def of(
        cls,
        train: Rows,
        valid: Rows,
        schema: Schema,
        most: int = REFERENCE_ROWS,
        *,
        before: FeatureEncoder | None = None,
    ) -> Reference:
        """Some of these rows; a stream is read for it.

        Args:
          train: What the model learned.
          valid: What it was validated and calibrated on.
          schema: Of the encoder.
          most: At most so many of each.
          before: The encoder that has not grown by these rows, where the run's has.
        """
        columns = list(schema.columns)
        learned, validated = (sampled(part, schema, most)[columns] for part in (train, valid))
        return cls(learned, validated, None if before is None else first_met(before, validated))

    def write(self, directory: Path) -> None:
        """Writes `reference_valid.parquet`, and what there is of `reference_train.parquet`, `reference_met.parquet`."""
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
        require_intact(folder, *(_path(folder, part).name for part in _PARTS))
        if not _path(folder, "valid").exists():
            raise InputError(
                f"'{directory}' has no reference rows ({_path(folder, 'valid').name}), which later rows are compared "
                "with: train it again; `htlnet train` writes them, and `htlnet_tf.save_run` with `reference=`"
            )
        found = {name: _read(folder, name) for name in _PARTS if _path(folder, name).exists()}
        if "met" in found and len(found["met"]) != len(found["valid"]):
            raise InputError(f"'{_path(folder, 'met')}' has other rows than '{_path(folder, 'valid').name}'")
        return cls(found.get("train"), found["valid"], found.get("met"))

    def _parts(self) -> dict[str, pd.DataFrame]:
        parts = {name: getattr(self, name) for name in _PARTS}
        return {name: rows for name, rows in parts.items() if rows is not None}


def _path(folder: Path, part: str) -> Path:
    return folder / f"reference_{part}.parquet"


def _read(folder: Path, part: str) -> pd.DataFrame:
    try:
        return pd.read_parquet(_path(folder, part))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read '{_path(folder, part)}': {error}") from error
