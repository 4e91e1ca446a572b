"""Whether scores would be written over what they are made of, or among it. No TensorFlow in here."""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Sequence
from pathlib import Path

from htlnet_tf.errors import InputError
from htlnet_tf.files import local_path


def require_apart(
    paths: str | Path | Sequence[str | Path], files: Sequence[str], output: Path, what: str = "the rows"
) -> None:
    """Checks that a folder of scores is neither a table that is read, nor holds one, nor lies in one.

    Scores in the folder that is read would be rows of the next run, and what is read must not go when the
    folder is overwritten.

    Args:
      paths: The table as the user has named it: files, folders and patterns.
      files: The files that these are.
      output: The folder of scores; it need not exist.
      what: The table, for the message.

    Raises:
      InputError: It is one of these.
    """
    folders = {output.resolve(), Path(os.path.abspath(output))}  # noqa: PTH100 (what is a link there may be removed)
    for file in files:
        path = Path(file)
        if any(folder in (one, *one.parents) for folder in folders for one in (path.resolve(), path.absolute())):
            raise InputError(f"'{file}' is read for {what}, but lies in the folder of the scores, '{output}'")
    for path in [paths] if isinstance(paths, (str, Path)) else paths:
        pattern = pattern_parts(local_path(path))
        if any(meet(pattern, folder.parts) for folder in folders):
            raise InputError(
                f"'{output}' lies in a folder that is read for {what}, or holds it: '{path}'; the scores would be read "
                "by the next run, or what is read be removed: name another output folder"
            )


def pattern_parts(path: Path) -> tuple[str, ...]:
    """The parts of a path for `meet`: those of a name that is there stand for themselves, whatever they look like."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100
    literal = next(one for one in (absolute, *absolute.parents) if one.exists())
    return (*map(glob.escape, literal.resolve().parts), *absolute.parts[len(literal.parts) :])


def meet(pattern: Sequence[str], folder: Sequence[str]) -> bool:
    """Whether a folder is what a pattern may stand for, or above it, or in it, part by part."""
    for expected, part in zip(pattern, folder):  # noqa: B905 (the shorter one stands above the other)
        if expected == "**" or "{" in expected:  # any depth; the alternatives that Hadoop knows
            return True
        if not fnmatch.fnmatchcase(part, expected):
            return False
    return True
