"""What a shadow has noted: JSON lines in a folder, of each process in files of its own."""

from __future__ import annotations

import json
import math
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from htlnet_tf.errors import InputError
from htlnet_tf.files import local_path

_BYTES_PER_FILE = 64 * 2**20


class ShadowLog:
    """Writes lines into a folder; for one thread of one process.

    A line is written by one call, so that whoever reads a file meanwhile, or after a kill, has whole lines but the
    last. A file that has grown large is followed by another.

    Args:
      folder: Where; it is made if need be.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None
        self._written = 0

    def write(self, line: Mapping[str, Any]) -> None:
        """Appends a line, with the time.

        Raises:
          OSError: The folder cannot be written to.
        """
        now = datetime.now(timezone.utc)
        text = json.dumps({"time": now.isoformat(timespec="milliseconds"), **line}, allow_nan=False) + "\n"
        if self._descriptor is None or self._written > _BYTES_PER_FILE:
            self.close()
            self._folder.mkdir(parents=True, exist_ok=True)
            name = f"{now:%Y%m%dT%H%M%S}-{os.getpid()}-{uuid.uuid4().hex[:8]}.jsonl"
            self._descriptor = os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            self._written = 0
        self._written += os.write(self._descriptor, text.encode())

    def close(self) -> None:
        """Closes the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def plain_scores(scores: pd.DataFrame) -> dict[str, list[Any]]:
    """Columns of numbers as JSON has them, None for what is not finite; other columns are left out."""
    return {
        str(name): [float(value) if math.isfinite(value) else None for value in column.to_numpy(np.float64)]
        for name, column in scores.items()
        if pd.api.types.is_numeric_dtype(column.dtype)
    }


def plain_values(values: Sequence[Any]) -> list[Any]:
    """Values as JSON has them; what it has no word for becomes text, a missing one None."""
    plain = []
    for value in values:
        own = value.item() if isinstance(value, np.generic) else value
        if isinstance(own, float) and not math.isfinite(own):
            own = None
        plain.append(own if own is None or isinstance(own, (bool, int, float, str)) else str(own))
    return plain


def read_log(paths: Sequence[str | Path]) -> Iterator[dict[str, Any]]:
    """The lines of files, or of the folders that hold them.

    A last line that is not whole, of a process that was killed or goes on writing, is passed over.

    Raises:
      InputError: There is no such file, a folder has none, or a line is damaged; names file and line.
    """
    for path in paths:
        given = local_path(path)
        files = sorted(given.glob("*.jsonl")) if given.is_dir() else [given]
        if not files:
            raise InputError(f"'{path}' has no *.jsonl, which a shadow writes")
        for file in files:
            yield from _lines(file)


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    number = 0
    try:
        with file.open("rb") as lines:
            for line in lines:
                number += 1
                if not line.endswith(b"\n"):
                    return
                found = json.loads(line)
                if not isinstance(found, dict) or not ("dropped" in found or {"first", "second"} <= found.keys()):
                    raise InputError(f"'{file}', line {number} is no line of a shadow's log")
                yield found
    except OSError as error:
        raise InputError(f"cannot read '{file}': {error.strerror or error}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"'{file}', line {number} is no JSON: {error}") from error
