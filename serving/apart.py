"""Whether scores would be written over what they are made of, or among it. No TensorFlow in here."""

from __future__ import annotations

import fnmatch
import glob
import os
import posixpath
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

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
    for given in [paths] if isinstance(paths, (str, Path)) else paths:
        pattern = pattern_parts(local_path(given))
        if any(meet(pattern, folder.parts) for folder in folders):
            raise InputError(
                f"'{output}' lies in a folder that is read for {what}, or holds it: '{given}'; the scores would be "
                "read by the next run, or what is read be removed: name another output folder"
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


def require_addresses_apart(source: str, output: str) -> None:
    """As `require_apart`, of addresses of a store such as `hdfs:///logs`, which is not asked what it has.

    Raises:
      InputError: The output is, holds or lies in what is read.
    """
    read, written = _ADDRESS.fullmatch(source), _ADDRESS.fullmatch(output)
    if read is None or written is None or not _same_store(read, written):
        return
    parts = [tuple(PurePosixPath(posixpath.normpath(place["path"] or "/")).parts) for place in (read, written)]
    if meet(*parts):
        raise InputError(
            f"'{output}' is, holds or lies in '{source}', which is read; the scores would be read by the next run, or "
            "what is read be removed: name another output"
        )


def _same_store(read: re.Match[str], written: re.Match[str]) -> bool:
    schemes = {_SCHEMES.get(place["scheme"].lower(), place["scheme"].lower()) for place in (read, written)}
    hosts = {place["host"] for place in (read, written)} - {""}  # without one it is that of Spark's configuration
    return len(schemes) == 1 and len(hosts) < 2


_ADDRESS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*)://(?P<host>[^/]*)(?P<path>/.*)?")
_SCHEMES = {"s3a": "s3", "s3n": "s3"}
