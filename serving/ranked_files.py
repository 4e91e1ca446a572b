"""Files of users and a table of candidates -> files of the best candidates of each user, without a server."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa

from htlnet_tf.data.bad_rows import OnBadRows
from htlnet_tf.data.sources.source import Source, open_source
from htlnet_tf.errors import InputError
from htlnet_tf.files import local_path
from htlnet_tf.schema import Schema
from htlnet_tf.serving.apart import require_apart
from htlnet_tf.serving.exported import exported_schema, version_digest, version_folder
from htlnet_tf.serving.part_making import Parts, ScoredFiles, require_jobs
from htlnet_tf.serving.score_parts import (
    BAD_CANDIDATES_FILE,
    CANDIDATES,
    LeftOut,
    content_digest,
    file_identity,
    left_out_of,
    table_root,
)
from htlnet_tf.serving.score_tables import kept_types, require_kept, score_types

_RANK = "rank"


def rank_files(
    model: str | Path,
    users: str | Path | Sequence[str | Path],
    candidates: str | Path | Sequence[str | Path],
    output: str | Path,
    k: int,
    *,
    keep: Sequence[str],
    by: str | None = None,
    jobs: int | None = None,
    on_bad_rows: OnBadRows = "error",
    overwrite: bool = False,
    write: Callable[[str], None] | None = None,
) -> ScoredFiles:
    """The best of a table of candidates for every row of files of users.

    Every user is scored with every candidate by the version's signature `candidates`, and only the best are kept: the
    product of the two tables is never in memory nor on disk. The candidates are, in memory. Files appear, and are not
    made again, as of `score_files`.

    Args:
      model: As of `score_files`.
      users: Files with the columns of group user and context; a row is a user in a context.
      candidates: Files with the columns of group item.
      output: As of `score_files`, a file per file of users.
      k: Candidates per user; all if there are fewer.
      keep: Columns of either table that are written, one of the candidates among them.
      by: The output to sort by, such as `"watch_time"`; None: the score of the schema's ranking.
      jobs: As of `score_files`.
      on_bad_rows: As of `score_files`, of both tables.
      overwrite: As of `score_files`.
      write: As of `score_files`.

    Returns:
      What was done, its rows being users. The columns of the files: the kept ones, `rank` from 1, and the scores. Of
      candidates with equal scores the one that stands first comes first; one whose score is not a number comes last.

    Raises:
      InputError: As of `score_files`; `k` is below 1; a column to keep is in both tables, or none is of the candidates;
        or the model has no columns of group item or no ranking.

    Example:
      >>> htl.rank_files("models/htlnet", "users/", "items.parquet", "best", 20, keep=["user_id", "item_id"])
    """
    workers = require_jobs(jobs)
    if k < 1:
        raise InputError(f"k, the candidates that are wanted of each user, must be at least 1; received {k}")
    folder = version_folder(model)
    schema = exported_schema(folder)
    from htlnet_tf.serving.best_candidates import ranked_by

    sorted_by = ranked_by(schema, by)
    rows = open_source(users, delimiter=schema.delimiter)
    items = open_source(candidates, delimiter=schema.delimiter)
    names, of_users = divided(schema, rows, items, keep)
    of_items = [name for name in names if name not in of_users]
    sides = {side: [f.source for f in schema.inputs if (f.group == "item") == side] for side in (False, True)}
    items.check([*sides[True], *of_items])
    place = local_path(output)
    require_apart(candidates, items.files, place, "the candidates")
    before = [file_identity(file, file) for file in items.files]
    digest = content_digest(items.files, table_root(candidates))
    run = {"model": version_digest(folder), "keep": list(names), "k": k, "by": sorted_by, "candidates": digest}
    columns = [*sides[False], *of_users]
    parts = Parts(users, rows, place, run, columns, on_bad_rows=on_bad_rows, overwrite=overwrite)
    if parts.todo:
        from htlnet_tf.serving.best_candidates import Candidates, ranked_table
        from htlnet_tf.serving.local_servable import loaded
        from htlnet_tf.serving.signatures import CANDIDATES_SIGNATURE

        workers = min(workers, len(parts.todo))
        servable = loaded(folder, CANDIDATES_SIGNATURE, callers=workers)
        settled = servable.schema
        table = Candidates(servable, items, of_items, on_bad_rows)
        if before != [file_identity(file, file) for file in items.files]:
            raise InputError(f"the candidates changed while they were read, such as '{items.files[0]}': start again")
        left_out = LeftOut.of(table.bad_rows)
        if left_out.rows:
            table.bad_rows.write(place / BAD_CANDIDATES_FILE)
        kept = kept_types(rows, settled, of_users, sides[False])
        types = {field.name: field for field in (*kept, *table.kept.schema)}
        parts.make(
            lambda frame, noted: ranked_table(frame, settled, table, k, sorted_by, kept, names, noted),
            pa.schema([*(types[name] for name in names), (_RANK, pa.int32()), *score_types(schema)]),
            settled,
            jobs=workers,
            write=write,
            chunk_rows=table.users_at_once,
            metadata=left_out.metadata(CANDIDATES),
        )
    else:
        left_out = left_out_of(parts.present[0].output, CANDIDATES)
    return dataclasses.replace(parts.result(), bad_candidates=left_out.rows, first_bad_candidate=left_out.first)


def divided(schema: Schema, users: Source, items: Source, keep: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """The columns to keep, each once, and those of them that are the users'.

    Raises:
      InputError: One is in neither table or in both, or is called as a score is; or none is of the candidates.
    """
    names = require_kept(schema, keep)
    groups = {feature.source: feature.group for feature in schema.inputs}
    of_users = []
    for name in names:
        if name == _RANK:
            raise InputError(f"column '{name}' cannot be kept: the place of a candidate has the same name")
        places = [name in users.columns, name in items.columns]
        if not any(places):
            raise InputError(f"column '{name}' to keep is in neither table: {users.files[0]} nor {items.files[0]}")
        if all(places) and name not in groups:
            raise InputError(f"column '{name}' to keep is in both tables, of the users and of the candidates")
        if (groups[name] != "item") if all(places) else places[0]:
            of_users.append(name)
    if len(of_users) == len(names):
        raise InputError("keep a column of the candidates, by which they are known, and one of the users")
    return names, of_users
