"""The best candidates of each user, by the signature `candidates`: their product is scored and never written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from htlnet_tf.data.bad_rows import BadRows, OnBadRows, bad_line, settled
from htlnet_tf.data.columns import Arrays
from htlnet_tf.data.sources.source import Source
from htlnet_tf.errors import InputError
from htlnet_tf.schema import Schema
from htlnet_tf.schema.ranking import SCORE
from htlnet_tf.serving.local_servable import LocalServable
from htlnet_tf.serving.score_tables import CHUNK_ROWS, checked_features, kept_arrays, kept_types, score_arrays

RANK = "rank"
_PAIRS = 1 << 20


class Best(NamedTuple):
    """The best candidates of several users, user by user, the best first.

    Attributes:
      users: Which row of the users [M].
      items: Which row of the candidates [M].
      ranks: From 1 on, int32 [M].
      scores: By output, [M] or [M, K].
    """

    users: np.ndarray
    items: np.ndarray
    ranks: np.ndarray
    scores: dict[str, np.ndarray]


def columns_of(schema: Schema, *, of_items: bool) -> list[str]:
    """The features of one side, of group item or of the others."""
    return [feature.name for feature in schema.inputs if (feature.group == "item") == of_items]


def ranked_by(schema: Schema, by: str | None) -> str:
    """The output that candidates are sorted by: the ranking's score if no other is named.

    Raises:
      InputError: There is no such output, or none is named and no ranking is declared.
    """
    single = [name for name, columns in schema.outputs.items() if len(columns) == 1]
    if by is None and SCORE not in single:
        raise InputError(f"the model's schema declares no ranking: say what to sort by, one of {single}")
    if by is not None and by not in single:
        raise InputError(f"candidates are sorted by one of {single}; received {by!r}")
    return by or SCORE


class Candidates:
    """A table of candidates in memory, ready to be scored for one user after the other.

    Args:
      servable: Of the signature `candidates`.
      source: The table's files.
      keep: Columns of it that are written.
      on_bad_rows: Of it.

    Attributes:
      kept: The columns to keep, as Arrow has them.
      bad_rows: What was left out.

    Raises:
      InputError: A file cannot be read, a column is missing, a row is bad, or there are no rows.
    """

    def __init__(
        self, servable: LocalServable, source: Source, keep: Sequence[str], on_bad_rows: OnBadRows = "error"
    ) -> None:
        self._servable, schema = servable, servable.schema
        features = columns_of(schema, of_items=True)
        sources = [feature.source for feature in schema.inputs if feature.name in features]
        types = kept_types(source, schema, keep, sources)
        self.bad_rows = BadRows()
        bad_rows = self.bad_rows if on_bad_rows == "skip" else None
        raws: list[Arrays] = []
        tables = [types.empty_table()]
        names = list(dict.fromkeys((*sources, *keep)))
        for chunk in source.chunks(
            names,
            schema=schema,
            chunk_rows=CHUNK_ROWS,
            on_bad_lines=on_bad_rows,
            report=lambda file, row, reason: self.bad_rows.add(bad_line(file, row, reason)),
        ):
            chunk.frame.attrs["file"] = chunk.file
            raw, good = checked_features(chunk.frame, schema, bad_rows, only=features)
            if raw is not None:
                frame = chunk.frame if good.all() else settled(chunk.frame[good])
                raws.append(raw)
                tables.append(pa.table(kept_arrays(frame, types), schema=types))
        if not raws:
            raise InputError(f"'{source.files[0]}': there is no candidate without a fault")
        columns = {name: np.concatenate([raw[name] for raw in raws]) for name in features}
        self.kept = pa.concat_tables(tables)
        self._count = len(columns[features[0]])
        self._batches = servable.batches(columns, servable.fitting(self._count))

    @property
    def users_at_once(self) -> int:
        """How many users to rank between two looks at whether to stop: never so many that the work takes minutes."""
        return max(1, min(CHUNK_ROWS, _PAIRS // self._count))

    def best(self, users: Arrays, count: int, k: int, by: str) -> Best:
        """The `k` best candidates of each user, or all if there are fewer.

        Of equal ones the first comes first; one whose score is not a number comes last.

        Args:
          users: By name of the features that are not of group item, [N].
          count: N.
          k: At least 1.
          by: The output to sort by.
        """
        found = [
            self._best_of({name: values[i : i + 1] for name, values in users.items()}, k, by) for i in range(count)
        ]
        items = np.concatenate([order for order, _ in found])
        size = len(found[0][0])
        names = self._servable.schema.outputs
        return Best(
            np.repeat(np.arange(count), size),
            items,
            np.tile(np.arange(1, size + 1, dtype=np.int32), count),
            {name: np.concatenate([scores[name] for _, scores in found]) for name in names},
        )

    def _best_of(self, user: Arrays, k: int, by: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        scores = self._servable.scores_of(self._batches, user)
        order = np.argsort(-scores[by], kind="stable")[:k]  # NumPy puts NaN last
        return order, {name: values[order] for name, values in scores.items()}


def ranked_table(
    frame: pd.DataFrame,
    schema: Schema,
    candidates: Candidates,
    k: int,
    by: str,
    types: pa.Schema,
    keep: Sequence[str],
    bad_rows: BadRows | None,
) -> pa.Table:
    """The best candidates of the users of a frame.

    Args:
      frame: Of users, its place in `attrs["file"]`.
      schema: Of the training, every dtype settled.
      candidates: The table of candidates.
      k: As of `Candidates.best`.
      by: As of `Candidates.best`.
      types: Of the users' kept columns.
      keep: All kept columns, in their order.
      bad_rows: As of `scored_table`.

    Returns:
      `keep`, `rank`, and the scores.

    Raises:
      InputError: A user breaks a rule of a feature.
    """
    raw, good = checked_features(frame, schema, bad_rows, only=columns_of(schema, of_items=False))
    if not good.all():
        frame = settled(frame[good])
    best = candidates.best(raw or {}, len(frame), k, by) if len(frame) else None
    of_users = dict(zip(types.names, kept_arrays(frame, types), strict=True))
    if best is None:
        best = Best(np.zeros(0, int), np.zeros(0, int), np.zeros(0, np.int32), {})
    kept = [
        of_users[name].take(pa.array(best.users))
        if name in of_users
        else candidates.kept.column(name).take(pa.array(best.items)).combine_chunks()
        for name in keep
    ]
    empty = {name: np.zeros((0, len(columns)), np.float32) for name, columns in schema.outputs.items()}
    scores = score_arrays(schema, best.scores or empty)
    return pa.table([*kept, pa.array(best.ranks), *scores], [*keep, RANK, *schema.score_columns])
