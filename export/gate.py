"""Whether a version may have a label: judged on rows against the version that has it, both as they are served."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from htlnet_tf.data.raw_features import raw_features
from htlnet_tf.data.score_frame import score_frame
from htlnet_tf.data.stream import open_stream
from htlnet_tf.data.users import read_users
from htlnet_tf.errors import InputError, VerificationError
from htlnet_tf.export.models_config import read_config
from htlnet_tf.export.version_folders import model_names, versions
from htlnet_tf.files import local_path
from htlnet_tf.judging.gate import GateReport, gate, require_same_targets
from htlnet_tf.judging.gate_settings import GateSettings
from htlnet_tf.manifest import require_intact
from htlnet_tf.schema import Schema
from htlnet_tf.serving.errors import StatusError
from htlnet_tf.serving.server.servables import LoadedVersion
from htlnet_tf.serving.signatures import DEFAULT_SIGNATURE

_SCHEMA = Path("assets.extra") / "schema.yaml"
_ROWS_PER_CALL = 4096


def gate_version(
    models: str | Path,
    name: str,
    version: int,
    rows: pd.DataFrame | str | Path,
    *,
    label: str = "stable",
    settings: GateSettings | None = None,
) -> GateReport | None:
    """Compares a version with the one that a label names, by the scores that a server would give.

    Args:
      models: The MODELS folder.
      name: Model name.
      version: The version that is to be named.
      rows: Rows with labels, all of which are judged: a frame, or files, read by the schema that each version brings.
      label: The label.
      settings: Margins and interval.

    Returns:
      The report; None where there is nothing to compare with, as the label names no version, or this one already.

    Raises:
      InputError: There is no such version, one has a file that is not as it was written or was exported without its
        schema, they predict other targets, or the rows are not usable.
      VerificationError: A version cannot be loaded, or fails.
    """
    folder = local_path(models)
    if not folder.is_dir() or name not in model_names(folder):
        raise InputError(f"'{models}' has no model '{name}'")
    found = versions(folder / name)
    stable = read_config(folder).labels(name).get(label)
    if stable is None or stable == version:
        return None
    for number in (version, stable):
        if number not in found:
            raise InputError(f"model '{name}' has no version {number} in '{folder / name}'; there are {list(found)}")
    schemas = {number: _schema(found[number]) for number in (version, stable)}
    require_same_targets(schemas[version], schemas[stable])
    frames = {number: _frame(rows, schema) for number, schema in schemas.items()}
    scores = {number: _scores(found[number], schemas[number], frames[number]) for number in frames}
    mine = frames[version]
    return gate(
        schemas[version],
        mine,
        scores[version],
        scores[stable],
        read_users(mine, schemas[version]),
        settings,
        stable_schema=schemas[stable],
    )


def _schema(version: Path) -> Schema:
    path = version / _SCHEMA
    if not path.is_file():
        raise InputError(f"'{version}' has no {_SCHEMA}: only versions that `htlnet export` wrote can be compared")
    return Schema.from_yaml(path)


def _frame(rows: pd.DataFrame | str | Path, schema: Schema) -> pd.DataFrame:
    if isinstance(rows, pd.DataFrame):
        return rows.reset_index(drop=True)
    return pd.concat(list(open_stream(rows, schema)), ignore_index=True)


def _scores(version: Path, schema: Schema, frame: pd.DataFrame) -> pd.DataFrame:
    require_intact(version)
    try:
        servable = LoadedVersion(version)
        try:
            raw = {name: _as_fed(column) for name, column in raw_features(frame, schema).items()}
            parts = [
                servable.run(
                    DEFAULT_SIGNATURE, {name: column[at : at + _ROWS_PER_CALL] for name, column in raw.items()}
                )
                for at in range(0, len(frame), _ROWS_PER_CALL)
            ]
        finally:
            servable.close()
    except StatusError as error:
        raise VerificationError(f"'{version}' does not score the rows: {error}") from error
    outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return score_frame(schema, outputs, frame.index)


def _as_fed(column: np.ndarray) -> np.ndarray:
    """Text as the bytes that a graph takes."""
    if column.dtype != object:
        return column
    return np.array([value.encode() for value in column], object)
