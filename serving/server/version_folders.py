"""The version folders of a model."""

from __future__ import annotations

from pathlib import Path

MAX_VERSION = 2**63 - 1


def version_folders(path: Path) -> dict[int, Path]:
    """Finds the version folders of a model.

    Args:
      path: The model's folder.

    Returns:
      Version -> folder, for every folder whose whole name is a number that fits int64 (`00000007` is 7); other entries
      are ignored. Source: TF Serving, sources/storage_path/file_system_storage_path_source.cc.
    """
    return {
        int(entry.name): entry
        for entry in sorted(path.iterdir())
        if entry.name.isascii() and entry.name.isdigit() and int(entry.name) <= MAX_VERSION and entry.is_dir()
    }
