"""What a version tells of its training: `assets.extra/training_summary.json`."""

from __future__ import annotations

import importlib.metadata
import subprocess
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from htlnet_tf.models.scoring_model import ScoringModel
from htlnet_tf.objectives import declared

_PACKAGES = (
    *("htlnet-tf", "tensorflow", "tf-keras", "tensorflow-recommenders", "tensorflow-serving-api"),
    *("numpy", "pandas", "pyarrow", "protobuf"),
)
_HASHED = (
    "encoder.json: the schema and what was counted on the training rows (vocabularies, moments, quantile bounds, "
    "number of rows); not the rows themselves"
)


def training_summary(model: ScoringModel, summary: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The summary of a model.

    Args:
      model: A trained model.
      summary: Added to it, and in place of entries of the same name.
    """
    statistics, core = model.encoder.statistics, model.schema.core
    return {
        "model": model.title,
        "exported_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "parameters": int(sum(np.prod(w.shape) for w in model.trainable_variables)),
        "training_rows": statistics.num_rows,
        "data": {"sha256": model.encoder.digest(), "hashed": _HASHED},
        "core": {
            "name": core.name,
            "objective": declared(core.learned_by),
            "mean": statistics.labels[core.name].mean,
            "std": statistics.labels[core.name].std,
        },
        "calibration": None if model.calibration is None else model.calibration.to_dict(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "git": git_revision(Path.cwd()),
        **(summary or {}),
    }


def git_revision(folder: Path) -> dict[str, Any] | None:
    """Commit of the git working tree around a folder, and whether files that git tracks differ from it.

    Returns:
      `{"revision": ..., "modified": ...}`; None outside of a working tree, without a commit, or without git.
    """
    try:
        revision = _git(folder, "rev-parse", "HEAD")
        modified = bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None
    return {"revision": revision, "modified": modified}


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True, timeout=10)
    return done.stdout.strip()
