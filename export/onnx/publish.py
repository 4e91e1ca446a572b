"""Exports a trained model for ONNX Runtime: built aside, verified, and published as a version folder."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from htlnet_tf.data.raw_features import raw_features
from htlnet_tf.errors import InputError
from htlnet_tf.export import version_folders
from htlnet_tf.export.probes import probe_rows
from htlnet_tf.export.publish import ExportedVersion
from htlnet_tf.export.requests import parts, repeated
from htlnet_tf.export.signatures.signature import expected_scores
from htlnet_tf.export.stages import Stages
from htlnet_tf.export.summary import training_summary
from htlnet_tf.export.verify import LATENCY_ROWS, VerificationReport, largest_difference
from htlnet_tf.files import local_path
from htlnet_tf.manifest import SUMS_OF_VERSION, write_manifest
from htlnet_tf.models.scoring_model import ScoringModel
from htlnet_tf.serving.onnx import folder
from htlnet_tf.serving.onnx.scorer import OnnxScorer

_ROWS_PER_CALL = 2048
_CALLS = 5


def export_onnx(
    model: ScoringModel,
    path: str | Path,
    *,
    rows: pd.DataFrame | None = None,
    summary: Mapping[str, Any] | None = None,
    keep: int | None = None,
    measure_latency: bool = False,
    write: Callable[[str], None] | None = None,
) -> ExportedVersion:
    """Exports a model for `htlnet_tf.serving.OnnxScorer`, under the next version number in `path/onnx`.

    TensorFlow Serving, and whatever lists a model's servables, does not see that folder. It is written beside its
    destination, loaded, and must give the trained model's scores before it appears. It has `model.onnx`, a graph of
    numbers; `model.onnx.data`, the embedding tables; `encoder.json` and `tables/`, how text becomes their rows; and
    `assets.extra/` with `schema.yaml` and `training_summary.json`.

    Args:
      model: A trained model, or an ensemble.
      path: The model's directory, `models/htlnet`.
      rows: Held-out rows to compare scores on. Rows made from the vocabularies are always compared too.
      summary: Added to the training summary, e.g. test metrics.
      keep: Remove the oldest versions in `path/onnx`, but none of the newest so many.
      measure_latency: Time 1, 100 and 500 rows with one thread; the report and the training summary then tell.
      write: Where a line per stage goes, with its seconds; None: nowhere.

    Returns:
      Where the version is and how it was verified.

    Raises:
      InputError: tf2onnx, onnx or onnxruntime is not installed; the model needs what ONNX has no operators for; `path`
        or a parent is a file or cannot be written to; a column is missing in `rows`; `keep` is below 1.
      VerificationError: The exported model gives other scores; nothing is published.
    """
    _require_packages()
    from htlnet_tf.export.onnx.graph import save_graph
    from htlnet_tf.export.onnx.tables import save_tables

    if keep is not None and keep < 1:
        raise InputError(f"keep must be at least 1, the version that is exported; received {keep}")
    base = local_path(path) / folder.ONNX_FOLDER
    probes: dict[str, np.ndarray] = probe_rows(model.encoder)
    if rows is not None:
        held_out = raw_features(rows, model.schema)
        probes = {name: np.concatenate([probes[name], held_out[name]]) for name in probes}
    stages = Stages(write)
    with version_folders.staged(base) as stage:
        extra = stage / "assets.extra"
        extra.mkdir()
        # With everything settled: what a column's dtype is cannot be seen from a request.
        model.encoder.schema.with_outputs_of(model.schema).to_yaml(stage / folder.SCHEMA_FILE)
        with stages.stage("trace and write the graph"):
            save_graph(model, stage)
        with stages.stage("write the lookup tables"):
            lookups = save_tables(model.encoder, stage)
        files = {str(p.relative_to(stage)): p.stat().st_size for p in sorted(stage.rglob("*")) if p.is_file()}
        document = folder.Document(lookups, files)
        (stage / folder.DOCUMENT_FILE).write_text(document.to_json(), encoding="utf-8")
        with stages.stage("verify"):
            report = _verify(model, stage, probes, measure_latency)
        told = training_summary(model, summary) | {"verification": report.to_dict()}
        (extra / version_folders.SUMMARY_FILE).write_text(json.dumps(told, indent=2, allow_nan=False), encoding="utf-8")
        write_manifest(stage, SUMS_OF_VERSION)
        final = version_folders.publish(stage, base)
    removed = [] if keep is None else version_folders.remove_old(base, keep, ())
    return ExportedVersion(final, int(final.name), report, tuple(removed))


def _require_packages() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import tf2onnx  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"the format onnx needs {error.name}, which is not installed: pip install 'htlnet-tf[onnx]'"
        ) from error


def _verify(model: ScoringModel, stage: Path, rows: dict[str, np.ndarray], measure_latency: bool) -> VerificationReport:
    start = time.perf_counter()
    scorer = OnnxScorer(stage)
    seconds = time.perf_counter() - start
    largest = 0.0
    for first, part in parts(rows, _ROWS_PER_CALL):
        largest = max(largest, largest_difference("onnx", scorer.scores(part), expected_scores(model, part), first))
    latency = {}
    if measure_latency:
        latency = {"onnx": {size: _milliseconds(scorer, repeated(rows, size)) for size in LATENCY_ROWS}}
    size = sum(path.stat().st_size for path in stage.rglob("*") if path.is_file())
    count = len(next(iter(rows.values())))
    return VerificationReport(count, largest, 0, size, {"onnxruntime": seconds}, latency)


def _milliseconds(scorer: OnnxScorer, rows: Mapping[str, np.ndarray]) -> float:
    times = []
    for _ in range(_CALLS + 1):
        start = time.perf_counter()
        scorer.scores(rows)
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times[1:])
