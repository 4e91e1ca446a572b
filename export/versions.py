"""The versions in a MODELS folder, with what is known of each."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from htlnet_tf.errors import InputError
from htlnet_tf.export import version_folders
from htlnet_tf.export.models_config import read_config
from htlnet_tf.export.promotion import promote, rollback
from htlnet_tf.files import local_path
from htlnet_tf.text_tables import aligned

__all__ = ["VersionInfo", "list_versions", "promote", "rollback", "to_text"]

_SUMMARY = Path("assets.extra") / version_folders.SUMMARY_FILE
_SHOWN = ("auc", "accuracy", "nrmse")


@dataclasses.dataclass(frozen=True)
class VersionInfo:
    """One version of a model.

    Attributes:
      model: The model's name.
      version: Its number.
      path: Its folder.
      exported_at: When it was exported, with a time zone; None if it has no training summary.
      labels: What `models.config` calls it.
      metrics: By target and metric, on the test rows; None where a metric is undefined.
      size_bytes: Of its files.
      training_rows: Rows that the model was trained on; None if that is not known.
    """

    model: str
    version: int
    path: Path
    exported_at: datetime | None
    labels: tuple[str, ...]
    metrics: dict[str, dict[str, float | None]]
    size_bytes: int
    training_rows: int | None

    @property
    def age(self) -> timedelta | None:
        """Time since the export."""
        return None if self.exported_at is None else datetime.now(timezone.utc) - self.exported_at

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the age is in seconds."""
        age = self.age
        return dataclasses.asdict(self) | {
            "path": str(self.path),
            "labels": list(self.labels),
            "exported_at": None if self.exported_at is None else self.exported_at.isoformat(),
            "age_seconds": None if age is None else round(age.total_seconds()),
        }


def list_versions(models: str | Path) -> list[VersionInfo]:
    """The versions of all models, by model, newest first.

    A version that another program wrote, without a training summary, is listed with what is known.

    Args:
      models: The MODELS folder.

    Raises:
      InputError: It is no folder, or a training summary or `models.config` is damaged.
    """
    folder = local_path(models)
    if not folder.is_dir():
        raise InputError(f"MODELS must be a folder with one folder per model name; '{folder}' is none")
    config = read_config(folder)
    infos = []
    for base in sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith(".")):
        labels = config.labels(base.name)
        for version, path in sorted(version_folders.versions(base).items(), reverse=True):
            named = tuple(label for label, labelled in labels.items() if labelled == version)
            infos.append(_info(base.name, version, path, named))
    return infos


def to_text(versions: Sequence[VersionInfo]) -> str:
    """A table for people, with the leading metric of each target."""
    if not versions:
        return "no versions"
    header = ["model", "version", "labels", "age", "training rows", "size", "test metrics"]
    table = [header, *(_cells(info) for info in versions)]
    return aligned(table, left=(0, 2, 6), rule=False)


def _info(model: str, version: int, path: Path, labels: tuple[str, ...]) -> VersionInfo:
    summary = read_summary(path)
    return VersionInfo(
        model=model,
        version=version,
        path=path,
        exported_at=_exported_at(path, summary.get("exported_at")),
        labels=labels,
        metrics=(summary.get("test_metrics") or {}).get("metrics") or {},
        size_bytes=sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
        training_rows=summary.get("training_rows"),
    )


def _exported_at(path: Path, written: Any) -> datetime | None:
    """When a version was exported, in UTC; None if its summary does not say."""
    if written is None:
        return None
    try:
        moment = datetime.fromisoformat(written)
    except (TypeError, ValueError) as error:
        raise InputError(f"'{path / _SUMMARY}': exported_at must be an ISO 8601 time, received {written!r}") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def read_summary(version: Path) -> dict[str, Any]:
    """What a version's folder tells of its training; nothing if another program wrote it.

    Raises:
      InputError: The summary is damaged.
    """
    path = version / _SUMMARY
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read '{path}': {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"'{path}' must hold a JSON object, received {type(found).__name__}")
    return found


def _cells(info: VersionInfo) -> list[str]:
    metrics = [
        f"{target} {metric.upper()} {values[metric]:.4f}"
        for target, values in info.metrics.items()
        for metric in _SHOWN
        if values.get(metric) is not None
    ]
    return [
        info.model,
        str(info.version),
        ", ".join(info.labels) or "-",
        "?" if info.age is None else _age(info.age),
        "?" if info.training_rows is None else f"{info.training_rows:,}",
        f"{info.size_bytes / 1e6:,.1f} MB",
        ", ".join(metrics) or "-",
    ]


def _age(age: timedelta) -> str:
    seconds = int(age.total_seconds())
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
