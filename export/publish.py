"""Exports a trained model: built aside, verified, and published as a version folder."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from htlnet_tf.data.raw_features import raw_features
from htlnet_tf.errors import InputError
from htlnet_tf.export import version_folders
from htlnet_tf.export.models_config import locked_config, read_config
from htlnet_tf.export.probes import probe_rows
from htlnet_tf.export.servable import Servable
from htlnet_tf.export.stages import Stages
from htlnet_tf.export.summary import training_summary
from htlnet_tf.export.verify import VerificationReport, verify
from htlnet_tf.export.warmup import WARMUP_ROWS, require_warmup, write_warmup
from htlnet_tf.files import checkpoint_path, local_path
from htlnet_tf.manifest import SUMS_OF_VERSION, write_manifest
from htlnet_tf.models.scoring_model import ScoringModel
from htlnet_tf.serving.server.warmup import WARMUP_FILE


@dataclasses.dataclass(frozen=True)
class ExportedVersion:
    """What was published.

    Attributes:
      path: The version directory.
      version: Its number.
      report: What the verification found and measured.
      removed: Older versions that were removed.
    """

    path: Path
    version: int
    report: VerificationReport
    removed: tuple[int, ...] = ()

    @property
    def verified_rows(self) -> int:
        """Rows on which the exported scores were compared with the model's."""
        return self.report.rows

    @property
    def largest_difference(self) -> float:
        """The largest difference found there; see `htlnet_tf.export.verify`."""
        return self.report.largest_difference


def export_model(
    model: ScoringModel,
    path: str | Path,
    *,
    rows: pd.DataFrame | None = None,
    summary: Mapping[str, Any] | None = None,
    warmup_rows: Sequence[int] = WARMUP_ROWS,
    warmup_signatures: Sequence[str] | None = None,
    keep: int | None = None,
    measure_latency: bool = False,
    write: Callable[[str], None] | None = None,
) -> ExportedVersion:
    """Exports a model under the next version number.

    The SavedModel is written beside its destination, loaded again as Python and as TensorFlow Serving load it, and all
    its signatures must give the trained model's scores before it appears as `path/<version>/`. `assets.extra/` holds
    `schema.yaml`, `training_summary.json` and `tf_serving_warmup_requests`.

    Args:
      model: A trained model.
      path: The model's directory, one of whose children becomes the version: `models/htlnet`.
      rows: Held-out rows to compare scores on and to make warm-up requests of. Rows made from the vocabularies, with
        unknown and missing values, are always compared too.
      summary: Added to the training summary, e.g. test metrics.
      warmup_rows: Rows per warm-up request: the batch sizes that will be served. Empty: no warm-up.
      warmup_signatures: Signatures to warm up; None: all. A server with `--enable_batching` refuses a version over a
        request for `candidates` or `exceedance` (whose inputs differ in length) or of more rows than its
        `max_batch_size`.
      keep: Remove the oldest versions, but none of the newest so many, none that a label in `MODELS/models.config`
        names, and none that a rollback would go back to. Labels in another file are not seen.
      measure_latency: Time every signature with 1, 100 and 500 rows; the report and the training summary then tell.
      write: Where a line per stage goes, with its seconds: tracing and verifying of each signature, writing, loading.
        None: nowhere.

    Returns:
      Where the version is and how it was verified.

    Raises:
      InputError: `path` or a parent is a file or cannot be written to; a column is missing in `rows`; a warm-up request
        is not possible; `keep` is below 1.
      VerificationError: The exported model gives other scores or fails; nothing is published.
    """
    base = checkpoint_path(path)
    if keep is not None and keep < 1:
        raise InputError(f"keep must be at least 1, the version that is exported; received {keep}")
    warmed = require_warmup(model.schema, warmup_rows, warmup_signatures)
    probes: dict[str, np.ndarray] = probe_rows(model.encoder)
    held_out = probes
    if rows is not None:
        held_out = raw_features(rows, model.schema)
        probes = {name: np.concatenate([probes[name], held_out[name]]) for name in probes}
    if keep is not None:
        read_config(base.parent)  # a damaged one is told before anything is built
    stages = Stages(write)
    with version_folders.staged(base) as stage:
        servable = Servable(model, stages)
        with stages.stage("write"):
            servable.save(stage)
        extra = stage / "assets.extra"
        extra.mkdir()
        model.schema.to_yaml(extra / "schema.yaml")
        if warmup_rows and warmed:
            write_warmup(stage / WARMUP_FILE, model.encoder, base.name, held_out, warmup_rows, warmed)
        report = verify(model, stage, probes, measure_latency=measure_latency, stages=stages)
        document = training_summary(model, summary) | {"verification": report.to_dict()}
        (extra / version_folders.SUMMARY_FILE).write_text(
            json.dumps(document, indent=2, allow_nan=False), encoding="utf-8"
        )
        write_manifest(stage, SUMS_OF_VERSION)
        final = version_folders.publish(stage, base)
    removed: list[int] = []
    if keep is not None:
        # No label is moved while its version is being removed.
        with locked_config(base.parent) as config:
            removed = version_folders.remove_old(base, keep, config.in_use(base.name))
    return ExportedVersion(final, int(final.name), report, tuple(removed))


def model_directory(models: str | Path, name: str) -> Path:
    """The directory of a model in a folder of models, as TF Serving wants it: `MODELS/NAME`.

    Raises:
      InputError: The name is no plain folder name.
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*", name) or name.isdigit():
        raise InputError(f"a model's name is letters, digits, '_', '-' and '.', not only digits; received {name!r}")
    return local_path(models) / name
