"""Version directories that appear by an atomic rename, once what is in them has been verified."""

from __future__ import annotations

import dataclasses
import errno
import importlib.metadata
import json
import re
import shutil
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from htlnet_tf.data.raw_features import raw_features
from htlnet_tf.errors import InputError
from htlnet_tf.export.servable import Servable
from htlnet_tf.export.verify import probe_rows, verify
from htlnet_tf.files import staging_directory
from htlnet_tf.models.base import MultiTaskModel

_PACKAGES = ("htlnet-tf", "tensorflow", "tf-keras", "tensorflow-recommenders", "numpy", "pandas")


@dataclasses.dataclass(frozen=True)
class ExportedVersion:
    """What was published.

    Attributes:
      path: The version directory.
      version: Its number.
      verified_rows: Rows on which the exported scores were compared with the model's.
      largest_difference: The largest difference found there; see `htlnet_tf.export.verify`.
    """

    path: Path
    version: int
    verified_rows: int
    largest_difference: float


def export_model(
    model: MultiTaskModel,
    path: str | Path,
    *,
    rows: pd.DataFrame | None = None,
    summary: Mapping[str, Any] | None = None,
) -> ExportedVersion:
    """Exports a model under the next version number.

    The SavedModel is written beside its destination, loaded again as Python and as TensorFlow Serving load it, and must
    give the trained model's scores before it appears as `path/<version>/`. `assets.extra/` holds `schema.yaml` and
    `training_summary.json`.

    Args:
      model: A trained model.
      path: The model's directory, one of whose children becomes the version: `models/htlnet`.
      rows: Held-out rows to compare scores on. Rows made from the vocabularies, with unknown and missing values, are
        always compared too.
      summary: Added to the training summary, e.g. test metrics.

    Returns:
      Where the version is and how it was verified.

    Raises:
      InputError: `path` or a parent is a file or cannot be written to; a column is missing in `rows`.
      VerificationError: The exported model gives other scores; nothing is published.
    """
    base = Path(path)
    for existing in (base, *base.parents):
        if existing.exists() and not existing.is_dir():
            raise InputError(f"cannot export to '{base}': '{existing}' is a file, a directory is needed")
    probes: dict[str, np.ndarray] = probe_rows(model.encoder)
    if rows is not None:
        held_out = raw_features(rows, model.schema)
        probes = {name: np.concatenate([probes[name], held_out[name]]) for name in probes}
    stage = staging_directory(base / "version")
    try:
        Servable(model).save(str(stage))
        extra = stage / "assets.extra"
        extra.mkdir()
        model.schema.to_yaml(extra / "schema.yaml")
        document = json.dumps(_summary(model, summary), indent=2, allow_nan=False)
        (extra / "training_summary.json").write_text(document, encoding="utf-8")
        largest = verify(model, stage, probes)
        final = _publish(stage, base)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return ExportedVersion(final, int(final.name), len(next(iter(probes.values()))), largest)


def model_directory(models: str | Path, name: str) -> Path:
    """The directory of a model in a folder of models, as TF Serving wants it: `MODELS/NAME`.

    Raises:
      InputError: The name is no plain folder name.
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*", name) or name.isdigit():
        raise InputError(f"a model's name is letters, digits, '_', '-' and '.', not only digits; received {name!r}")
    return Path(models) / name


def _publish(stage: Path, base: Path) -> Path:
    while True:
        # As the server reads them: every directory whose whole name is a number, zeros in front or not.
        taken = [int(child.name) for child in base.iterdir() if child.name.isascii() and child.name.isdigit()]
        final = base / str(max(taken, default=0) + 1)
        try:
            return stage.rename(final)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            # Another exporter took the number in the meantime: take the next.


def _summary(model: MultiTaskModel, summary: Mapping[str, Any] | None) -> dict[str, Any]:
    statistics = model.encoder.statistics
    return {
        "model": type(model).__name__,
        "exported_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "parameters": int(sum(np.prod(w.shape) for w in model.trainable_variables)),
        "training_rows": statistics.num_rows,
        "core": {"name": model.schema.core.name, "mean": statistics.core.mean, "std": statistics.core.std},
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        **(summary or {}),
    }
