"""The folder of a comparison: what it was made with, so that the same command goes on where it stopped."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from htlnet_tf.comparison.runs import Job, RunRecord, is_done
from htlnet_tf.documents import require_same
from htlnet_tf.encoding.encoded import EncodedRows
from htlnet_tf.errors import InputError
from htlnet_tf.files import atomic_directory, atomic_file
from htlnet_tf.locks import hold
from htlnet_tf.runs.config import RunConfig, TrainingConfig
from htlnet_tf.runs.preparation import Prepared, Write
from htlnet_tf.runs.versions import versions
from htlnet_tf.schema import Schema

_CONFIG, _DATA, _VERSIONS, _LOCK = "comparison.yaml", "data.json", "versions.json", ".lock"


@dataclasses.dataclass(frozen=True)
class Folder:
    """Where a comparison's files go.

    Attributes:
      root: The folder.
    """

    root: Path

    def require_usable(self, config: RunConfig, *, overwrite: bool = False) -> None:
        """Checks, before rows are read, that a comparison can begin or go on here.

        The model and the seed are the runs' own and may differ, and the data may have moved.

        Args:
          config: What the comparison is made with.
          overwrite: A comparison that is there will be removed.

        Raises:
          InputError: The folder holds something else, or a comparison of another configuration.
        """
        if self.root.exists() and not self.root.is_dir():
            raise InputError(f"'{self.root}' is a file; a directory is needed")
        if self._has_comparison():
            if not overwrite:
                before = RunConfig.from_yaml(self.root / _CONFIG)
                require_same(self.root, _identity(config), _identity(before))
        elif self.root.is_dir() and any(self.root.iterdir()):
            raise InputError(f"'{self.root}' exists already and is no comparison; name another directory")

    def begin(
        self,
        config: RunConfig,
        prepared: Prepared,
        *,
        overwrite: bool = False,
        write: Write = print,
    ) -> None:
        """Begins a comparison, or checks that the rows are those of the runs that are there.

        Args:
          config: What the comparison is made with.
          prepared: The rows.
          overwrite: Remove a comparison that is there.
          write: Where a line goes if versions of packages have changed since.

        Raises:
          InputError: The rows are others, or another process is at work here.
        """
        now = {"num_train": prepared.encoder.statistics.num_rows, "sha256": fingerprint(prepared)}
        if self._has_comparison() and overwrite:
            with self.locked(), atomic_directory(self.root, overwrite=True):
                pass  # an empty one in its place
        if self._has_comparison():
            before = json.loads((self.root / _DATA).read_text(encoding="utf-8"))
            if before != now:
                raise InputError(
                    f"the runs in '{self.root}' were made with other rows ({before['num_train']:,} to train there, "
                    f"{now['num_train']:,} here, or other values); name another directory, or --overwrite"
                )
            self._tell_other_versions(write)
            return
        with atomic_directory(self.root) as stage:
            new = Folder(stage)
            new.write_text(_CONFIG, config.to_yaml())
            new.write_json(_DATA, now)
            new.write_json(_VERSIONS, versions())
            prepared.split.to_yaml(stage / "split.yaml")
            prepared.out_of_vocabulary.to_csv(stage / "out_of_vocabulary.csv", index_label="feature")
            if prepared.bad_rows:
                prepared.bad_rows.write(stage / "bad_rows.csv")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from making the same runs; what a killed one has left half written is removed.

        Raises:
          InputError: Another process is at work here.
        """
        try:
            descriptor = hold(self.root / _LOCK)
        except BlockingIOError as error:
            raise InputError(f"another process is at work in '{self.root}'") from error
        try:
            for partial in self.root.rglob(".*.partial"):
                shutil.rmtree(partial) if partial.is_dir() else partial.unlink()
            yield
        finally:
            os.close(descriptor)

    def _has_comparison(self) -> bool:
        return (self.root / _CONFIG).is_file()

    def record(self, job: Job, schema: Schema) -> RunRecord | None:
        """The run of a job, if it was made.

        Raises:
          InputError: It was made with other settings, or is damaged.
        """
        folder = self.root / job.folder
        if not is_done(folder):
            return None
        record = RunRecord.load(folder, schema)
        require_same(folder, job.settings, settled(record.settings))
        return record

    def write_json(self, name: str, document: Any) -> None:
        """Writes a JSON document."""
        self.write_text(name, json.dumps(document, indent=2, allow_nan=False))

    def write_text(self, name: str, text: str) -> None:
        """Writes a text file."""
        with atomic_file(self.root / name) as partial:
            partial.write_text(text, encoding="utf-8")

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """Writes a CSV file."""
        with atomic_file(self.root / name) as partial:
            table.to_csv(partial, index=False)

    def _tell_other_versions(self, write: Write) -> None:
        path, now = self.root / _VERSIONS, versions()
        before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        changed = [f"{name} {before[name]} -> {now[name]}" for name in before if before[name] != now.get(name)]
        if changed:
            write(f"runs of other versions are in '{self.root}': {', '.join(changed)}; each run tells its own")


def fingerprint(prepared: Prepared) -> str:
    """A hash over all rows, features, labels, users and weights; rows that are streamed are read for it."""
    digest = hashlib.sha256()
    for part in (prepared.train, prepared.valid, prepared.test):
        if isinstance(part, EncodedRows):
            for arrays in part.tree:
                for name in sorted(arrays):
                    digest.update(name.encode())
                    digest.update(np.ascontiguousarray(arrays[name]).data)
            continue
        for frame in [part] if isinstance(part, pd.DataFrame) else dataclasses.replace(part, schema=prepared.schema):
            known = frame[[name for name in prepared.schema.columns if name in frame]]
            digest.update(np.ascontiguousarray(pd.util.hash_pandas_object(known, index=False).to_numpy()).data)
    return digest.hexdigest()


def _identity(config: RunConfig) -> dict[str, Any]:
    """What the configurations of one comparison have in common."""
    document = yaml.safe_load(config.to_yaml())
    del document["model"], document["training"]["seed"]
    document["data"].pop("path", None)
    return dict(document)


def settled(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of a run or a search with what has got a default since it was made."""
    known = {f.name: getattr(TrainingConfig(), f.name) for f in dataclasses.fields(TrainingConfig)}
    return settings | {"training": known | settings["training"]}
