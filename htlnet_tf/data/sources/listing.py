"""Which files a path stands for, and how a file that cannot be read is reported."""

from __future__ import annotations

import contextlib
import glob
import os
import urllib.parse
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from htlnet_tf.errors import InputError
from htlnet_tf.files import local_path

SUFFIXES = {
    ".csv": "csv",
    ".csv.gz": "csv",
    ".parquet": "parquet",
    ".tfrecord": "tfrecord",
    ".tfrecords": "tfrecord",
    ".tfrecord.gz": "tfrecord",
    ".tfrecords.gz": "tfrecord",
}
"""File formats by how a file's name ends."""

_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


def table_files(path: str | Path | Sequence[str | Path]) -> tuple[tuple[str, ...], str]:
    """The files of a table, and their format.

    Args:
      path: A file, a folder (read with the folders in it), a glob pattern (`**` for any depth), or a list of these. In
        folders and patterns, names that start with `.` or `_` and files of other kinds are passed over.

    Returns:
      Paths, sorted, each once; and their one format: `"csv"`, `"parquet"` or `"tfrecord"`.

    Raises:
      InputError: A path is missing, a pattern matches nothing, no file is a table, or the formats differ.
    """
    paths = [path] if isinstance(path, (str, Path)) else list(path)
    if not paths:
        raise InputError("a table needs at least one path; received an empty list")
    files = sorted({file for one in paths for file in _expanded(str(local_path(one)))})
    by_format = {format_of(file): file for file in reversed(files)}
    if len(by_format) > 1:
        examples = ", ".join(f"'{file}'" for file in sorted(str(file) for file in by_format.values()))
        raise InputError(f"the files of a table must have one format; received {examples}")
    (format_,) = by_format
    assert format_ is not None  # _expanded gives nothing else
    return tuple(files), format_


def format_of(file: str) -> str | None:
    """The format that a file's name says, None if it is no table's."""
    name = os.path.basename(file).lower()  # noqa: PTH119 (as fast as possible: a table may have 100,000 files)
    return next((format_ for suffix, format_ in SUFFIXES.items() if name.endswith(suffix)), None)


def is_gzip(file: str) -> bool:
    """Whether a file's name says that it is packed by gzip; as in `format_of`, its case does not count."""
    return file.lower().endswith(".gz")


def partition_values(file: str) -> dict[str, str | None]:
    """The columns that the folders of a path say, as Hive writes them: `day=2024-01-01/`; None is missing."""
    parts = (part.partition("=") for part in Path(file).parts[:-1])
    texts = {key: urllib.parse.unquote(value) for key, equals, value in parts if key and equals}
    return {key: None if text in ("", _NULL_PARTITION) else text for key, text in texts.items()}


def partition_column(value: str | None, count: int) -> pa.Array:
    """A value of `partition_values` for each of `count` rows, as dictionary-encoded text."""
    dictionary = pa.array([] if value is None else [value], pa.string())
    indices = pa.nulls(count, pa.int32()) if value is None else pa.array(np.zeros(count, np.int32))
    return pa.DictionaryArray.from_arrays(indices, dictionary)


@contextlib.contextmanager
def reading(file: str, what: str) -> Iterator[None]:
    """Turns errors of pyarrow and of the operating system into one that names the file.

    Args:
      file: The file that is read in the block.
      what: What it should be, e.g. `"a CSV file"`.

    Raises:
      InputError: The block raised such an error.
    """
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"'{file}' cannot be read as {what}: {reason}") from error


def unambiguous(names: Sequence[str]) -> list[str]:
    """The names by which a column can be read: those that one column alone has, and that are not empty."""
    counts = Counter(names)
    return [name for name in names if name and counts[name] == 1]


def _expanded(path: str) -> list[str]:
    endings = ", ".join(SUFFIXES)
    if Path(path).is_dir():
        files = _in_folder(path)
        if not files:
            raise InputError(f"'{path}' holds no table: no file in it ends with one of {endings}")
        return files
    if Path(path).exists():
        if format_of(path) is None:
            raise InputError(f"a table's file must end with one of {endings}; received '{path}'")
        return [path]
    if not glob.has_magic(path):
        raise InputError(f"'{path}' does not exist")
    spelled = set(Path(path).parts)
    matches = [
        match
        for match in glob.glob(_literal_folders(path), recursive=True)  # noqa: PTH207 (Path.glob takes no absolute pattern)
        if not any(_hidden(part) for part in Path(match).parts if part not in spelled)
    ]
    folders = [match for match in matches if Path(match).is_dir()]
    files = [match for match in matches if format_of(match) is not None and match not in set(folders)]
    files += [file for folder in folders for file in _in_folder(folder)]
    if not files:
        raise InputError(f"the pattern '{path}' matches no file that ends with one of {endings}")
    return files


def _literal_folders(pattern: str) -> str:
    """The pattern, its leading folders that exist by that very name taken for what they are: `[1]` may be in one."""
    literal = next((folder for folder in Path(pattern).parents if folder.is_dir()), None)
    if literal is None or str(literal) == ".":
        return pattern
    return glob.escape(str(literal)) + pattern[len(str(literal)) :]


def _in_folder(folder: str) -> list[str]:
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not _hidden(name)]
        found += [str(Path(parent, name)) for name in names if not _hidden(name) and format_of(name) is not None]
    return found


def _hidden(name: str) -> bool:
    return name.startswith((".", "_"))
