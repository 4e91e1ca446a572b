"""Outputs that appear whole or not at all."""

from __future__ import annotations

import contextlib
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
    stage = final.parent / f".{final.name}.{uuid.uuid4().hex}.partial"
    try:
        stage.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"cannot write to '{final.parent}': {error.strerror or error}") from error
    return stage


@contextlib.contextmanager
def atomic_directory(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yields a staging directory that becomes `path` when the block ends well, and is removed when it does not.

    Args:
      path: The directory to create.
      overwrite: Replace an existing directory; the old one stays until the new one is complete.

    Raises:
      InputError: `path` is a file, or exists and `overwrite` is False.
    """
    final = Path(path)
    if final.exists() and not final.is_dir():
        raise InputError(f"'{final}' is a file; a directory is needed")
    if final.is_dir() and any(final.iterdir()) and not overwrite:
        raise InputError(f"'{final}' exists already; remove it or name another directory")
    stage = staging_directory(final)
    try:
        yield stage
        if final.is_dir():
            old = final.parent / f".{final.name}.{uuid.uuid4().hex}.old"
            final.rename(old)
            stage.rename(final)
            shutil.rmtree(old)
        else:
            stage.rename(final)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def write_text(path: str | Path, text: str) -> None:
    """Writes a text file by an atomic rename."""
    final = Path(path)
    partial = final.parent / f".{final.name}.{uuid.uuid4().hex}.partial"
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(final)
    finally:
        partial.unlink(missing_ok=True)
