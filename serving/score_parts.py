"""Which file of scores is made of which file of rows, and whether it is there already. No TensorFlow in here."""

from __future__ import annotations

import dataclasses
import glob
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from htlnet_tf.data.bad_rows import BadRow, BadRows
from htlnet_tf.data.sources.listing import format_of, reading
from htlnet_tf.errors import InputError
from htlnet_tf.files import local_path
from htlnet_tf.serving.apart import require_apart

BAD_ROWS_FOLDER = "_bad_rows"
"""Of the output: what was left out of each part, as CSV; readers of tables pass over names with a `_` in front."""

_KEY = b"htlnet_tf.scores"
ROWS = b"htlnet_tf.left_out"
CANDIDATES = b"htlnet_tf.left_out_candidates"
BAD_CANDIDATES_FILE = "_bad_candidates.csv"
"""Of the output of a ranking, as `BAD_ROWS_FOLDER`."""
_BLOCK_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class Part:
    """A file of rows and the file of its scores.

    Attributes:
      number: Of the file among the source's.
      file: The file of rows.
      output: The file of scores.
      bad_rows: The file of the rows that are left out.
      size: Of the file of rows, in bytes.
      record: What the scores are made of: the run's settings, and of the file its name, size and time of change.
    """

    number: int
    file: str
    output: Path
    bad_rows: Path
    size: int
    record: Mapping[str, Any]

    def metadata(self) -> dict[bytes, bytes]:
        """The record, as the file of scores keeps it."""
        return {_KEY: json.dumps(self.record, sort_keys=True).encode()}


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """The rows that are left out of what a file of scores is made of, as it keeps that for runs that find it there.

    Attributes:
      rows: How many.
      first: The first of them; None if there are none.
    """

    rows: int = 0
    first: BadRow | None = None

    @classmethod
    def of(cls, bad_rows: BadRows) -> LeftOut:
        """Counted."""
        return cls(len(bad_rows), bad_rows.first() if len(bad_rows) else None)

    def metadata(self, of: bytes = ROWS) -> dict[bytes, bytes]:
        """As a Parquet file keeps it; `of` is `ROWS` or `CANDIDATES`."""
        return {of: json.dumps({"rows": self.rows, "first": self.first}).encode()}


def left_out_of(path: Path, of: bytes = ROWS) -> LeftOut:
    """What a file of scores has left out; `of` as of `LeftOut.metadata`.

    Raises:
      InputError: It cannot be read.
    """
    with reading(str(path), "a Parquet file of scores"):
        metadata: Mapping[bytes, bytes] = pq.read_metadata(path).metadata or {}
    kept = json.loads(metadata.get(of, b"{}"))
    return LeftOut(kept["rows"], BadRow(*kept["first"])) if kept.get("rows") else LeftOut()


def plan(
    paths: str | Path | Sequence[str | Path], files: Sequence[str], output: Path, run: Mapping[str, Any]
) -> list[Part]:
    """A part per file, in their order: `logs/day=1/a.csv` of the table `logs/` becomes `OUTPUT/day=1/a.csv.parquet`.

    Args:
      paths: As the user has named the table.
      files: The files that these are.
      output: The folder of scores.
      run: The settings that scores depend on.

    Raises:
      InputError: `output` is, holds or lies in what is read, or a file of rows cannot be looked at.
    """
    require_apart(paths, files, output)
    root = table_root(paths)
    parts = []
    for number, file in enumerate(files):
        path = Path(os.path.abspath(file))  # noqa: PTH100 (links stay what they are called)
        name = path.relative_to(root)
        if format_of(file) != "parquet":
            name = name.with_name(f"{name.name}.parquet")
        record = {**run, "input": file_identity(file, str(path.relative_to(root)))}
        bad_rows = _bad_rows_file(output, name)
        parts.append(Part(number, file, output / name, bad_rows, record["input"]["bytes"], record))
    return parts


def _bad_rows_file(output: Path, name: Path) -> Path:
    return output / BAD_ROWS_FOLDER / name.with_suffix(".csv")


def file_identity(file: str, name: str) -> dict[str, Any]:
    """What tells a file from a changed one of the same name: its size and when it was changed, as `make` asks.

    Raises:
      InputError: It cannot be looked at.
    """
    try:
        status = Path(file).stat()
    except OSError as error:
        raise InputError(f"cannot read '{file}': {error.strerror or error}") from error
    return {"file": name, "bytes": status.st_size, "modified_ns": status.st_mtime_ns}


