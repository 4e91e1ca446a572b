"""Checksums of a folder's files, written last and looked at before a file is used.

The form is that of `sha256sum`, so that a container without Python can check a folder: `sha256sum --check SHA256SUMS`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from absl import logging

from htlnet_tf.errors import InputError
from htlnet_tf.files import atomic_directory, atomic_file, local_path

SUMS = "SHA256SUMS"
SUMS_OF_VERSION = f"assets.extra/{SUMS}"
"""Where the list is in a SavedModel's folder, in which TensorFlow Serving does not look at it."""

_PLACES = (SUMS, SUMS_OF_VERSION)
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")
_UNCHECKED: list[bool] = []
"""One entry per `unchecked` that this process is in, in whatever thread: a server loads versions in its own threads."""


@dataclasses.dataclass(frozen=True)
class Difference:
    """A file that is not what was written.

    Attributes:
      name: Relative to the folder.
      what: `"changed"`, `"missing"`, `"unreadable"` or, of the checksums themselves, `"no list of checksums"`.
    """

    name: str
    what: str


@contextlib.contextmanager
def sealed_directory(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """As `atomic_directory`, with the checksums of what is in it when the block ends.

    Args:
      path: As for `atomic_directory`, as the following.
      overwrite: Replace an existing directory.

    Raises:
      InputError: As `atomic_directory`.
    """
    with atomic_directory(path, overwrite=overwrite) as stage:
        yield stage
        write_manifest(stage)


def write_manifest(folder: Path, place: str = SUMS) -> None:
    """Writes the checksums of all files below a folder.

    Args:
      folder: Complete otherwise.
      place: Relative to it, where they are written.

    Raises:
      OSError: A file cannot be read, or the list not be written.
    """
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.name != SUMS)
    _write(folder / place, {name: _digest(folder / name) for name in names})


def record(folder: Path, names: Iterable[str]) -> None:
    """Brings the checksums of files up to date that were written anew, or beside the others, into a folder.

    Args:
      folder: With a list of checksums; without one nothing happens.
      names: Relative to it.

    Raises:
      InputError: The list is damaged or cannot be written.
    """
    place = _place(folder)
    if place is None:
        return
    sums = _read(place)
    with atomic_file(place) as partial:
        _write(partial, sums | {name: _digest(folder / name) for name in names})


def accept(folder: Path, names: Iterable[str]) -> None:
    """As `record`, of files that a user names.

    Raises:
      InputError: There is no list of checksums, or no such file in the folder.
    """
    listed = list(names)
    if not folder.is_dir() or _place(folder) is None:
        raise InputError(f"'{folder}' has no {SUMS}: it is no run and no version, or an earlier version wrote it")
    for name in listed:
        inside = not Path(name).is_absolute() and ".." not in Path(name).parts
        if not inside or not (folder / name).is_file():
            raise InputError(f"'{folder}' has no file '{name}'")
    record(folder, listed)


def require_intact(folder: str | Path, *names: str) -> None:
    """Checks files of a folder before they are used.

    A folder without a list of checksums, which an earlier version or another program wrote, is taken as it is, and so
    is a file that is not listed, which was put there later.

    Args:
      folder: A run, a checkpoint, or a version of a servable.
      *names: Files, or folders of files, relative to it, those that exist; none: all that are listed.

    Raises:
      InputError: A file is not what was written, or is missing; or the list is damaged.
    """
    if any(_UNCHECKED):
        return
    root = local_path(folder)
    place = _place(root)
    if place is None:
        logging.info("'%s' has no %s: it cannot be checked", root, SUMS)
        return
    sums = _read(place)
    listed = [n for n in sums if not names or any(n == name or n.startswith(f"{name}/") for name in names)]
    for difference in _differences(root, {name: sums[name] for name in listed}):
        raise InputError(
            f"'{root / difference.name}' is {difference.what}: it is not the file that was written with the others in "
            f"'{root}'. `htlnet verify {root}` names all such files; if the change is yours, `htlnet verify {root} "
            f"--accept {difference.name}` keeps it; --no_verify uses it all the same"
        )


def differences(folder: str | Path) -> list[Difference]:
    """All files of a folder that are not what was written, in order.

    Raises:
      InputError: There is no such folder, or the list of checksums is damaged.
    """
    root = local_path(folder)
    if not root.is_dir():
        raise InputError(f"'{root}' is no folder")
    place = _place(root)
    return [Difference(SUMS, "no list of checksums")] if place is None else list(_differences(root, _read(place)))


@contextlib.contextmanager
def unchecked(really: bool = True) -> Iterator[None]:
    """Within, this process uses files whatever their checksums are.

    Args:
      really: False: nothing changes.
    """
    _UNCHECKED.append(really)
    try:
        yield
    finally:
        _UNCHECKED.remove(really)


def _place(root: Path) -> Path | None:
    return next((root / place for place in _PLACES if (root / place).exists()), None)


def _read(place: Path) -> dict[str, str]:
    sums = {}
    try:
        # Not splitlines, to which more characters are the end of a line.
        lines = place.read_bytes().decode("utf-8").removesuffix("\n").split("\n")
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read '{place}', the checksums of what is there: {error}") from error
    for number, line in enumerate(lines, start=1):
        found = _LINE.fullmatch(line)
        if found is None:
            raise InputError(
                f"'{place}' is damaged in line {number}: a checksum and a name are needed, received {line!r}"
            )
        sums[found[2]] = found[1]
    return sums


def _differences(root: Path, sums: dict[str, str]) -> Iterator[Difference]:
    for name, digest in sums.items():
        try:
            if _digest(root / name) != digest:
                yield Difference(name, "changed")
        except (FileNotFoundError, NotADirectoryError):
            yield Difference(name, "missing")
        except (OSError, ValueError) as error:  # ValueError: a name that no file can have
            yield Difference(name, f"unreadable ({getattr(error, 'strerror', None) or error})")


def _write(path: Path, sums: dict[str, str]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
        file.flush()
        os.fsync(file.fileno())


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _of_chunks(file)


def _of_chunks(file: object) -> str:
    """As `hashlib.file_digest`, which Python 3.10 does not have."""
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):  # type: ignore[attr-defined]
        digest.update(chunk)
    return digest.hexdigest()
