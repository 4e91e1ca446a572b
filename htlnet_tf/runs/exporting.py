"""A run folder -> a version of a servable."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from htlnet_tf.errors import InputError
from htlnet_tf.files import local_path
from htlnet_tf.runs.folder import load_run
from htlnet_tf.runs.lineage import load_lineage, run_digest

if TYPE_CHECKING:
    from htlnet_tf.export import ExportedVersion

Format = Literal["servable", "onnx"]


def export_run(
    directory: str | Path,
    path: str | Path,
    *,
    format: Format = "servable",
    warmup_rows: Sequence[int] | None = None,
    warmup_signatures: Sequence[str] | None = None,
    keep: int | None = None,
    measure_latency: bool = False,
    once: bool = False,
    write: Callable[[str], None] | None = None,
) -> ExportedVersion:
    """Exports a run's model under the next version number of `path`, verified on the run's held-out rows if any.

    The training summary gets what the run folder has: the training's settings, the test metrics, the rule that split
    the rows, and where they came from.

    Args:
      directory: The run folder.
      path: The model's directory: `models/htlnet`.
      format: `"servable"`, for TensorFlow Serving, or `"onnx"`, see `export_onnx`; that has no warm-up.
      warmup_rows: As for `htlnet_tf.export.export_model`, as the following. None: the usual sizes.
      warmup_signatures: Signatures to warm up; None: all.
      keep: Remove the oldest versions that no label names, but none of the newest so many.
      measure_latency: Time every signature with 1, 100 and 500 rows.
      once: If `path` has a version that this very run was exported as, the latest of those is given, and nothing is
        exported: a scheduler's step that was killed behind its work does not do it twice.
      write: Where a line per stage goes, with its seconds; None: nowhere.

    Raises:
      InputError: `directory` is no run folder or is damaged, or `path` cannot be written to; or the format is none.
      VerificationError: The exported model gives other scores; nothing is published.
    """
    from htlnet_tf.export import export_model, export_onnx
    from htlnet_tf.export.stages import Stages
    from htlnet_tf.export.warmup import WARMUP_ROWS
    from htlnet_tf.serving.onnx.folder import ONNX_FOLDER

    if format not in get_args(Format):
        raise InputError(f"the format must be one of {list(get_args(Format))}, received {format!r}")
    folder, digest = local_path(directory), run_digest(directory)
    versions_in = local_path(path) / ONNX_FOLDER if format == "onnx" else path
    if once and (found := exported_before(versions_in, digest)) is not None:
        return found
    with Stages(write).stage("build the model"):
        run = load_run(directory)
    summary: dict[str, Any] = {"run_sha256": digest}
    if run.report is not None:
        summary["test_metrics"] = run.report.to_dict()
    if (folder / "history.csv").exists():  # of a model that was trained elsewhere, this is not known
        summary |= {"training": dataclasses.asdict(run.config.training), "source": dataclasses.asdict(run.config.data)}
        lineage = load_lineage(folder)
        if lineage is not None:
            summary["lineage"] = lineage.to_dict()
        # A run folder of an older version of this package has no rule.
        summary["split"] = None if run.split is None else run.split.to_dict()
    if format == "onnx":
        return export_onnx(
            run.model,
            path,
            rows=run.held_out,
            summary=summary,
            keep=keep,
            measure_latency=measure_latency,
            write=write,
        )
    return export_model(
        run.model,
        path,
        rows=run.held_out,
        summary=summary,
        warmup_rows=WARMUP_ROWS if warmup_rows is None else warmup_rows,
        warmup_signatures=warmup_signatures,
        keep=keep,
        measure_latency=measure_latency,
        write=write,
    )


def exported_before(path: str | Path, digest: str) -> ExportedVersion | None:
    """The latest version that a run was exported as; None if there is none.

    Args:
      path: The model's directory.
      digest: Of the run, `htlnet_tf.runs.lineage.run_digest`.

    Raises:
      InputError: A training summary is damaged.
    """
    from htlnet_tf.export.publish import ExportedVersion
    from htlnet_tf.export.verify import VerificationReport
    from htlnet_tf.export.version_folders import versions
    from htlnet_tf.export.versions import read_summary

    for version, found in sorted(versions(local_path(path)).items(), reverse=True):
        summary = read_summary(found)
        if summary.get("run_sha256") == digest:
            return ExportedVersion(found, version, VerificationReport.from_dict(summary["verification"]))
    return None
