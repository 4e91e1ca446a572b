"""The version folders of one model: staged, numbered, made visible by a rename, and removed; no TensorFlow in here."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Collection, Iterator
from pathlib import Path

from htlnet_tf import locks
from htlnet_tf.errors import InputError
from htlnet_tf.files import atomic_file, flush, flush_names
from htlnet_tf.serving.server.version_folders import MAX_VERSION, version_folders

LOCK_FILE = ".lock"
SUMMARY_FILE = "training_summary.json"
LAST_VERSION_FILE = ".last_version"
_OWNER_FILE = "owner"


def versions(base: Path) -> dict[int, Path]:
    """The version folders of a model as the server finds them, oldest first; none if the model has no folder."""
    return dict(sorted(version_folders(base).items())) if base.is_dir() else {}


@contextlib.contextmanager
def staged(base: Path) -> Iterator[Path]:
    """Yields an empty folder to build a version in, on the file system of the model's folder.

    Its name starts with a dot, so no server takes it for a version. It is gone afterwards; what a killed exporter left
    is removed by the next one, which knows it by the lock that its owner no longer holds.

    Args:
      base: The model's folder, created if need be.

    Raises:
      InputError: `base` or a parent is a file or cannot be written to.
    """
    for existing in (base, *base.parents):
        if existing.exists() and not existing.is_dir():
            raise InputError(f"cannot export to '{base}': '{existing}' is a file, a directory is needed")
    stage = base / f".{uuid.uuid4().hex}.partial"
    try:
        base.mkdir(parents=True, exist_ok=True)
        # Both under the lock: nobody must see a stage whose owner does not hold it yet.
        with locks.exclusive(base / LOCK_FILE):
            _clean(base)
            stage.mkdir()
            owner = locks.hold(stage / _OWNER_FILE)
    except OSError as error:
        raise InputError(f"cannot write to '{base}': {error.strerror or error}") from error
    try:
        content = stage / "version"
        content.mkdir()
        yield content
    finally:
        os.close(owner)  # first: NFS keeps a deleted file's entry while it is open
        shutil.rmtree(stage, ignore_errors=True)


def publish(content: Path, base: Path) -> Path:
    """Renames a complete version to the next number, higher than every one that the folder has ever had.

    The highest number is kept in `.last_version`, so that a number is not used again after its folder was removed: a
    server never retries one. It is written before the rename; an exporter that is killed in between skips a number.
    Should two hosts miss each other's lock (see `locks`), the rename to a folder that exists fails, and the second one
    takes the next number.

    Args:
      content: The version, on the same file system.
      base: The model's folder.

    Returns:
      The version's folder.
    """
    flush(content)
    with locks.exclusive(base / LOCK_FILE):
        while True:
            taken = [int(child.name) for child in base.iterdir() if child.name.isascii() and child.name.isdigit()]
            number = max(_last_version(base), *taken, 0) + 1
            if number > MAX_VERSION:
                raise InputError(f"version numbers end at {MAX_VERSION}, and '{base}' has used that one")
            with atomic_file(base / LAST_VERSION_FILE) as partial:
                partial.write_text(f"{number}\n", encoding="ascii")
            try:
                final = content.rename(base / str(number))
                flush_names(base)
                return final
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise


def model_names(models: Path) -> list[str]:
    """The models of a MODELS folder: its folders that have a version, sorted."""
    return sorted(entry.name for entry in models.iterdir() if entry.is_dir() and versions(entry))


def remove_old(base: Path, keep: int, labelled: Collection[int]) -> list[int]:
    """Removes the oldest versions beyond a number to keep; each vanishes by a rename before it is deleted.

    Args:
      base: The model's folder.
      keep: The newest so many stay, at least one.
      labelled: Versions that stay because a label names them.

    Returns:
      The removed versions.
    """
    with locks.exclusive(base / LOCK_FILE):
        found = versions(base)
        removed = [number for number in list(found)[:-keep] if number not in labelled]
        hidden = [base / f".{number}.{uuid.uuid4().hex}.removed" for number in removed]
        for number, path in zip(removed, hidden, strict=True):
            found[number].rename(path)
    for path in hidden:
        shutil.rmtree(path, ignore_errors=True)
    return removed


def _last_version(base: Path) -> int:
    path = base / LAST_VERSION_FILE
    try:
        return int(path.read_text(encoding="ascii"))
    except FileNotFoundError:
        return 0
    except (OSError, ValueError) as error:
        raise InputError(
            f"'{path}' must hold the highest version number ever used in '{base}'; {error}. Write that number into it"
        ) from error


def _clean(base: Path) -> None:
    """Removes what killed processes left."""
    for path in base.glob(".*.removed"):
        shutil.rmtree(path, ignore_errors=True)
    for path in base.glob(".*.partial"):
        if path.is_dir() and not locks.is_held(path / _OWNER_FILE):
            shutil.rmtree(path, ignore_errors=True)
        elif path.is_file():  # of `.last_version`, which is only written under the lock that is held here
            path.unlink(missing_ok=True)
