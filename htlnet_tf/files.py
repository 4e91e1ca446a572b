"""Paths as users write them, and outputs that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from htlnet_tf import locks
from htlnet_tf.errors import InputError

_OWNER_FILE = "owner"


def local_path(path: str | os.PathLike[str]) -> Path:
    """A path that a user gave, with `~` and `~name` at its beginning expanded as a shell does.

    Every path that comes from outside goes through here once, so that Python, configurations and the command line mean
    the same by it.

    Raises:
      InputError: The home folder is not known.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InputError(f"'{path}': the home folder that it begins with is not known") from error


def checkpoint_path(path: str | os.PathLike[str]) -> Path:
    """As `local_path`, of a folder for weights or a SavedModel.

    TensorFlow, in Python and in Serving, takes the path of weights for a pattern when it reads them, in which brackets
    and backslashes mean something else: what it has written there it does not find again.

    Raises:
      InputError: There is such a character in the path.
    """
    found = next((character for character in str(path) if character in "[]\\"), None)
    if found is not None:
        raise InputError(
            f"'{path}' has a '{found}' in it: TensorFlow could not read the weights there, since it takes '[', ']' and "
            "'\\' in their path for a pattern; name it without"
        )
    return local_path(path)


@contextlib.contextmanager
def atomic_directory(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yields a staging directory that becomes `path` when the block ends well, and is removed when it does not.

    It stands beside `path`; its name starts with a dot and is no number, so TensorFlow Serving never takes it for a
    version. What a killed process has left there is removed by the next one that writes to the same path, which knows
    it by the lock that its owner no longer holds.

    Args:
      path: The directory to create; it may exist and be empty.
      overwrite: Replace an existing directory; the old one stays until the new one is complete.

    Raises:
      InputError: `path` is a file, or has something in it and `overwrite` is False; or its parent cannot be written to.
    """
    final = local_path(path)
    _remove_abandoned(final)
    require_free(final, overwrite=overwrite)
    stage, owner = _stage(final)
    content, old = stage / "content", stage / "old"
    try:
        content.mkdir()
        yield content
        flush(content)
        if overwrite and final.is_dir():
            final.rename(old)
        try:
            content.rename(final)
        except OSError as error:
            if old.is_dir():
                old.rename(final)
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY):  # somebody else wrote there in the meantime
                require_free(final, overwrite=overwrite)
            raise InputError(f"cannot write '{final}': {error.strerror or error}") from error
        flush_names(final.parent)
    finally:
        if owner is not None:
            os.close(owner)  # first: NFS keeps a deleted file's entry while it is open
        shutil.rmtree(stage, ignore_errors=True)


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder that becomes `path` when the block ends well.

    What a killed process has left is removed as in `atomic_directory`.

    Raises:
      InputError: The folder cannot be created or the file cannot be written.
    """
    final = local_path(path)
    partial, owner = _beside(final, "partial"), None
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(final)
        owner = _held(partial)
        yield partial
        if partial.exists():  # what nothing was written to is told by the rename
            flush(partial)
        partial.replace(final)
        flush_names(final.parent)
    except OSError as error:
        raise InputError(f"cannot write '{final}': {error.strerror or error}") from error
    finally:
        if owner is not None:
            os.close(owner)
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Has a file, or all files below a folder, on the disk: a rename may survive a power cut that contents do not.

    Raises:
      OSError: The disk does not take them.
    """
    folders = [path] if path.is_dir() else []
    for entry in [path] if path.is_file() else sorted(path.rglob("*")):
        if entry.is_dir():
            folders.append(entry)
            continue
        descriptor = os.open(entry, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    for folder in folders:
        flush_names(folder)


def flush_names(folder: Path) -> None:
    """Has on the disk what is in a folder by name, a rename say, where the system and its file systems can."""
    with contextlib.suppress(OSError):  # folders cannot be opened on Windows, nor flushed on some network disks
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def require_free(path: str | Path, *, overwrite: bool = False) -> None:
    """Checks that `atomic_directory` may create a directory.

    Args:
      path: As for `atomic_directory`, as the following.
      overwrite: Replace an existing directory.

    Raises:
      InputError: It is a file, or has something in it and `overwrite` is False.
    """
    final = local_path(path)
    if final.exists() and not final.is_dir():
        raise InputError(f"'{final}' is a file; a directory is needed")
    if final.is_dir() and any(final.iterdir()) and not overwrite:
        raise InputError(f"'{final}' exists already; name another directory or ask to overwrite it (--overwrite)")


def _stage(final: Path) -> tuple[Path, int | None]:
    """A directory beside `final` and the descriptor that holds its lock, None where there are no locks."""
    new, stage = _beside(final, "new"), _beside(final, "partial")
    try:
        new.mkdir(parents=True)
        owner = _held(new / _OWNER_FILE)
        new.rename(stage)  # only now: nobody must see a stage whose owner does not hold it yet
    except OSError as error:
        raise InputError(f"cannot write to '{final.parent}': {error.strerror or error}") from error
    return stage, owner


def _held(path: Path) -> int | None:
    try:
        return locks.hold(path)
    except locks.NoLocksError:
        return None  # what is left there by a killed process stays


def _remove_abandoned(final: Path) -> None:
    """Removes what killed writers of `final` left beside it; of one killed between two renames, puts `final` back."""
    pattern = re.compile(rf"\.{re.escape(final.name)}\.[0-9a-f]{{32}}\.partial")
    with contextlib.suppress(OSError):  # a folder that is not there or cannot be listed is told by who writes to it
        for entry in [entry for entry in os.scandir(final.parent) if pattern.fullmatch(entry.name)]:
            left = final.parent / entry.name
            if not entry.is_dir():
                if not locks.is_held(left):
                    left.unlink(missing_ok=True)
            elif (left / _OWNER_FILE).exists() and not locks.is_held(left / _OWNER_FILE):
                if (left / "old").is_dir() and not final.exists():
                    (left / "old").rename(final)
                shutil.rmtree(left, ignore_errors=True)


def _beside(final: Path, ending: str) -> Path:
    return final.parent / f".{final.name}.{uuid.uuid4().hex}.{ending}"
