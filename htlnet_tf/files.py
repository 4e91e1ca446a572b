"""Outputs that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from htlnet_tf.errors import InputError


def staging_directory(final: Path) -> Path:
    """Creates an empty directory beside `final`, so that a rename moves it there in one step.

    Its name starts with a dot and is no number, so TensorFlow Serving never takes it for a version.

    Raises:
      InputError: The parent cannot be created or written to.
    """
    stage = _beside(final, "partial")
    try:
        stage.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"cannot write to '{final.parent}': {error.strerror or error}") from error
    return stage


@contextlib.contextmanager
def atomic_directory(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yields a staging directory that becomes `path` when the block ends well, and is removed when it does not.

    Args:
      path: The directory to create; it may exist and be empty.
      overwrite: Replace an existing directory; the old one stays until the new one is complete.

    Raises:
      InputError: `path` is a file, or has something in it and `overwrite` is False.
    """
    final = Path(path)
    _require_free(final, overwrite)
    stage = staging_directory(final)
    try:
        yield stage
        old = _beside(final, "old")
        if overwrite and final.is_dir():
            final.rename(old)
        try:
            stage.rename(final)
        except OSError as error:
            if old.is_dir():
                old.rename(final)
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY):  # somebody else wrote there in the meantime
                _require_free(final, overwrite)
            raise InputError(f"cannot write '{final}': {error.strerror or error}") from error
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder that becomes `path` when the block ends well.

    Raises:
      InputError: The folder cannot be created or the file cannot be written.
    """
    final = Path(path)
    partial = _beside(final, "partial")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(final)
    except OSError as error:
        raise InputError(f"cannot write '{final}': {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _beside(final: Path, ending: str) -> Path:
    return final.parent / f".{final.name}.{uuid.uuid4().hex}.{ending}"


def _require_free(final: Path, overwrite: bool) -> None:
    if final.exists() and not final.is_dir():
        raise InputError(f"'{final}' is a file; a directory is needed")
    if final.is_dir() and any(final.iterdir()) and not overwrite:
        raise InputError(f"'{final}' exists already; name another directory or ask to overwrite it (--overwrite)")
