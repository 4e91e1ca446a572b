"""Which days a run has learned, and from which runs it comes."""

from __future__ import annotations

import hashlib
from datetime import datetime, timezone
from pathlib import Path

from htlnet_tf.files import local_path
from htlnet_tf.manifest import require_intact
from htlnet_tf.page.facts import RunFacts
from htlnet_tf.page.lineage import LearnedDay, Lineage, Parent

LINEAGE = "lineage.json"

# What the scores of a run and its further training depend on.
_DIGESTED = ("config.yaml", "encoder.json", "calibration.json", "weights")
_CHUNK = 2**22


def load_lineage(directory: str | Path) -> Lineage | None:
    """The days of a run folder; None if it has had no further ones.

    Raises:
      InputError: The file is damaged.
    """
    require_intact(directory, LINEAGE)
    return Lineage.load(local_path(directory) / LINEAGE)


def lineage_before(directory: str | Path, *, rows: int, embedding_rows: int, data: str | None) -> Lineage:
    """As `load_lineage`, of a run without further days what its folder tells of the first training.

    Args:
      directory: The run folder.
      rows: That it was trained on.
      embedding_rows: That it has.
      data: Where its rows came from.
    """
    folder = local_path(directory)
    found = load_lineage(folder)
    if found is not None:
        return found
    facts = RunFacts.load(folder / "page.json")
    made_at = None if facts is None else facts.made_at
    return Lineage((LearnedDay("train", rows, made_at=made_at, data=data, embedding_rows=embedding_rows),))


def parent_of(directory: str | Path) -> Parent:
    """A run folder by its path and what is in it."""
    return Parent(str(local_path(directory).resolve()), run_digest(directory))


def run_digest(directory: str | Path) -> str:
    """SHA-256, in hex, of a run folder's configuration, encoder, calibration and weights."""
    folder = local_path(directory).resolve()
    digest = hashlib.sha256()
    for name in _DIGESTED:
        path = folder / name
        for file in sorted(path.iterdir()) if path.is_dir() else [path] if path.exists() else []:
            digest.update(f"{file.relative_to(folder)}\0{file.stat().st_size}\0".encode())
            with file.open("rb") as opened:
                while chunk := opened.read(_CHUNK):
                    digest.update(chunk)
    return digest.hexdigest()


def now() -> str:
    """ISO 8601 in UTC, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