def content_digest(files: Sequence[str], root: Path) -> str:
    """What tells a table from any other: SHA-256 over its files' names below `root`, and their bytes.

    Raises:
      InputError: A file cannot be read.
    """
    digest = hashlib.sha256()
    for file in files:
        path = Path(os.path.abspath(file))  # noqa: PTH100
        try:
            digest.update(f"{path.relative_to(root)}\0{path.stat().st_size}\0".encode())
            with path.open("rb") as stream:
                while block := stream.read(_BLOCK_BYTES):
                    digest.update(block)
        except OSError as error:
            raise InputError(f"cannot read '{file}': {error.strerror or error}") from error
    return digest.hexdigest()


def require_own_folder(output: Path, run: Mapping[str, Any]) -> dict[Path, Mapping[str, Any]]:
    """The scores that a folder has already, each with the record of what it was made of.

    Args:
      output: The folder; it need not exist.
      run: The settings of today.

    Raises:
      InputError: It is a file, or has tables that are no scores, or scores of other settings.
    """
    found = {path: _record(path) for path in _tables(output)}
    for path, record in found.items():
        if record is None:
            raise InputError(f"'{path}' is no file of scores of this command: name another output folder")
        others = [name for name in run if record.get(name) != run[name]]
        if others:
            told = ", ".join(f"{name} {_short(record.get(name))} there and {_short(run[name])} here" for name in others)
            raise InputError(
                f"'{path}' was made with other settings: {told}; name another output folder, or --overwrite"
            )
    return {path: record for path, record in found.items() if record is not None}


def remove_scores(output: Path) -> None:
    """Removes the files of scores in a folder, and nothing else.

    Raises:
      InputError: It has tables that are no scores.
    """
    found = list(_tables(output))
    for path in found:
        if _record(path) is None:
            raise InputError(f"'{path}' is no file of scores of this command, so it stays: name another output folder")
    for path in found:
        _bad_rows_file(output, path.relative_to(output)).unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    if found:
        (output / BAD_CANDIDATES_FILE).unlink(missing_ok=True)


def require_scores_alone(output: Path) -> None:
    """Checks that a folder that is to be replaced as a whole has files of scores, of either engine, and no others.

    Raises:
      InputError: It has another file.
    """
    for path in sorted(output.rglob("*")):
        name = path.relative_to(output)
        if path.is_file() and not _hidden(name) and not name.match("part-*.parquet") and _record(path) is None:
            raise InputError(f"'{path}' is no file of scores, so it stays: name another output folder")


def to_make(parts: Iterable[Part], present: Mapping[Path, Mapping[str, Any]]) -> list[Part]:
    """The parts that are not there, or were made of a file that has changed since."""
    return [part for part in parts if present.get(part.output) != part.record]


def _tables(output: Path) -> Iterator[Path]:
    if output.exists() and not output.is_dir():
        raise InputError(f"'{output}' is a file; a folder is needed, for a file of scores per file of rows")
    for path in sorted(output.rglob("*")):
        if path.is_file() and format_of(path.name) is not None and not _hidden(path.relative_to(output)):
            yield path


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def _record(path: Path) -> dict[str, Any] | None:
    if format_of(path.name) != "parquet":
        return None
    with reading(str(path), "a Parquet file of scores"):
        metadata: Mapping[bytes, bytes] = pq.read_schema(path).metadata or {}
    return json.loads(metadata[_KEY]) if _KEY in metadata else None


def table_root(paths: str | Path | Sequence[str | Path]) -> Path:
    """The folder that the names of a table's files are told from: the same whichever files are there."""
    given = [paths] if isinstance(paths, (str, Path)) else list(paths)
    return Path(os.path.commonpath([_root(local_path(path)) for path in given]))


def _root(path: Path) -> str:
    absolute = Path(os.path.abspath(path))  # noqa: PTH100
    if absolute.is_dir():
        return str(absolute)
    if absolute.exists():
        return str(absolute.parent)
    plain = next(i for i, part in enumerate(absolute.parts) if glob.has_magic(part))
    return str(Path(*absolute.parts[:plain]))


def _short(value: Any) -> str:
    return repr(value[:12] if isinstance(value, str) else value)


def with_record(schema: pa.Schema, part: Part) -> pa.Schema:
    """The schema of a part's file, which keeps what it was made of."""
    return schema.with_metadata(part.metadata())
